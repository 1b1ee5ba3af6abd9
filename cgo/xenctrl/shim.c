//go:build xen && cgo

#define __XEN_TOOLS__ 1
#define XC_WANT_COMPAT_DEVICEMODEL_API 1

#include "shim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <xencall.h>
#include <xenctrl.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xenstore.h>
#include <xentoollog.h>
#include <xen/hvm/dm_op.h>
#include <xen/hvm/save.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/trace.h>
#include <xen/vm_event.h>

struct hb_xen {
    xc_interface *xc;
    xenforeignmemory_handle *fmem;
};

/* ---- errors ---- */

/* What the library logged last on this thread; a shim function begins and ends
 * on one thread. */
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

static xentoollog_logger quiet = { log_vmessage, log_progress, log_destroy };

static void begin(void)
{
    last_msg[0] = 0;
    errno = 0;
}

static hb_ret done(int64_t rc)
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

#define CALL(expr) do { begin(); return done(expr); } while (0)

/* ---- hypervisor ---- */

hb_ret hb_open(hb_xen **out)
{
    hb_xen *x;
    int saved;

    begin();
    x = calloc(1, sizeof(*x));
    if (!x)
        return done(-1);
    x->xc = xc_interface_open(&quiet, &quiet, 0);
    if (x->xc)
        x->fmem = xenforeignmemory_open(&quiet, 0);
    if (!x->xc || !x->fmem) {
        saved = errno;
        if (x->xc)
            xc_interface_close(x->xc);
        free(x);
        errno = saved;
        return done(-1);
    }
    *out = x;
    return done(0);
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

    begin();
    v = xc_version(x->xc, XENVER_version, NULL);
    if (v < 0 || xc_version(x->xc, XENVER_extraversion, &e) < 0 ||
        xc_version(x->xc, XENVER_commandline, &c) < 0 ||
        xc_version(x->xc, XENVER_capabilities, &k) < 0)
        return done(-1);
    snprintf(extra, n, "%.*s", (int)sizeof(e), e);
    snprintf(cmdline, n, "%.*s", (int)sizeof(c), c);
    snprintf(caps, n, "%.*s", (int)sizeof(k), k);
    return done(v);
}

hb_ret hb_cpus(hb_xen *x, int *mask_bytes)
{
    xc_physinfo_t info;

    begin();
    memset(&info, 0, sizeof(info));
    *mask_bytes = xc_get_cpumap_size(x->xc);
    if (*mask_bytes <= 0 || xc_physinfo(x->xc, &info) != 0)
        return done(-1);
    return done((int64_t)info.max_cpu_id + 1);
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

    begin();
    info = calloc(n, sizeof(*info));
    if (!info)
        return done(-1);
    got = xc_domain_getinfolist(x->xc, first, n, info);
    saved = errno;
    for (i = 0; i < got; i++)
        fill_dominfo(&out[i], &info[i]);
    free(info);
    errno = saved;
    return done(got);
}

hb_domain_ret hb_domain(hb_xen *x, uint32_t dom)
{
    hb_domain_ret o;
    xc_domaininfo_t info;

    memset(&o, 0, sizeof(o));
    memset(&info, 0, sizeof(info));
    begin();
    o.r = done(xc_domain_getinfo_single(x->xc, dom, &info));
    fill_dominfo(&o.info, &info);
    return o;
}

