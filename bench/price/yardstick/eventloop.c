/* eventloop is the smallest event loop on Xen's own libraries that does the work of a
 * monitor's loop: it answers every event and counts it. It looks for no hang. It is the
 * yardstick of "hangbench bench event".
 *
 * usage: eventloop MODE DOMID GFN PAGE SECONDS [STAMPS]
 *
 *   MODE     exec-step, exec-emulate, exec-altp2m, exec-altp2m-fast or cr3
 *   DOMID    the guest, which must have no other monitor
 *   GFN      guest frame whose execution is trapped (hexadecimal; unused by cr3)
 *   PAGE     virtual page number of that frame in the guest: a single-stepping
 *            vCPU steps until it leaves it; 0 steps one instruction at a time
 *   SECONDS  time limit; SIGTERM ends the loop earlier
 *   STAMPS   number of turns of the loop whose times are recorded (0: none)
 *
 * It prints "armed" when events may come. After it has detached from the guest it
 * prints one line of JSON:
 *
 *   mode, events, accesses, steps, writes (of cr3), others
 *   elapsed_ns    from armed to the request to stop, CLOCK_MONOTONIC
 *   turns         turns of the loop that answered an event
 *   handling_p50_ns, handling_p99_ns  with STAMPS: from the return of the wait until
 *                 the answers are sent
 *   stamps        with STAMPS: for each turn the time-stamp counter at the return
 *                 from the wait, when the port was taken, before the answers were
 *                 sent, and after that
 *
 * There is no limit on the passes of a vCPU over the trapped page. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <x86intrin.h>

#include <xenctrl.h>
#include <xenevtchn.h>
#include <xen/vm_event.h>

enum mode { EXEC_STEP, EXEC_EMULATE, EXEC_ALTP2M, EXEC_ALTP2M_FAST, CR3, MODES };
static const char *const names[MODES] = { "exec-step", "exec-emulate", "exec-altp2m", "exec-altp2m-fast", "cr3" };

#define MAX_VCPUS 128
#define MAX_STAMPS 65536
#define MAX_WAIT_NS INT64_C(200000000)

struct stamp {
    uint64_t woke, taken, answered, told;
};

struct loop {
    xc_interface *xc;
    xenevtchn_handle *xce;
    int port;
    void *page;
    vm_event_back_ring_t ring;

    enum mode mode;
    uint32_t dom;
    uint64_t gfn, vpage;
    unsigned int vcpus;
    uint16_t view; /* altp2m modes */
    bool paused, enabled, views;
    bool stepping[MAX_VCPUS];
    bool detaching; /* answers end single steps and leave the view */

    uint64_t accesses, steps, writes, others, turns;
};

static volatile sig_atomic_t asked_to_stop;

