//go:build xen && cgo

#define __XEN_TOOLS__ 1
#define XC_WANT_COMPAT_DEVICEMODEL_API 1

#include "result.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xenforeignmemory.h>
#include <xenstore.h>
#include <xen/hvm/dm_op.h>
#include <xen/hvm/save.h>

#include "compat.h"

struct hb_xen {
    xc_interface *xc;
    xenforeignmemory_handle *fmem;
};

/* ---- errors ---- */

/* The last error that a library has logged on this thread. A function of shim.h
 * begins and ends on one thread. */
static __thread char last_msg[sizeof(((hb_ret *)0)->msg)];

static void log_vmessage(struct xentoollog_logger *l, xentoollog_level level, int errnoval,
                         const char *context, const char *format, va_list al)
{
    int saved = errno;

    (void)l; (void)errnoval; (void)context;
    if (level >= XTL_ERROR)
        vsnprintf(last_msg, sizeof(last_msg), format, al);
    errno = saved;
}

static void log_progress(struct xentoollog_logger *l, const char *context, const char *doing,
                         int percent, unsigned long done, unsigned long total)
{
    (void)l; (void)context; (void)doing; (void)percent; (void)done; (void)total;
}

static void log_destroy(struct xentoollog_logger *l) { (void)l; }

xentoollog_logger hb_quiet = { log_vmessage, log_progress, log_destroy };

void hb_begin(void)
{
    last_msg[0] = 0;
    errno = 0;
}

hb_ret hb_done(int64_t rc)
{
    hb_ret r;

    r.value = rc;
    r.err = 0;
    r.msg[0] = 0;
    if (rc < 0) {
        r.err = errno ? errno : EIO;
        memcpy(r.msg, last_msg, sizeof(r.msg));
        r.msg[sizeof(r.msg) - 1] = 0;
    }
    return r;
}

/* ---- hypervisor ---- */

hb_ret hb_open(hb_xen **out)
{
    hb_xen *x;
    int saved;

    hb_begin();
    x = calloc(1, sizeof(*x));
    if (!x)
        return hb_done(-1);
    x->xc = xc_interface_open(&hb_quiet, &hb_quiet, 0);
    if (x->xc)
        x->fmem = xenforeignmemory_open(&hb_quiet, 0);
    if (!x->xc || !x->fmem) {
        saved = errno;
        if (x->xc)
            xc_interface_close(x->xc);
        free(x);
        errno = saved;
        return hb_done(-1);
    }
    *out = x;
    return hb_done(0);
}

void hb_close(hb_xen *x)
{
    xenforeignmemory_close(x->fmem);
    xc_interface_close(x->xc);
    free(x);
}

hb_ret hb_version(hb_xen *x, char *extra, char *cmdline, char *caps, size_t n)
{
    xen_extraversion_t e = "";
    xen_commandline_t c = "";
    xen_capabilities_info_t k = "";
    int v;

    hb_begin();
    v = xc_version(x->xc, XENVER_version, NULL);
    if (v < 0 || xc_version(x->xc, XENVER_extraversion, &e) < 0 ||
        xc_version(x->xc, XENVER_commandline, &c) < 0 ||
        xc_version(x->xc, XENVER_capabilities, &k) < 0)
        return hb_done(-1);
    snprintf(extra, n, "%.*s", (int)sizeof(e), e);
    snprintf(cmdline, n, "%.*s", (int)sizeof(c), c);
    snprintf(caps, n, "%.*s", (int)sizeof(k), k);
    return hb_done(v);
}

hb_ret hb_cpus(hb_xen *x, int *mask_bytes)
{
    xc_physinfo_t info;

    hb_begin();
    memset(&info, 0, sizeof(info));
    *mask_bytes = xc_get_cpumap_size(x->xc);
    if (*mask_bytes <= 0 || xc_physinfo(x->xc, &info) != 0)
        return hb_done(-1);
    return hb_done((int64_t)info.max_cpu_id + 1);
}

static void fill_dominfo(hb_dominfo *o, const xc_domaininfo_t *i)
{
    o->id = i->domain;
    o->flags = i->flags;
    o->online = i->nr_online_vcpus;
    o->max_vcpu_id = i->max_vcpu_id;
    o->tot_pages = i->tot_pages;
    o->max_pages = i->max_pages;
    o->cpu_time = i->cpu_time;
}

