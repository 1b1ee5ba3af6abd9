//go:build xen && cgo

/* The C functions that Go calls. Every function copies errno and the library's last
 * log message into its result, because Go may continue on another thread. */
#ifndef HANGBENCH_XENCTRL_SHIM_H
#define HANGBENCH_XENCTRL_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The result of most calls: err is 0 or an errno. */
typedef struct {
    int64_t value;
    int32_t err;
    char msg[156];
} hb_ret;

typedef struct hb_xen hb_xen;     /* libxenctrl and libxenforeignmemory */
typedef struct hb_chan hb_chan;   /* one bound event channel */
typedef struct hb_store hb_store; /* libxenstore */

hb_ret hb_open(hb_xen **out);
void hb_close(hb_xen *x);
hb_ret hb_version(hb_xen *x, char *extra, char *cmdline, char *caps, size_t n);
hb_ret hb_cpus(hb_xen *x, int *mask_bytes);

typedef struct {
    uint32_t id, flags, online, max_vcpu_id;
    uint64_t tot_pages, max_pages, cpu_time;
} hb_dominfo;
hb_ret hb_domains(hb_xen *x, uint32_t first, uint32_t n, hb_dominfo *out);
typedef struct { hb_ret r; hb_dominfo info; } hb_domain_ret;
hb_domain_ret hb_domain(hb_xen *x, uint32_t dom);
hb_ret hb_max_gfn(hb_xen *x, uint32_t dom);
hb_ret hb_pause(hb_xen *x, uint32_t dom);
hb_ret hb_unpause(hb_xen *x, uint32_t dom);
hb_ret hb_access_required(hb_xen *x, uint32_t dom, bool on);

typedef struct { hb_ret r; uint8_t online, blocked, running; uint32_t cpu; uint64_t cpu_time; } hb_vcpu_ret;
hb_vcpu_ret hb_vcpu(hb_xen *x, uint32_t dom, uint32_t vcpu);

typedef struct {
    hb_ret r;
    uint64_t rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rip, rflags, cr0, cr2, cr3, cr4, dr6, dr7, efer, star, lstar;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t fs_base, gs_base, shadow_gs, gdt_base, idt_base;
    uint32_t gdt_limit, idt_limit, cs, ss, ds, es, fs, gs, cs_attr, ss_attr, pending_event;
} hb_regs_ret;
hb_regs_ret hb_registers(hb_xen *x, uint32_t dom, uint32_t vcpu);
hb_ret hb_single_step(hb_xen *x, uint32_t dom, uint32_t vcpu, bool on);
hb_ret hb_inject_bp(hb_xen *x, uint32_t dom, int vcpu, uint8_t insn_len);

typedef struct { hb_ret r; void *addr; } hb_map_ret;
hb_map_ret hb_map(hb_xen *x, uint32_t dom, int prot, size_t n, const uint64_t *gfns, int32_t *errs);
hb_ret hb_set_max_mem(hb_xen *x, uint32_t dom, uint64_t kib);
hb_ret hb_populate(hb_xen *x, uint32_t dom, uint64_t gfn);
hb_ret hb_depopulate(hb_xen *x, uint32_t dom, uint64_t gfn);
hb_ret hb_unmap(hb_xen *x, void *addr, size_t pages);

hb_ret hb_set_access(hb_xen *x, uint32_t dom, uint64_t gfn, uint32_t n, int access);
hb_ret hb_access(hb_xen *x, uint32_t dom, uint64_t gfn);

typedef struct { hb_ret r; void *page; uint32_t port; } hb_monitor_ret;
hb_monitor_ret hb_monitor_enable(hb_xen *x, uint32_t dom);
hb_ret hb_monitor_disable(hb_xen *x, uint32_t dom);
hb_ret hb_monitor_resume(hb_xen *x, uint32_t dom);
hb_ret hb_monitor_ctrlreg(hb_xen *x, uint32_t dom, uint16_t reg, bool on, bool sync, uint64_t ignore, bool onchange);
enum hb_source { HB_SINGLESTEP, HB_BREAKPOINT, HB_EMUL_UNIMPLEMENTED }; /* EventSource of backend.go, in its order */
hb_ret hb_monitor_toggle(hb_xen *x, uint32_t dom, int source, bool on);

hb_ret hb_chan_open(hb_chan **out, uint32_t dom, uint32_t port, void *ring_page);
void hb_chan_close(hb_chan *c);
int hb_chan_port(const hb_chan *c);
int hb_chan_fd(const hb_chan *c);
int hb_chan_notify(hb_chan *c); /* 0 or -errno */
enum hb_turn { HB_NONE, HB_AT_ONCE, HB_YIELDED }; /* turn of yield.go, in its order */
/* Notifies Xen. If there are no events then and yield is set, it yields the CPU to
 * the guest until there are, for a short time. An enum hb_turn, or -errno. */
int hb_chan_turn(hb_chan *c, uint32_t req_cons, bool yield);

hb_ret hb_altp2m_state(hb_xen *x, uint32_t dom);
hb_ret hb_altp2m_set_state(hb_xen *x, uint32_t dom, bool on);
hb_ret hb_view_create(hb_xen *x, uint32_t dom, int access);
hb_ret hb_view_destroy(hb_xen *x, uint32_t dom, uint16_t view);
hb_ret hb_view_switch(hb_xen *x, uint32_t dom, uint16_t view);
hb_ret hb_view_set_access(hb_xen *x, uint32_t dom, uint16_t view, uint64_t gfn, int access);
hb_ret hb_view_access(hb_xen *x, uint32_t dom, uint16_t view, uint64_t gfn);
hb_ret hb_view_change_gfn(hb_xen *x, uint32_t dom, uint16_t view, uint64_t from, uint64_t to);
hb_ret hb_vcpu_view(hb_xen *x, uint32_t dom, uint32_t vcpu);

hb_ret hb_trace_masks(hb_xen *x, uint32_t events, uint8_t *cpus);
hb_ret hb_trace_enable(hb_xen *x, unsigned long pages, uint64_t *size); /* value: the first frame of t_info */
hb_ret hb_trace_disable(hb_xen *x);

hb_ret hb_store_open(hb_store **out);
void hb_store_close(hb_store *s);
typedef struct { hb_ret r; void *data; } hb_store_ret; /* the caller frees data; value is its length */
hb_store_ret hb_store_read(hb_store *s, const char *path);
hb_ret hb_store_write(hb_store *s, const char *path, const void *value, size_t n);
hb_store_ret hb_store_directory(hb_store *s, const char *path); /* char*[], one allocation */
hb_ret hb_store_remove(hb_store *s, const char *path);
/* layout.c: sizes and offsets in the headers of this build, for layout.go. */
typedef struct { const char *name; size_t off; } hb_offset;
const hb_offset *hb_layout(size_t *n);

#endif
