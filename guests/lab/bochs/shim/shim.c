// shim.c is a library that is preloaded into the emulator (Bochs 3.0). It lets the
// program that starts the emulator control it. It does seven things:
//
//   - It blocks the network. Each internet socket that the emulator opens becomes
//     a unix socket without a name. The display (rfb) listens on one and waits for
//     a viewer, which never comes. com2 connects to 127.0.0.1 and gets the socket
//     pair that the starter has left open.
//   - It stops the wall clock. Bochs drives a few timers of its display by it, even
//     in virtual time. The machine does not see these timers, but they are part of
//     the saved state.
//   - It finds a safe moment. Once in each millisecond of virtual time, from the
//     timer that is served last, Bochs calls the handler of its configuration
//     interface, on the thread that emulates. At that moment the state is whole and
//     can be saved. The display's save button leads to the same place.
//   - It counts the safe moments in memory that the starter shares: the machine's
//     time. The starter sees that the emulator gets on, however slowly.
//   - It saves the state at the first safe moment after com2 has sent a line with a
//     given beginning. The emulator then exits. The state does not depend on
//     wall-clock time, so the same image always gives the same snapshot.
//   - It lets interrupts through. When Bochs enters a guest, it holds back
//     interrupts if the guest's own interrupt flag is off, and does not check again
//     inside. A guest that is entered with interrupts off and spins would never be
//     left, not even for the hypervisor's timer. The shim has Bochs check again
//     once the guest is entered.
//   - It restores fast. It maps the image of the machine's memory, copy on write.
//     Bochs would copy it twice.
//
// The starter sets these environment variables:
//
//   HANGBENCH_COM2_FD     descriptor that becomes com2
//   HANGBENCH_STATUS_FD   descriptor for one line a step: "running" at the first
//                         safe moment, "saving", "saved", "failed REASON"
//   HANGBENCH_CLOCK_FD    descriptor of a file of 8 bytes for the number of safe
//                         moments so far, a virtual millisecond each
//   HANGBENCH_SAVE_AFTER  beginning of the line after which the state is saved
//   HANGBENCH_SAVE_DIR    existing folder for the state
//   HANGBENCH_RAM_IMAGE   file of the machine's memory in the snapshot that is
//                         being restored
//
// If the other end of com2 is closed, the starter has ended, and the emulator
// exits.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

// Exit statuses of the shim, equal to those in exit.go.
enum { EXIT_SHIM = 90, EXIT_ORPHAN = 91 };

// com2's address in the configuration is 127.0.0.1:2.
enum { COM2_PORT = 2 };

// From Bochs 3.0, gui/siminterface.h: the event of every tick.
enum { BX_SYNC_EVT_TICK = 2003 };

typedef void *(*event_handler)(void *arg, void *event);

static int com2 = -1;
static uint64_t *milliseconds; // shared with the starter
static FILE *ram_image;

static const char *mark;
static size_t mark_len, mark_pos;
static bool mark_failed, mark_seen;

static event_handler next_handler;
static void *next_arg;

// real returns the C library's function that one of this library replaces.
static void *real(const char *name) {
    void *f = dlsym(RTLD_NEXT, name);
    if (f == NULL) {
        fprintf(stderr, "shim: no %s in the C library\n", name);
        _exit(EXIT_SHIM);
    }
    return f;
}

#define REAL(name) ((__typeof__(&name))real(#name))

// descriptor returns a number from the environment, or -1 without one.
static int descriptor(const char *name) {
    const char *s = getenv(name);
    return s == NULL ? -1 : atoi(s);
}

__attribute__((format(printf, 1, 2))) static void status(const char *format, ...) {
    int fd = descriptor("HANGBENCH_STATUS_FD");
    if (fd < 0)
        return;
    va_list args;
    va_start(args, format);
    vdprintf(fd, format, args);
    va_end(args);
}

#define FAIL(...) (status("failed " __VA_ARGS__), _exit(EXIT_SHIM))

// bochs returns a function or variable of the emulator. The names are those that the
// C++ compiler has made; another version of Bochs may have others.
static void *bochs(const char *name) {
    void *p = dlsym(RTLD_DEFAULT, name);
    if (p == NULL)
        FAIL("this emulator has no %s: it is not Bochs 3.0\n", name);
    return p;
}

// simulator returns the object SIM, Bochs' interface to itself.
static void *simulator(void) { return *(void **)bochs("SIM"); }

static void save(const char *dir) {
    status("saving\n");
    bool (*save_state)(void *, const char *) = bochs("_ZN13bx_real_sim_c10save_stateEPKc");
    bool ok = save_state(simulator(), dir);
    // Every file has been closed. The starter sees in their sizes what could not be
    // written.
    if (!ok)
        FAIL("the emulator could not save its state\n");
    status("saved\n");
    fflush(NULL);
    _exit(0);
}