hb_ret hb_domains(hb_xen *x, uint32_t first, uint32_t n, hb_dominfo *out)
{
    xc_domaininfo_t *info;
    int got, i, saved;

    hb_begin();
    info = calloc(n, sizeof(*info));
    if (!info)
        return hb_done(-1);
    got = xc_domain_getinfolist(x->xc, first, n, info);
    saved = errno;
    for (i = 0; i < got; i++)
        fill_dominfo(&out[i], &info[i]);
    free(info);
    errno = saved;
    return hb_done(got);
}

hb_domain_ret hb_domain(hb_xen *x, uint32_t dom)
{
    hb_domain_ret o;
    xc_domaininfo_t info;

    memset(&o, 0, sizeof(o));
    memset(&info, 0, sizeof(info));
    hb_begin();
    o.r = hb_done(xc_domain_getinfo_single(x->xc, dom, &info));
    fill_dominfo(&o.info, &info);
    return o;
}

hb_ret hb_max_gfn(hb_xen *x, uint32_t dom)
{
    xen_pfn_t n = 0;

    hb_begin();
    if (xc_domain_maximum_gpfn(x->xc, dom, &n) < 0)
        return hb_done(-1);
    return hb_done(n);
}

hb_ret hb_pause(hb_xen *x, uint32_t dom) { CALL(xc_domain_pause(x->xc, dom)); }
hb_ret hb_unpause(hb_xen *x, uint32_t dom) { CALL(xc_domain_unpause(x->xc, dom)); }

hb_ret hb_access_required(hb_xen *x, uint32_t dom, bool on)
{
    CALL(xc_domain_set_access_required(x->xc, dom, on));
}

hb_vcpu_ret hb_vcpu(hb_xen *x, uint32_t dom, uint32_t vcpu)
{
    hb_vcpu_ret o;
    xc_vcpuinfo_t i;

    memset(&o, 0, sizeof(o));
    memset(&i, 0, sizeof(i));
    hb_begin();
    o.r = hb_done(xc_vcpu_getinfo(x->xc, dom, vcpu, &i));
    o.online = i.online;
    o.blocked = i.blocked;
    o.running = i.running;
    o.cpu = i.cpu;
    o.cpu_time = i.cpu_time;
    return o;
}

hb_regs_ret hb_registers(hb_xen *x, uint32_t dom, uint32_t vcpu)
{
    hb_regs_ret o;
    HVM_SAVE_TYPE(CPU) c;

    memset(&o, 0, sizeof(o));
    memset(&c, 0, sizeof(c));
    hb_begin();
    o.r = hb_done(xc_domain_hvm_getcontext_partial(x->xc, dom, HVM_SAVE_CODE(CPU), vcpu, &c, sizeof(c)));
    if (o.r.err)
        return o;
    o.rax = c.rax; o.rcx = c.rcx; o.rdx = c.rdx; o.rbx = c.rbx;
    o.rsp = c.rsp; o.rbp = c.rbp; o.rsi = c.rsi; o.rdi = c.rdi;
    o.r8 = c.r8; o.r9 = c.r9; o.r10 = c.r10; o.r11 = c.r11;
    o.r12 = c.r12; o.r13 = c.r13; o.r14 = c.r14; o.r15 = c.r15;
    o.rip = c.rip; o.rflags = c.rflags;
    o.cr0 = c.cr0; o.cr2 = c.cr2; o.cr3 = c.cr3; o.cr4 = c.cr4; o.dr6 = c.dr6; o.dr7 = c.dr7;
    o.efer = c.msr_efer; o.star = c.msr_star; o.lstar = c.msr_lstar;
    o.sysenter_cs = c.sysenter_cs; o.sysenter_esp = c.sysenter_esp; o.sysenter_eip = c.sysenter_eip;
    o.fs_base = c.fs_base; o.gs_base = c.gs_base; o.shadow_gs = c.shadow_gs;
    o.gdt_base = c.gdtr_base; o.idt_base = c.idtr_base;
    o.gdt_limit = c.gdtr_limit; o.idt_limit = c.idtr_limit;
    o.cs = c.cs_sel; o.ss = c.ss_sel; o.ds = c.ds_sel; o.es = c.es_sel; o.fs = c.fs_sel; o.gs = c.gs_sel;
    o.cs_attr = c.cs_arbytes; o.ss_attr = c.ss_arbytes;
    o.pending_event = c.pending_event;
    return o;
}

hb_ret hb_single_step(hb_xen *x, uint32_t dom, uint32_t vcpu, bool on)
{
    CALL(xc_domain_debug_control(x->xc, dom,
                                 on ? XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_ON : XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_OFF,
                                 vcpu));
}