static void on_term(int sig)
{
    (void)sig;
    asked_to_stop = 1;
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* fail prints what could not be done, with errno, and returns -1. */
static int fail(const char *what)
{
    fprintf(stderr, "eventloop: %s: %s\n", what, strerror(errno));
    return -1;
}

#define TRY(call, what)           \
    do {                          \
        if ((call) < 0)           \
            return fail(what);    \
    } while (0)

/* answer writes the answer to one event. */
static int answer(struct loop *l, const vm_event_request_t *q, vm_event_response_t *r)
{
    bool step = q->vcpu_id < MAX_VCPUS && l->stepping[q->vcpu_id], want = step;

    memset(r, 0, sizeof(*r));
    r->version = VM_EVENT_INTERFACE_VERSION;
    r->vcpu_id = q->vcpu_id;
    r->reason = q->reason;
    r->flags = q->flags & VM_EVENT_FLAG_VCPU_PAUSED;
    switch (q->reason) {
    case VM_EVENT_REASON_MEM_ACCESS:
        l->accesses++;
        r->u.mem_access = q->u.mem_access;
        switch (l->mode) {
        case EXEC_STEP:
            TRY(xc_set_mem_access(l->xc, l->dom, XENMEM_access_rwx, l->gfn, 1), "open the page");
            want = true;
            break;
        case EXEC_EMULATE:
            if (!l->detaching)
                r->flags |= VM_EVENT_FLAG_EMULATE;
            break;
        case EXEC_ALTP2M:
            r->flags |= VM_EVENT_FLAG_ALTERNATE_P2M;
            r->altp2m_idx = 0;
            want = true;
            break;
        case EXEC_ALTP2M_FAST:
            r->flags |= VM_EVENT_FLAG_ALTERNATE_P2M;
            r->altp2m_idx = 0;
            if (!l->detaching) {
                r->flags |= VM_EVENT_FLAG_FAST_SINGLESTEP;
                r->u.fast_singlestep.p2midx = l->view;
            }
            break;
        default:
            break;
        }
        break;
    case VM_EVENT_REASON_SINGLESTEP:
        l->steps++;
        if (!l->detaching && l->vpage && q->data.regs.x86.rip >> 12 == l->vpage)
            break; /* still on the page: the next instruction steps as well */
        want = false;
        if (l->detaching)
            break;
        if (l->mode == EXEC_STEP) {
            TRY(xc_set_mem_access(l->xc, l->dom, XENMEM_access_rw, l->gfn, 1), "close the page");
        } else if (l->mode == EXEC_ALTP2M) {
            r->flags |= VM_EVENT_FLAG_ALTERNATE_P2M;
            r->altp2m_idx = l->view;
        }
        break;
    case VM_EVENT_REASON_WRITE_CTRLREG:
        l->writes++;
        break;
    default:
        l->others++;
    }
    if (l->detaching) {
        want = false;
        if (l->views) {
            r->flags |= VM_EVENT_FLAG_ALTERNATE_P2M;
            r->altp2m_idx = 0;
        }
    }
    if (want != step && q->vcpu_id < MAX_VCPUS) {
        r->flags |= VM_EVENT_FLAG_TOGGLE_SINGLESTEP;
        l->stepping[q->vcpu_id] = want;
    }
    return 0;
}

/* serve answers every event in the ring and returns their number. */
static int serve(struct loop *l)
{
    int n = 0;

    while (RING_HAS_UNCONSUMED_REQUESTS(&l->ring)) {
        vm_event_request_t q;
        vm_event_response_t r;

        memcpy(&q, RING_GET_REQUEST(&l->ring, l->ring.req_cons), sizeof(q));
        l->ring.req_cons++;
        l->ring.sring->req_event = l->ring.req_cons + 1;
        if (q.version != VM_EVENT_INTERFACE_VERSION) {
            errno = EPROTO;
            return fail("event of another interface version");
        }
        if (answer(l, &q, &r) < 0)
            return -1;
        memcpy(RING_GET_RESPONSE(&l->ring, l->ring.rsp_prod_pvt), &r, sizeof(r));
        l->ring.rsp_prod_pvt++;
        RING_PUSH_RESPONSES(&l->ring);
        n++;
    }
    return n;
}

static int arm(struct loop *l)
{
    xc_domaininfo_t info = { .domain = ~0 };
    uint32_t port;

    l->xc = xc_interface_open(NULL, NULL, 0);
    if (!l->xc)
        return fail("open Xen");
    /* The list begins with the first domain from l->dom on. No other call for this is in
     * every Xen from 4.17 on. */
    TRY(xc_domain_getinfolist(l->xc, l->dom, 1, &info), "ask Xen about the guest");
    if (info.domain != l->dom) {
        errno = ESRCH;
        return fail("ask Xen about the guest");
    }
    l->vcpus = info.max_vcpu_id + 1;
    if (l->vcpus > MAX_VCPUS) {
        errno = E2BIG;
        return fail("the guest's vCPUs");
    }
    TRY(xc_domain_pause(l->xc, l->dom), "pause the guest");
    l->paused = true;
    l->page = xc_monitor_enable(l->xc, l->dom, &port);
    if (!l->page)
        return fail("open the ring");
    l->enabled = true;
    SHARED_RING_INIT((vm_event_sring_t *)l->page);
    BACK_RING_INIT(&l->ring, (vm_event_sring_t *)l->page, XC_PAGE_SIZE);
    l->xce = xenevtchn_open(NULL, 0);
    if (!l->xce)
        return fail("open event channels");
    TRY(l->port = xenevtchn_bind_interdomain(l->xce, l->dom, port), "bind the ring's event channel");

    switch (l->mode) {
    case CR3:
        TRY(xc_monitor_write_ctrlreg(l->xc, l->dom, VM_EVENT_X86_CR3, true, true, 0, true), "trap writes of CR3");
        break;
    case EXEC_ALTP2M:
    case EXEC_ALTP2M_FAST:
        TRY(xc_altp2m_set_domain_state(l->xc, l->dom, true), "turn altp2m on");
        l->views = true;
        TRY(xc_altp2m_create_view(l->xc, l->dom, XENMEM_access_rwx, &l->view), "make a view");
        TRY(xc_monitor_singlestep(l->xc, l->dom, true), "allow single-steps");
        TRY(xc_altp2m_set_mem_access(l->xc, l->dom, l->view, l->gfn, XENMEM_access_rw), "set the trap");
        TRY(xc_altp2m_switch_to_view(l->xc, l->dom, l->view), "switch to the view");
        break;
    case EXEC_STEP:
        TRY(xc_monitor_singlestep(l->xc, l->dom, true), "allow single-steps");
        /* fall through */
    default:
        TRY(xc_set_mem_access(l->xc, l->dom, XENMEM_access_rw, l->gfn, 1), "set the trap");
    }
    l->paused = false;
    TRY(xc_domain_unpause(l->xc, l->dom), "unpause the guest");
    return 0;
}

/* detach undoes what arm has done, also if arm failed half way. The guest is paused
 * meanwhile, so at most one event of each vCPU is unanswered. The order matters. A fast
 * step that has begun would take its vCPU back to the view, so single steps end first.
 * A view can be destroyed only when no vCPU is in it. */
static int detach(struct loop *l)
{
    int rc = 0;

#define DO(call, what)                  \
    do {                                \
        if ((call) < 0)                 \
            rc = fail(what);            \
    } while (0)
    if (!l->xc)
        return -1;
    l->detaching = true;
    if (!l->paused) {
        DO(xc_domain_pause(l->xc, l->dom), "pause the guest");
        l->paused = true;
    }
    if (l->enabled && l->xce) {
        if (serve(l) < 0)
            rc = -1;
        DO(xenevtchn_notify(l->xce, l->port), "send answers");
    }
    if (l->enabled) {
        if (l->mode == CR3)
            DO(xc_monitor_write_ctrlreg(l->xc, l->dom, VM_EVENT_X86_CR3, false, true, 0, true), "end the trap of CR3");
        else if (!l->views)
            DO(xc_set_mem_access(l->xc, l->dom, XENMEM_access_rwx, l->gfn, 1), "remove the trap");
        if (l->mode != CR3 && l->mode != EXEC_EMULATE) {
            for (unsigned int v = 0; v < l->vcpus; v++)
                DO(xc_domain_debug_control(l->xc, l->dom, XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_OFF, v), "end single-steps");
            DO(xc_monitor_singlestep(l->xc, l->dom, false), "forbid single-steps");
        }
    }
    if (l->views) {
        DO(xc_altp2m_switch_to_view(l->xc, l->dom, 0), "switch to the host view");
        if (l->view)
            DO(xc_altp2m_destroy_view(l->xc, l->dom, l->view), "destroy the view");
        DO(xc_altp2m_set_domain_state(l->xc, l->dom, false), "turn altp2m off");
    }
    if (l->page)
        munmap(l->page, XC_PAGE_SIZE);
    if (l->enabled)
        DO(xc_monitor_disable(l->xc, l->dom), "close the ring");
    if (l->xce)
        xenevtchn_close(l->xce);
    DO(xc_domain_unpause(l->xc, l->dom), "unpause the guest");
    xc_interface_close(l->xc);
    return rc;
#undef DO
}

/* run answers events until the time limit or a request to stop. */
static int run(struct loop *l, int64_t end, struct stamp *stamps, uint64_t max_stamps, uint64_t *n_stamps)
{
    struct pollfd fd = { .fd = xenevtchn_fd(l->xce), .events = POLLIN };

    while (!asked_to_stop) {
        struct stamp s = { 0 };
        int64_t left = end - now_ns();
        int port, n;

        if (left <= 0)
            return 0;
        /* A signal that comes just before the wait does not end it; the wait ends by its
         * own timeout. (Unblocking signals only in ppoll is no remedy: while events are
         * pending, ppoll delivers no signal.) */
        n = poll(&fd, 1, left < MAX_WAIT_NS ? left / 1000000 + 1 : MAX_WAIT_NS / 1000000);
        if (n < 0 && errno != EINTR)
            return fail("wait for events");
        if (n <= 0)
            continue;
        if (max_stamps)
            s.woke = __rdtsc();
        TRY(port = xenevtchn_pending(l->xce), "take the event channel");
        TRY(xenevtchn_unmask(l->xce, port), "unmask the event channel");
        if (max_stamps)
            s.taken = __rdtsc();
        n = serve(l);
        if (n < 0)
            return -1;
        if (n == 0)
            continue;
        l->turns++;
        if (max_stamps)
            s.answered = __rdtsc();
        TRY(xenevtchn_notify(l->xce, l->port), "send answers");
        if (*n_stamps < max_stamps) {
            s.told = __rdtsc();
            stamps[(*n_stamps)++] = s;
        }
    }
    return 0;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* report prints the JSON line. cycles_per_ns converts stamps to times. */
static int report(const struct loop *l, int64_t elapsed, const struct stamp *stamps, uint64_t n, double cycles_per_ns)
{
    printf("{\"mode\":\"%s\",\"events\":%" PRIu64 ",\"accesses\":%" PRIu64 ",\"steps\":%" PRIu64 ",\"writes\":%" PRIu64
           ",\"others\":%" PRIu64 ",\"elapsed_ns\":%" PRId64 ",\"turns\":%" PRIu64,
           names[l->mode], l->accesses + l->steps + l->writes + l->others, l->accesses, l->steps, l->writes, l->others,
           elapsed, l->turns);
    if (n > 0) {
        uint64_t *took = malloc(n * sizeof(*took));

        if (!took)
            return fail("sort the stamps");
        for (uint64_t i = 0; i < n; i++)
            took[i] = stamps[i].told - stamps[i].woke;
        qsort(took, n, sizeof(*took), by_value);
        printf(",\"handling_p50_ns\":%.0f,\"handling_p99_ns\":%.0f,\"stamps\":[", took[n / 2] / cycles_per_ns,
               took[n - 1 - n / 100] / cycles_per_ns);
        free(took);
        for (uint64_t i = 0; i < n; i++)
            printf("%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", i ? "," : "", stamps[i].woke, stamps[i].taken,
                   stamps[i].answered, stamps[i].told);
        printf("]");
    }
    printf("}\n");
    return fflush(stdout) == 0 ? 0 : fail("print the result");
}

/* number reads a whole argument, or ends the program. */
static uint64_t number(const char *s, int base, uint64_t most)
{
    char *end;
    uint64_t v;

    errno = 0;
    v = strtoull(s, &end, base);
    if (errno || end == s || *end || *s == '-' || v > most) {
        fprintf(stderr, "eventloop: %s is not a number from 0 to %" PRIu64 "\n", s, most);
        exit(2);
    }
    return v;
}

int main(int argc, char **argv)
{
    static struct loop l;
    struct sigaction sa = { .sa_handler = on_term };
    struct stamp *stamps = NULL;
    uint64_t max_stamps = 0, n_stamps = 0, cycles = 0;
    int64_t start = 0, elapsed = 0;
    double seconds;
    int rc;

    if (argc < 6 || argc > 7) {
        fprintf(stderr, "usage: eventloop MODE DOMID GFN PAGE SECONDS [STAMPS]\n");
        return 2;
    }
    for (l.mode = 0; l.mode < MODES && strcmp(argv[1], names[l.mode]); l.mode++)
        ;
    if (l.mode == MODES) {
        fprintf(stderr, "eventloop: there is no mode %s\n", argv[1]);
        return 2;
    }
    l.dom = number(argv[2], 10, DOMID_FIRST_RESERVED - 1);
    l.gfn = number(argv[3], 16, UINT64_MAX);
    l.vpage = number(argv[4], 16, UINT64_MAX);
    seconds = number(argv[5], 10, 86400);
    if (argc == 7)
        max_stamps = number(argv[6], 10, MAX_STAMPS);
    if (max_stamps) {
        stamps = calloc(max_stamps, sizeof(*stamps));
        if (!stamps)
            return fail("allocate the stamps"), 1;
        memset(stamps, 1, max_stamps * sizeof(*stamps)); /* the pages are mapped now, not in the loop */
    }
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);

    rc = arm(&l);
    if (rc == 0) {
        printf("armed\n");
        fflush(stdout);
        start = now_ns();
        cycles = __rdtsc();
        rc = run(&l, start + (int64_t)(seconds * 1e9), stamps, max_stamps, &n_stamps);
        cycles = __rdtsc() - cycles;
        elapsed = now_ns() - start;
    }
    if (detach(&l) < 0 || rc < 0)
        return 1;
    return report(&l, elapsed, stamps, n_stamps, elapsed > 0 ? (double)cycles / (double)elapsed : 1) < 0;
}
