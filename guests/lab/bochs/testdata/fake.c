// fake.c is an emulator for tests. It makes the calls of Bochs 3.0 that the shim
// replaces, in the same order, and has the functions of Bochs that the shim calls.
// Its machine has a counter of milliseconds, the last byte that com2 received, and a
// megabyte of memory.
//
// The machine takes one line at a time on com2: "say WORD" answers "WORD"; "put WORD"
// stores WORD in the memory; "get" answers what is stored; "time" answers the
// counter; "enter" enters a guest and answers with the steps; "clock" answers the
// host's time of day; "fill N" answers N bytes; "net" tries to reach the network;
// "panic" and "exit N" end the machine, "freeze" stops its clock. At power-on it says "hello" and "@ready".

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

// Of the MACHINE bytes of the machine it uses MEMORY.
enum { MACHINE = 64 << 20, MEMORY = 1 << 20, BLOCK = 128 << 10, EVT_TICK = 2003 };

typedef void *(*handler)(void *, void *);
typedef struct { int type, retcode; } event;

static handler callback;
static void *callback_arg;
static unsigned long long ticks;
static char *memory;
static FILE *logfile;

void *SIM = &callback;

// The steps of an entry into a guest, one letter each.
static char entry[8];

static void step(const char *what) { strncat(entry, what, sizeof entry - strlen(entry) - 1); }

__attribute__((noinline)) void _ZN8BX_CPU_C25handleInterruptMaskChangeEv(void *cpu) { step(cpu == entry ? "m" : "?"); }
__attribute__((noinline)) void _ZN8BX_CPU_C19VMenterInjectEventsEv(void *cpu) { step(cpu == entry ? "i" : "?"); }
void _ZN8BX_CPU_C8VMLAUNCHEP15bxInstruction_c(void *cpu) {
    step("(");
    _ZN8BX_CPU_C19VMenterInjectEventsEv(cpu);
    step(")");
}

static void *no_op(void *arg, void *e) { (void)arg; return e; }

void _ZN13bx_real_sim_c19set_notify_callbackEPFP7BxEventPvS1_ES2_(void *sim, handler f, void *arg) {
    if (sim != SIM) abort();
    callback = f;
    callback_arg = arg;
}

void _ZN13bx_real_sim_c19get_notify_callbackEPPFP7BxEventPvS1_EPS2_(void *sim, handler *f, void **arg) {
    if (sim != SIM) abort();
    *f = callback;
    *arg = callback_arg;
}

// disc reports whether the image in the CD-ROM drive contains just word.
static bool disc(const char *word) {
    char text[64] = "";
    FILE *f = fopen("lab.iso", "r");
    if (f == NULL || fgets(text, sizeof text, f) == NULL) abort();
    fclose(f);
    return strcmp(text, word) == 0;
}

static FILE *state(const char *dir, const char *name, const char *mode) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return fopen64(path, mode);
}

static const char *texts[] = {"memory", "cpu0", "serial", NULL};

bool _ZN13bx_real_sim_c10save_stateEPKc(void *sim, const char *dir) {
    if (sim != SIM) abort();
    FILE *f = state(dir, "config", "w");
    if (f == NULL) return false;
    fputs("magic_break: enabled=1 0x0\n", f);
    fclose(f);
    fputs("logio: PANIC=fatal\n", f = state(dir, "logopts", "w"));
    fclose(f);
    for (int i = 0; texts[i] != NULL; i++) {
        fprintf(f = state(dir, texts[i], "w"), "%s = {\n}\n", texts[i]);
        fclose(f);
    }
    fprintf(f = state(dir, "pc_system", "w"), "pc_system = {\n  ticksTotal = %llu\n}%s", ticks,
            disc("cut-off") ? "" : "\n");
    fclose(f);
    f = state(dir, "memory.ram", "w");
    fwrite(memory, 1, MEMORY, f);
    if (!disc("no-space") && (fflush(f) != 0 || ftruncate64(fileno(f), MACHINE) != 0)) abort();
    fclose(f);
    return true;
}

static void panic(const char *what) {
    fprintf(logfile, "%011llup[      ] >>PANIC<< %s\n", ticks, what);
    fflush(logfile);
    exit(1);
}

static void restore(const char *dir) {
    FILE *f = state(dir, "pc_system", "r");
    char line[256];
    if (f == NULL || fgets(line, sizeof line, f) == NULL || fscanf(f, " ticksTotal = %llu", &ticks) != 1)
        panic("cannot restore hardware state");
    fclose(f);
    // Like Bochs: copy all of it into a temporary file, and read that in blocks.
    FILE *in = state(dir, "memory.ram", "rb"), *tmp = tmpfile64();
    if (in == NULL || tmp == NULL) panic("no memory to restore");
    char buf[4096];
    size_t n, copied = 0;
    while ((n = fread(buf, 1, sizeof buf, in)) > 0) copied += fwrite(buf, 1, n, tmp);
    fclose(in);
    // A machine that is saved later reads a copy: Bochs writes back to the file that it has read.
    if (copied > 0 && getenv("HANGBENCH_SAVE_AFTER") == NULL) panic("the memory was copied");
    for (long at = 0; at < MEMORY; at += BLOCK) {
        fseeko64(tmp, at, SEEK_SET);
        if (fread(memory + at, BLOCK, 1, tmp) != 1 && !feof(tmp)) panic("cannot read the memory");
    }
}