hb_ret hb_inject_bp(hb_xen *x, uint32_t dom, int vcpu, uint8_t insn_len)
{
    CALL(xc_hvm_inject_trap(x->xc, dom, vcpu, 3, XEN_DMOP_EVENT_sw_exc, ~0u, insn_len, 0));
}

/* ---- memory ---- */

hb_map_ret hb_map(hb_xen *x, uint32_t dom, int prot, size_t n, const uint64_t *gfns, int32_t *errs)
{
    hb_map_ret o;
    int p = PROT_READ | (prot & 2 ? PROT_WRITE : 0);

    _Static_assert(sizeof(xen_pfn_t) == sizeof(uint64_t), "frame numbers are 64 bits");
    _Static_assert(sizeof(int) == sizeof(int32_t), "error codes are 32 bits");
    hb_begin();
    o.addr = xenforeignmemory_map(x->fmem, dom, p, n, gfns, errs);
    o.r = hb_done(o.addr ? 0 : -1);
    return o;
}

hb_ret hb_unmap(hb_xen *x, void *addr, size_t pages) { CALL(xenforeignmemory_unmap(x->fmem, addr, pages)); }

hb_ret hb_set_max_mem(hb_xen *x, uint32_t dom, uint64_t kib) { CALL(xc_domain_setmaxmem(x->xc, dom, kib)); }

hb_ret hb_populate(hb_xen *x, uint32_t dom, uint64_t gfn)
{
    xen_pfn_t p = gfn;

    CALL(xc_domain_populate_physmap_exact(x->xc, dom, 1, 0, 0, &p));
}

hb_ret hb_depopulate(hb_xen *x, uint32_t dom, uint64_t gfn)
{
    xen_pfn_t p = gfn;

    CALL(xc_domain_decrease_reservation_exact(x->xc, dom, 1, 0, &p));
}

/* The error of an access that this Xen does not have. */
static hb_ret no_access(void)
{
    hb_begin();
    errno = EINVAL;
    return hb_done(-1);
}

hb_ret hb_set_access(hb_xen *x, uint32_t dom, uint64_t gfn, uint32_t n, int access)
{
    xenmem_access_t a;

    if (!hb_access_to_xen(access, &a))
        return no_access();
    CALL(xc_set_mem_access(x->xc, dom, a, gfn, n));
}

hb_ret hb_access(hb_xen *x, uint32_t dom, uint64_t gfn)
{
    xenmem_access_t a = 0;

    hb_begin();
    return hb_done(xc_get_mem_access(x->xc, dom, gfn, &a) < 0 ? -1 : hb_access_from_xen(a));
}

/* ---- monitor ---- */

hb_monitor_ret hb_monitor_enable(hb_xen *x, uint32_t dom)
{
    hb_monitor_ret o;

    memset(&o, 0, sizeof(o));
    hb_begin();
    o.page = xc_monitor_enable(x->xc, dom, &o.port);
    o.r = hb_done(o.page ? 0 : -1);
    return o;
}

hb_ret hb_monitor_disable(hb_xen *x, uint32_t dom) { CALL(xc_monitor_disable(x->xc, dom)); }
hb_ret hb_monitor_resume(hb_xen *x, uint32_t dom) { CALL(xc_monitor_resume(x->xc, dom)); }

hb_ret hb_monitor_ctrlreg(hb_xen *x, uint32_t dom, uint16_t reg, bool on, bool sync, uint64_t ignore, bool onchange)
{
    CALL(xc_monitor_write_ctrlreg(x->xc, dom, reg, on, sync, ignore, onchange));
}

hb_ret hb_monitor_toggle(hb_xen *x, uint32_t dom, int source, bool on)
{
    hb_begin();
    switch (source) {
    case HB_SINGLESTEP:         return hb_done(xc_monitor_singlestep(x->xc, dom, on));
    case HB_BREAKPOINT:         return hb_done(xc_monitor_software_breakpoint(x->xc, dom, on));
    case HB_EMUL_UNIMPLEMENTED: return hb_done(xc_monitor_emul_unimplemented(x->xc, dom, on));
    }
    errno = EINVAL;
    return hb_done(-1);
}

/* ---- altp2m ---- */

hb_ret hb_altp2m_state(hb_xen *x, uint32_t dom)
{
    bool on = false;

    hb_begin();
    return hb_done(xc_altp2m_get_domain_state(x->xc, dom, &on) < 0 ? -1 : on);
}