// on_event replaces the handler of Bochs' configuration interface, and calls it.
static void *on_event(void *arg, void *event) {
    (void)arg;
    static bool running;
    int type = *(int *)event; // its first field
    void *answer = next_handler(next_arg, event);
    if (type != BX_SYNC_EVT_TICK)
        return answer;
    if (milliseconds != NULL)
        __atomic_fetch_add(milliseconds, 1, __ATOMIC_RELAXED);
    if (!running) {
        running = true;
        status("running\n");
    }
    if (mark_seen)
        save(getenv("HANGBENCH_SAVE_DIR"));
    return answer;
}

// Two functions of BX_CPU_C. Bochs calls the second at the end of every entry into a
// guest. on_entry calls both, the first before the second.
static void (*mask_change)(void *cpu);
static void (*inject_events)(void *cpu);

static void on_entry(void *cpu) {
    mask_change(cpu);
    inject_events(cpu);
}

// near maps a page within the range of a 32-bit displacement from p. It tries both
// sides of p, because the machine's memory may occupy one of them.
static unsigned char *near(unsigned char *p) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (uintptr_t d = 0; d < 0xf0000000; d += 1 << 19) {
        uintptr_t at = (uintptr_t)p + (d & 1 << 19 ? d / 2 : -(d / 2));
        void *want = (void *)(at & ~(page - 1));
        void *got = mmap(want, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (got == want)
            return got;
        if (got != MAP_FAILED)
            munmap(got, page);
    }
    FAIL("no free page near the emulator's code\n");
}