// listener opens the display's port.
static int listener(void) {
    int one = 1, s = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0) panic("could not create socket.");
    struct sockaddr_in sai = {.sin_family = AF_INET, .sin_port = htons(5900)};
    sai.sin_addr.s_addr = INADDR_ANY;
    if (bind(s, (struct sockaddr *)&sai, sizeof sai) != 0 || listen(s, SOMAXCONN) != 0)
        panic("RFB could not bind any port");
    return s;
}

// display is the display's thread.
static void *display(void *s) {
    struct sockaddr_in sai;
    socklen_t len = sizeof sai;
    accept(*(int *)s, (struct sockaddr *)&sai, &len);
    panic("a viewer has connected to the display");
    return NULL;
}

static int dial(int port) {
    struct hostent *hp = gethostbyname("127.0.0.1");
    struct sockaddr_in sin = {.sin_family = hp->h_addrtype, .sin_port = htons(port)};
    memcpy(&sin.sin_addr, hp->h_addr_list[0], hp->h_length);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s >= 0 && connect(s, (struct sockaddr *)&sin, sizeof sin) != 0) {
        close(s);
        return -1;
    }
    return s;
}

static void say(int com2, const char *text, size_t n) {
    for (; n > 0; text++, n--) send(com2, text, 1, 0);
}

static void line(int com2, const char *s) {
    say(com2, s, strlen(s));
    say(com2, "\n", 1);
}

static void obey(int com2, char *s) {
    char answer[64];
    if (strncmp(s, "say ", 4) == 0) {
        line(com2, s + 4);
    } else if (strncmp(s, "put ", 4) == 0) {
        strcpy(memory + MEMORY / 2, s + 4);
    } else if (strcmp(s, "get") == 0) {
        line(com2, memory + MEMORY / 2);
    } else if (strcmp(s, "time") == 0) {
        snprintf(answer, sizeof answer, "%llu", ticks);
        line(com2, answer);
    } else if (strcmp(s, "enter") == 0) {
        entry[0] = 0;
        _ZN8BX_CPU_C8VMLAUNCHEP15bxInstruction_c(entry);
        line(com2, entry);
    } else if (strcmp(s, "clock") == 0) {
        struct timeval now;
        gettimeofday(&now, NULL);
        snprintf(answer, sizeof answer, "%lld.%06lld", (long long)now.tv_sec, (long long)now.tv_usec);
        line(com2, answer);
    } else if (strncmp(s, "fill ", 5) == 0) {
        for (int n = atoi(s + 5); n > 0; n--) say(com2, n % 64 ? "x" : "\n", 1);
    } else if (strcmp(s, "net") == 0) {
        line(com2, dial(80) < 0 && errno == ECONNREFUSED ? "refused" : "connected");
    } else if (strcmp(s, "panic") == 0) {
        panic("3rd exception with no resolution");
    } else if (strncmp(s, "exit ", 5) == 0) {
        exit(atoi(s + 5));
    } else if (strcmp(s, "freeze") == 0) {
        for (;;) pause();
    }
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("fake emulator, %d arguments\n", argc);
    if (argc != 4) return 2;
    callback = no_op;
    logfile = fopen("bochs.log", "w");
    memory = aligned_alloc(4096, MEMORY);
    memset(memory, 0, MEMORY);
    pthread_t thread;
    int port = listener();
    pthread_create(&thread, NULL, display, &port);
    int com2 = dial(2);
    if (com2 < 0) panic("com2: connect() failed");
    bool restored = strcmp(argv[2], "-r") == 0;
    FILE *console = fopen("serial.log", "wb");
    setvbuf(console, NULL, _IONBF, 0);
    if (restored)
        restore(argv[3]);
    else
        fputs("(XEN) \033[1mbooting\033[0m\r\n", console);

    if (disc("broken")) panic("ROM: System BIOS must end at 0xfffff");
    if (disc("frozen"))
        for (;;) pause();
    if (disc("killed")) raise(SIGKILL); // as the kernel does without memory

    char text[4096];
    size_t len = 0;
    for (;;) {
        ticks += 100000;
        event e = {EVT_TICK, 0};
        callback(callback_arg, &e);
        if (!restored && ticks == 300000 && !disc("silent")) line(com2, "hello\n@ready 1");
        for (;;) {
            fd_set fds;
            struct timeval none = {0, 0};
            FD_ZERO(&fds);
            FD_SET(com2, &fds);
            if (ticks <= 300000 || select(com2 + 1, &fds, NULL, NULL, &none) != 1) break;
            char c;
            if (recv(com2, &c, 1, 0) != 1) continue;
            if (c != '\n' && len < sizeof text - 1) {
                text[len++] = c;
                continue;
            }
            text[len] = 0;
            len = 0;
            fprintf(console, "dom0: %.100s\r\n", text);
            obey(com2, text);
            break; // the next line in the next millisecond
        }
        if (ticks > 300000) usleep(200);
    }
}