hb_ret hb_altp2m_set_state(hb_xen *x, uint32_t dom, bool on) { CALL(xc_altp2m_set_domain_state(x->xc, dom, on)); }

hb_ret hb_view_create(hb_xen *x, uint32_t dom, int access)
{
    xenmem_access_t a;
    uint16_t v = 0;

    if (!hb_access_to_xen(access, &a))
        return no_access();
    hb_begin();
    return hb_done(xc_altp2m_create_view(x->xc, dom, a, &v) < 0 ? -1 : v);
}

hb_ret hb_view_destroy(hb_xen *x, uint32_t dom, uint16_t view) { CALL(xc_altp2m_destroy_view(x->xc, dom, view)); }
hb_ret hb_view_switch(hb_xen *x, uint32_t dom, uint16_t view) { CALL(xc_altp2m_switch_to_view(x->xc, dom, view)); }

hb_ret hb_view_set_access(hb_xen *x, uint32_t dom, uint16_t view, uint64_t gfn, int access)
{
    xenmem_access_t a;

    if (!hb_access_to_xen(access, &a))
        return no_access();
    CALL(xc_altp2m_set_mem_access(x->xc, dom, view, gfn, a));
}

hb_ret hb_view_access(hb_xen *x, uint32_t dom, uint16_t view, uint64_t gfn)
{
    xenmem_access_t a = 0;

    hb_begin();
    return hb_done(xc_altp2m_get_mem_access(x->xc, dom, view, gfn, &a) < 0 ? -1 : hb_access_from_xen(a));
}

hb_ret hb_view_change_gfn(hb_xen *x, uint32_t dom, uint16_t view, uint64_t from, uint64_t to)
{
    CALL(xc_altp2m_change_gfn(x->xc, dom, view, from, to));
}

hb_ret hb_vcpu_view(hb_xen *x, uint32_t dom, uint32_t vcpu)
{
    uint16_t v = 0;

    hb_begin();
    return hb_done(xc_altp2m_get_vcpu_p2m_idx(x->xc, dom, vcpu, &v) < 0 ? -1 : v);
}

/* ---- trace buffers ---- */

hb_ret hb_trace_masks(hb_xen *x, uint32_t events, uint8_t *cpus)
{
    hb_begin();
    if (xc_tbuf_set_cpu_mask(x->xc, cpus) < 0)
        return hb_done(-1);
    return hb_done(xc_tbuf_set_evt_mask(x->xc, events));
}

hb_ret hb_trace_enable(hb_xen *x, unsigned long pages, uint64_t *size)
{
    unsigned long mfn = 0, bytes = 0;

    hb_begin();
    if (xc_tbuf_enable(x->xc, pages, &mfn, &bytes) < 0)
        return hb_done(-1);
    *size = bytes;
    return hb_done(mfn);
}

hb_ret hb_trace_disable(hb_xen *x) { CALL(xc_tbuf_disable(x->xc)); }

/* ---- xenstore ---- */

struct hb_store {
    struct xs_handle *xs;
};

hb_ret hb_store_open(hb_store **out)
{
    hb_store *s;
    int saved;

    hb_begin();
    s = calloc(1, sizeof(*s));
    if (!s)
        return hb_done(-1);
    s->xs = xs_open(0);
    if (!s->xs) {
        saved = errno;
        free(s);
        errno = saved;
        return hb_done(-1);
    }
    *out = s;
    return hb_done(0);
}

void hb_store_close(hb_store *s)
{
    xs_close(s->xs);
    free(s);
}

static hb_store_ret with_data(void *p, int64_t value)
{
    hb_store_ret o;

    o.data = p;
    o.r = hb_done(p ? value : -1);
    return o;
}

hb_store_ret hb_store_read(hb_store *s, const char *path)
{
    unsigned int n = 0;
    void *p;

    hb_begin();
    p = xs_read(s->xs, XBT_NULL, path, &n);
    return with_data(p, n);
}

hb_ret hb_store_write(hb_store *s, const char *path, const void *value, size_t n)
{
    CALL(xs_write(s->xs, XBT_NULL, path, value, n) ? 0 : -1);
}

hb_store_ret hb_store_directory(hb_store *s, const char *path)
{
    unsigned int n = 0;
    char **p;

    hb_begin();
    p = xs_directory(s->xs, XBT_NULL, path, &n);
    return with_data(p, n);
}

hb_ret hb_store_remove(hb_store *s, const char *path) { CALL(xs_rm(s->xs, XBT_NULL, path) ? 0 : -1); }