// redirect changes the one call of inject_events in VMLAUNCH, which also does
// VMRESUME: it then calls on_entry, through an absolute jump on a page nearby.
static void redirect(void) {
    enum { CALL = 0xe8, CALL_SIZE = 5, SEARCH = 512 };
    unsigned char *code = bochs("_ZN8BX_CPU_C8VMLAUNCHEP15bxInstruction_c"), *site = NULL;
    mask_change = (void (*)(void *))bochs("_ZN8BX_CPU_C25handleInterruptMaskChangeEv");
    inject_events = (void (*)(void *))bochs("_ZN8BX_CPU_C19VMenterInjectEventsEv");
    for (unsigned char *p = code; p < code + SEARCH; p++) {
        int32_t offset;
        memcpy(&offset, p + 1, sizeof offset);
        if (*p == CALL && p + CALL_SIZE + offset == (unsigned char *)inject_events) {
            if (site != NULL)
                FAIL("the emulator's entry into guests is not that of Bochs 3.0\n");
            site = p;
        }
    }
    if (site == NULL)
        FAIL("the emulator's entry into guests is not that of Bochs 3.0\n");
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    unsigned char *stub = near(code);
    static const unsigned char jump[] = {0xff, 0x25, 0, 0, 0, 0}; // jmp *0(%rip)
    void (*to)(void *) = on_entry;
    memcpy(stub, jump, sizeof jump);
    memcpy(stub + sizeof jump, &to, sizeof to);
    int32_t offset = (int32_t)(stub - (site + CALL_SIZE));
    void *first = (void *)((uintptr_t)site & ~(page - 1));
    if (mprotect(stub, page, PROT_READ | PROT_EXEC) != 0 ||
        mprotect(first, 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        FAIL("change the emulator's code: %s\n", strerror(errno));
    memcpy(site + 1, &offset, sizeof offset);
    if (mprotect(first, 2 * page, PROT_READ | PROT_EXEC) != 0)
        FAIL("change the emulator's code: %s\n", strerror(errno));
}

// share maps the file of the clock.
static void share(void) {
    int fd = descriptor("HANGBENCH_CLOCK_FD");
    if (fd < 0)
        return;
    milliseconds = mmap(NULL, sizeof *milliseconds, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (milliseconds == MAP_FAILED)
        FAIL("map the clock: %s\n", strerror(errno));
    close(fd);
}

// hook installs on_event. Bochs has set its own handler before it makes the devices.
static void hook(void) {
    void (*get)(void *, event_handler *, void **) =
        bochs("_ZN13bx_real_sim_c19get_notify_callbackEPPFP7BxEventPvS1_EPS2_");
    void (*set)(void *, event_handler, void *) =
        bochs("_ZN13bx_real_sim_c19set_notify_callbackEPFP7BxEventPvS1_ES2_");
    get(simulator(), &next_handler, &next_arg);
    if (next_handler == NULL)
        FAIL("the emulator's configuration interface is not up\n");
    set(simulator(), on_event, NULL);
    share();
    redirect();
}

// watch looks in the output of com2 for the end of a line that begins with mark.
static void watch(const char *p, size_t n) {
    for (; mark != NULL && n > 0; p++, n--) {
        if (*p == '\n') {
            mark_seen = mark_seen || mark_pos == mark_len;
            mark_pos = 0;
            mark_failed = false;
        } else if (mark_pos < mark_len && !mark_failed) {
            mark_failed = *p != mark[mark_pos];
            mark_pos += mark_failed ? 0 : 1;
        }
    }
}

static bool internet(int family) { return family == AF_INET || family == AF_INET6; }

int socket(int domain, int type, int protocol) {
    if (internet(domain)) {
        domain = AF_UNIX;
        protocol = 0;
    }
    return REAL(socket)(domain, type, protocol);
}

int bind(int fd, const struct sockaddr *address, socklen_t len) {
    if (internet(address->sa_family))
        return 0;
    return REAL(bind)(fd, address, len);
}

// unbound reports whether fd is a unix socket without a name: one that socket and
// bind have made in place of an internet socket.
static bool unbound(int fd) {
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    return getsockname(fd, (struct sockaddr *)&address, &len) == 0 && address.ss_family == AF_UNIX &&
           len <= sizeof address.ss_family;
}

int listen(int fd, int backlog) {
    if (unbound(fd))
        return 0;
    return REAL(listen)(fd, backlog);
}

int accept(int fd, struct sockaddr *restrict address, socklen_t *restrict len) {
    while (unbound(fd))
        pause(); // the display's thread waits here until the process ends
    return REAL(accept)(fd, address, len);
}

int connect(int fd, const struct sockaddr *address, socklen_t len) {
    if (!internet(address->sa_family))
        return REAL(connect)(fd, address, len);
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    int given = descriptor("HANGBENCH_COM2_FD");
    if (address->sa_family != AF_INET || ntohs(in->sin_port) != COM2_PORT || given < 0) {
        errno = ECONNREFUSED;
        return -1;
    }
    if (dup2(given, fd) < 0)
        return -1;
    close(given);
    com2 = fd;
    mark = getenv("HANGBENCH_SAVE_AFTER");
    mark_len = mark == NULL ? 0 : strlen(mark);
    hook();
    return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict tz) {
    (void)tz;
    tv->tv_sec = 1600000000;
    tv->tv_usec = 0;
    return 0;
}

ssize_t send(int fd, const void *buf, size_t n, int flags) {
    if (fd != com2)
        return REAL(send)(fd, buf, n, flags);
    // Bochs ignores the result: a byte that is not sent now is lost.
    ssize_t sent;
    do
        sent = REAL(send)(fd, buf, n, flags | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        _exit(EXIT_ORPHAN);
    watch(buf, (size_t)sent);
    return sent;
}

ssize_t recv(int fd, void *buf, size_t n, int flags) {
    ssize_t got = REAL(recv)(fd, buf, n, flags);
    if (fd == com2 && got == 0)
        _exit(EXIT_ORPHAN);
    return got;
}

// tmpfile64 returns the temporary file of a restore. Bochs copies the file
// memory.ram into it and then reads the machine's memory from it. The starter leaves
// an empty memory.ram, so that nothing is copied, and this function returns the
// snapshot's image, open for reading only.
FILE *tmpfile64(void) {
    const char *image = getenv("HANGBENCH_RAM_IMAGE");
    if (image == NULL)
        return REAL(tmpfile64)();
    FILE *(*open_file)(const char *, const char *) = real("fopen64");
    ram_image = open_file(image, "rb");
    if (ram_image == NULL)
        FAIL("open %s: %s\n", image, strerror(errno));
    return ram_image;
}

// fread maps blocks of the memory's image instead of reading them. Labs that run
// from one snapshot share the pages to which they have not written.
size_t fread(void *restrict buf, size_t size, size_t n, FILE *restrict file) {
    size_t (*read_file)(void *, size_t, size_t, FILE *) = real("fread");
    if (ram_image == NULL || file != ram_image)
        return read_file(buf, size, n, file);
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    off64_t at = ftello64(file);
    struct stat64 st;
    if (at < 0 || fstat64(fileno(file), &st) != 0)
        FAIL("find the size of the memory's image: %s\n", strerror(errno));
    size_t bytes = size * n;
    if ((uintptr_t)buf % page != 0 || bytes % page != 0 || (size_t)at % page != 0 || at + (off64_t)bytes > st.st_size)
        return read_file(buf, size, n, file);
    if (mmap(buf, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fileno(file), at) == MAP_FAILED)
        return read_file(buf, size, n, file);
    return n;
}
