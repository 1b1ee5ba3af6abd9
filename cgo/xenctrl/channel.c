//go:build xen && cgo

/* The event channel of a ring. */
#define __XEN_TOOLS__ 1

#include "result.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <xencall.h>
#include <xenctrl.h>
#include <xenevtchn.h>
#include <xen/sched.h>
#include <xen/vm_event.h>

struct hb_chan {
    xenevtchn_handle *xce;
    xencall_handle *call;
    int port;
    const volatile uint32_t *req_prod;
};

hb_ret hb_chan_open(hb_chan **out, uint32_t dom, uint32_t port, void *ring_page)
{
    hb_chan *c;
    int saved;

    hb_begin();
    c = calloc(1, sizeof(*c));
    if (!c)
        return hb_done(-1);
    c->req_prod = &((vm_event_sring_t *)ring_page)->req_prod;
    c->xce = xenevtchn_open(&hb_quiet, 0);
    if (!c->xce)
        goto err;
    c->call = xencall_open(&hb_quiet, 0);
    if (!c->call)
        goto err;
    c->port = xenevtchn_bind_interdomain(c->xce, dom, port);
    if (c->port < 0)
        goto err;
    *out = c;
    return hb_done(0);

err:
    saved = errno;
    if (c->call)
        xencall_close(c->call);
    if (c->xce)
        xenevtchn_close(c->xce);
    free(c);
    errno = saved;
    return hb_done(-1);
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

static bool have_events(const hb_chan *c, uint32_t req_cons)
{
    return __atomic_load_n(c->req_prod, __ATOMIC_ACQUIRE) != req_cons;
}

/* Where guest and dom0 share a physical CPU, a yield gives it to the guest. Xen runs
 * the guest until it stops for an event, or for a time slice of half a millisecond or
 * more, so two yields are enough. Where nobody else wants the CPU a yield returns at
 * once, and the guest needs some microseconds for its step: yield for 30 us more. */
#define YIELDS 2
#define SPIN_NS 30000

static int64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* A vCPU that was just answered is likely to stop again at once: at the end of its step,
 * or at the next instruction of the page. A yield and a read of the ring cost a
 * fraction of what it costs Linux to put this process to sleep, go idle, and be woken
 * by an interrupt. */
int hb_chan_turn(hb_chan *c, uint32_t req_cons, bool yield)
{
    int64_t since = 0;
    int i;

    if (xenevtchn_notify(c->xce, c->port) < 0)
        return -errno;
    if (have_events(c, req_cons))
        return HB_AT_ONCE;
    if (!yield)
        return HB_NONE;
    for (i = 0; !have_events(c, req_cons); i++) {
        if (i == YIELDS)
            since = now_ns();
        if (i > YIELDS && now_ns() - since >= SPIN_NS)
            return HB_NONE;
        xencall2(c->call, __HYPERVISOR_sched_op, SCHEDOP_yield, 0);
    }
    return HB_YIELDED;
}