hb_ret hb_max_gfn(hb_xen *x, uint32_t dom)
{
    xen_pfn_t n = 0;

    begin();
    if (xc_domain_maximum_gpfn(x->xc, dom, &n) < 0)
        return done(-1);
    return done(n);
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
    begin();
    o.r = done(xc_vcpu_getinfo(x->xc, dom, vcpu, &i));
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
    begin();
    o.r = done(xc_domain_hvm_getcontext_partial(x->xc, dom, HVM_SAVE_CODE(CPU), vcpu, &c, sizeof(c)));
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
    begin();
    o.addr = xenforeignmemory_map(x->fmem, dom, p, n, gfns, errs);
    o.r = done(o.addr ? 0 : -1);
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

hb_ret hb_set_access(hb_xen *x, uint32_t dom, uint64_t gfn, uint32_t n, int access)
{
    CALL(xc_set_mem_access(x->xc, dom, access, gfn, n));
}

hb_ret hb_access(hb_xen *x, uint32_t dom, uint64_t gfn)
{
    xenmem_access_t a = 0;

    begin();
    return done(xc_get_mem_access(x->xc, dom, gfn, &a) < 0 ? -1 : (int64_t)a);
}

/* ---- monitor ---- */

hb_monitor_ret hb_monitor_enable(hb_xen *x, uint32_t dom)
{
    hb_monitor_ret o;

    memset(&o, 0, sizeof(o));
    begin();
    o.page = xc_monitor_enable(x->xc, dom, &o.port);
    o.r = done(o.page ? 0 : -1);
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
    begin();
    switch (source) {
    case HB_SINGLESTEP:         return done(xc_monitor_singlestep(x->xc, dom, on));
    case HB_BREAKPOINT:         return done(xc_monitor_software_breakpoint(x->xc, dom, on));
    case HB_EMUL_UNIMPLEMENTED: return done(xc_monitor_emul_unimplemented(x->xc, dom, on));
    }
    errno = EINVAL;
    return done(-1);
}

struct hb_chan {
    xenevtchn_handle *xce;
    xencall_handle *call;
    int port;
    int luck;          /* 0 to LUCK_MAX: how often the turns were worth it of late */
    unsigned unlucky;  /* calls without luck */
    const volatile uint32_t *req_prod;
};

hb_ret hb_chan_open(hb_chan **out, uint32_t dom, uint32_t port, void *ring_page)
{
    hb_chan *c;
    int saved;

    begin();
    c = calloc(1, sizeof(*c));
    if (!c)
        return done(-1);
    c->req_prod = &((vm_event_sring_t *)ring_page)->req_prod;
    c->xce = xenevtchn_open(&quiet, 0);
    if (!c->xce)
        goto err;
    c->call = xencall_open(&quiet, 0);
    if (!c->call)
        goto err;
    c->port = xenevtchn_bind_interdomain(c->xce, dom, port);
    if (c->port < 0)
        goto err;
    *out = c;
    return done(0);

err:
    saved = errno;
    if (c->call)
        xencall_close(c->call);
    if (c->xce)
        xenevtchn_close(c->xce);
    free(c);
    errno = saved;
    return done(-1);
}

void hb_chan_close(hb_chan *c)
{
    xenevtchn_unbind(c->xce, c->port);
    xenevtchn_close(c->xce);
    xencall_close(c->call);
    free(c);
}

int hb_chan_port(const hb_chan *c) { return c->port; }
int hb_chan_fd(const hb_chan *c) { return xenevtchn_fd(c->xce); }
int hb_chan_notify(hb_chan *c) { return xenevtchn_notify(c->xce, c->port) < 0 ? -errno : 0; }

static int have_events(const hb_chan *c, uint32_t req_cons)
{
    return __atomic_load_n(c->req_prod, __ATOMIC_ACQUIRE) != req_cons;
}

/* Where guest and dom0 share a physical CPU, a yield is a turn of the guest's:
 * Xen runs it until it stops for an event, or for a time slice of half a
 * millisecond or more, so a few are enough. Where nobody else wants the CPU a
 * yield returns at once, and the guest needs some microseconds for its step. */
#define TURNS 2
#define SPIN_NS 30000

/* A mechanism with one event a pass has no next one to wait for: turns that find
 * nothing are soon left out, and tried again now and then. */
#define LUCK_MAX 8
#define TRY_AGAIN 64

static int64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* A vCPU that is just let go is likely to be back at once: the end of its step,
 * or the next instruction of the page. Giving the physical CPU away by a hypercall
 * and looking again costs a fraction of what it takes Linux to put this process to
 * sleep, go idle, and be woken by an interrupt. */
int hb_chan_turn(hb_chan *c, uint32_t req_cons)
{
    int64_t since = 0;
    int i;

    if (xenevtchn_notify(c->xce, c->port) < 0)
        return -errno;
    if (have_events(c, req_cons))
        return 1;
    if (c->luck == 0 && c->unlucky++ % TRY_AGAIN != 0)
        return 0;
    for (i = 0; !have_events(c, req_cons); i++) {
        if (i == TURNS)
            since = now_ns();
        if (i > TURNS && now_ns() - since >= SPIN_NS) {
            c->luck -= c->luck > 1 ? 2 : c->luck;
            return 0;
        }
        xencall2(c->call, __HYPERVISOR_sched_op, SCHEDOP_yield, 0);
    }
    if (c->luck < LUCK_MAX)
        c->luck++;
    return 1;
}

/* ---- altp2m ---- */

hb_ret hb_altp2m_state(hb_xen *x, uint32_t dom)
{
    bool on = false;

    begin();
    return done(xc_altp2m_get_domain_state(x->xc, dom, &on) < 0 ? -1 : on);
}

hb_ret hb_altp2m_set_state(hb_xen *x, uint32_t dom, bool on) { CALL(xc_altp2m_set_domain_state(x->xc, dom, on)); }

hb_ret hb_view_create(hb_xen *x, uint32_t dom, int access)
{
    uint16_t v = 0;

    begin();
    return done(xc_altp2m_create_view(x->xc, dom, access, &v) < 0 ? -1 : v);
}

hb_ret hb_view_destroy(hb_xen *x, uint32_t dom, uint16_t view) { CALL(xc_altp2m_destroy_view(x->xc, dom, view)); }
hb_ret hb_view_switch(hb_xen *x, uint32_t dom, uint16_t view) { CALL(xc_altp2m_switch_to_view(x->xc, dom, view)); }

hb_ret hb_view_set_access(hb_xen *x, uint32_t dom, uint16_t view, uint64_t gfn, int access)
{
    CALL(xc_altp2m_set_mem_access(x->xc, dom, view, gfn, access));
}

hb_ret hb_view_access(hb_xen *x, uint32_t dom, uint16_t view, uint64_t gfn)
{
    xenmem_access_t a = 0;

    begin();
    return done(xc_altp2m_get_mem_access(x->xc, dom, view, gfn, &a) < 0 ? -1 : (int64_t)a);
}

hb_ret hb_view_change_gfn(hb_xen *x, uint32_t dom, uint16_t view, uint64_t from, uint64_t to)
{
    CALL(xc_altp2m_change_gfn(x->xc, dom, view, from, to));
}

hb_ret hb_vcpu_view(hb_xen *x, uint32_t dom, uint32_t vcpu)
{
    uint16_t v = 0;

    begin();
    return done(xc_altp2m_get_vcpu_p2m_idx(x->xc, dom, vcpu, &v) < 0 ? -1 : v);
}

/* ---- trace buffers ---- */

hb_ret hb_trace_masks(hb_xen *x, uint32_t events, uint8_t *cpus)
{
    begin();
    if (xc_tbuf_set_cpu_mask(x->xc, cpus) < 0)
        return done(-1);
    return done(xc_tbuf_set_evt_mask(x->xc, events));
}

hb_ret hb_trace_enable(hb_xen *x, unsigned long pages, uint64_t *size)
{
    unsigned long mfn = 0, bytes = 0;

    begin();
    if (xc_tbuf_enable(x->xc, pages, &mfn, &bytes) < 0)
        return done(-1);
    *size = bytes;
    return done(mfn);
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

    begin();
    s = calloc(1, sizeof(*s));
    if (!s)
        return done(-1);
    s->xs = xs_open(0);
    if (!s->xs) {
        saved = errno;
        free(s);
        errno = saved;
        return done(-1);
    }
    *out = s;
    return done(0);
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
    o.r = done(p ? value : -1);
    return o;
}

hb_store_ret hb_store_read(hb_store *s, const char *path)
{
    unsigned int n = 0;
    void *p;

    begin();
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

    begin();
    p = xs_directory(s->xs, XBT_NULL, path, &n);
    return with_data(p, n);
}

hb_ret hb_store_remove(hb_store *s, const char *path) { CALL(xs_rm(s->xs, XBT_NULL, path) ? 0 : -1); }

/* ---- layout ---- */

_Static_assert(VM_EVENT_INTERFACE_VERSION == 7, "event.go knows version 7 of the vm_event interface");
_Static_assert(__CONST_RING_SIZE(vm_event, 4096) == 8, "ring.go counts on eight slots");

#define EV(f) { #f, offsetof(vm_event_request_t, f) }
#define VALUE(f) { #f, f }
static const hb_offset layout[] = {
    { "sizeof", sizeof(vm_event_request_t) },
    { "req_prod", offsetof(vm_event_sring_t, req_prod) },
    { "req_event", offsetof(vm_event_sring_t, req_event) },
    { "rsp_prod", offsetof(vm_event_sring_t, rsp_prod) },
    { "rsp_event", offsetof(vm_event_sring_t, rsp_event) },
    { "ring", offsetof(vm_event_sring_t, ring) },
    { "ring_size", __CONST_RING_SIZE(vm_event, 4096) },
    EV(version), EV(flags), EV(reason), EV(vcpu_id), EV(altp2m_idx), EV(u), EV(data),
    EV(u.mem_access.gfn), EV(u.mem_access.offset), EV(u.mem_access.gla), EV(u.mem_access.flags),
    EV(u.write_ctrlreg.index), EV(u.write_ctrlreg.new_value), EV(u.write_ctrlreg.old_value),
    EV(u.mov_to_msr.msr), EV(u.mov_to_msr.new_value), EV(u.mov_to_msr.old_value),
    EV(u.singlestep.gfn), EV(u.fast_singlestep.p2midx), EV(u.cpuid.insn_length),
    EV(u.software_breakpoint.gfn), EV(u.software_breakpoint.pending_dbg),
    EV(u.software_breakpoint.insn_length), EV(u.software_breakpoint.type),
    EV(data.emul.insn), EV(data.regs.x86.rax), EV(data.regs.x86.rcx), EV(data.regs.x86.r8),
    EV(data.regs.x86.r15), EV(data.regs.x86.rflags), EV(data.regs.x86.dr6), EV(data.regs.x86.dr7),
    EV(data.regs.x86.rip), EV(data.regs.x86.cr0), EV(data.regs.x86.cr2), EV(data.regs.x86.cr3),
    EV(data.regs.x86.cr4), EV(data.regs.x86.sysenter_cs), EV(data.regs.x86.sysenter_eip),
    EV(data.regs.x86.msr_efer), EV(data.regs.x86.msr_star), EV(data.regs.x86.msr_lstar),
    EV(data.regs.x86.gdtr_base), EV(data.regs.x86.fs_base), EV(data.regs.x86.gs_base),
    EV(data.regs.x86.cs), EV(data.regs.x86.ss), EV(data.regs.x86.shadow_gs), EV(data.regs.x86.gdtr_limit),
    EV(data.regs.x86.cs_sel), EV(data.regs.x86.ss_sel), EV(data.regs.x86.gs_sel),
    VALUE(VM_EVENT_REASON_MEM_ACCESS), VALUE(VM_EVENT_REASON_WRITE_CTRLREG), VALUE(VM_EVENT_REASON_MOV_TO_MSR),
    VALUE(VM_EVENT_REASON_SOFTWARE_BREAKPOINT), VALUE(VM_EVENT_REASON_SINGLESTEP), VALUE(VM_EVENT_REASON_GUEST_REQUEST),
    VALUE(VM_EVENT_REASON_DEBUG_EXCEPTION), VALUE(VM_EVENT_REASON_CPUID),
    VALUE(VM_EVENT_FLAG_VCPU_PAUSED), VALUE(VM_EVENT_FLAG_EMULATE), VALUE(VM_EVENT_FLAG_TOGGLE_SINGLESTEP),
    VALUE(VM_EVENT_FLAG_DENY), VALUE(VM_EVENT_FLAG_ALTERNATE_P2M), VALUE(VM_EVENT_FLAG_SET_REGISTERS),
    VALUE(VM_EVENT_FLAG_SET_EMUL_INSN_DATA), VALUE(VM_EVENT_FLAG_FAST_SINGLESTEP), VALUE(VM_EVENT_X86_CR3),
    VALUE(XENMEM_access_rwx), VALUE(XENMEM_access_rw), VALUE(XENMEM_access_n2rwx), VALUE(XENMEM_access_default),
    VALUE(XEN_DOMINF_hvm_guest), VALUE(XEN_DOMINF_paused), VALUE(XEN_DOMINF_running), VALUE(XEN_DOMINF_shutdownshift),
    VALUE(DOMID_XEN), VALUE(TRC_HVM_NPF), VALUE(TRC_HVM_VMX_EXIT64), VALUE(TRC_HVM_VMX_EXIT), VALUE(TRC_HVM_VMENTRY),
    VALUE(TRC_SCHED_RUNSTATE_CHANGE), VALUE(TRC_LOST_RECORDS), VALUE(TRC_TRACE_WRAP_BUFFER),
    VALUE(TRC_HVM_HANDLER), VALUE(TRC_HVM_ENTRYEXIT), VALUE(TRC_SCHED_MIN),
    VALUE(TRC_PV_ENTRY), VALUE(TRC_PV_HYPERCALL_V2), VALUE(__HYPERVISOR_iret), VALUE(__HYPERVISOR_sched_op),
    VALUE(__HYPERVISOR_event_channel_op), VALUE(__HYPERVISOR_hvm_op), VALUE(__HYPERVISOR_domctl),
    { "t_buf.cons", offsetof(struct t_buf, cons) }, { "t_buf.prod", offsetof(struct t_buf, prod) },
    { "sizeof t_buf", sizeof(struct t_buf) }, { "t_info.mfn_offset", offsetof(struct t_info, mfn_offset) },
};

const hb_offset *hb_layout(size_t *n)
{
    *n = sizeof(layout) / sizeof(layout[0]);
    return layout;
}
