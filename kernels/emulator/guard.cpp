// Survives what a kernel does: a division by zero, an access to memory that nobody has, a stack that is too small,
// a loop without end. Python would die of these, or wait for ever.
//
// One library for the process, where each core runs copies of kernels of its own. While a thread runs a launch's
// blocks, signals come here: a fault jumps back to where the launch began, with what is known of it. A launch that
// has to stop (Ctrl-C, a limit of time) gets a signal of its own, again and again, until it is found in the kernel's
// code: inside of the system's, it might hold a lock that others need.
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

constexpr int STOP = SIGURG;  // ignored unless somebody wants it
constexpr int FAULTS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
constexpr int ALL[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, STOP, SIGINT};
constexpr int COUNT = sizeof ALL / sizeof *ALL;

struct Run {  // a launch on one thread
    sigjmp_buf home;
    uintptr_t from, to;  // the kernel's code
    unsigned tag;        // whose it is
    bool at_once;        // whether the first Ctrl-C stops it: else the program has plans of its own
    volatile bool stop;
    volatile int interrupts;
    volatile int signal, code;
    volatile uintptr_t address, at;
    pthread_t thread;
    Run *before, *next;
};

thread_local Run* running __attribute__((tls_model("initial-exec")));
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;  // of all that follows; no handler takes it
Run* runs;
struct sigaction usual[COUNT];
sem_t interrupted;
pid_t owner;

uintptr_t place(void* context) {
    const mcontext_t& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
    return machine.gregs[REG_RIP];
#elif defined(__aarch64__)
    return machine.pc;
#else
#error "guard.cpp knows no such machine"
#endif
}

int index_of(int signal) {
    int i = 0;
    while (ALL[i] != signal) i++;
    return i;
}

void pass_on(int signal, siginfo_t* info, void* context) {
    const struct sigaction& old = usual[index_of(signal)];
    if (old.sa_flags & SA_SIGINFO) return old.sa_sigaction(signal, info, context);
    if (old.sa_handler == SIG_IGN && (signal == SIGINT || signal == STOP)) return;
    if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN) return old.sa_handler(signal);
    if (signal == STOP) return;
    struct sigaction ends = {};
    ends.sa_handler = SIG_DFL;
    sigaction(signal, &ends, nullptr);
    if (signal == SIGINT || info->si_code <= 0) raise(signal);  // a fault comes again by itself
}

void handle(int signal, siginfo_t* info, void* context) {
    Run* run = running;
    if (signal == SIGINT) {
        pass_on(signal, info, context);
        sem_post(&interrupted);
        return;
    }
    const bool fault = signal != STOP && info->si_code > 0;  // and not sent by somebody
    if (!run || (!fault && signal != STOP)) return pass_on(signal, info, context);
    const uintptr_t at = place(context);
    if (signal == STOP && (!run->stop || at < run->from || at >= run->to)) return;
    run->signal = signal, run->code = info->si_code;
    run->address = fault ? reinterpret_cast<uintptr_t>(info->si_addr) : 0, run->at = at;
    running = nullptr;
    siglongjmp(run->home, 1);
}

// Stops the launches that are to be stopped: asks them until they have gone.
void stop_marked() {
    for (bool any = true; any;) {
        any = false;
        pthread_mutex_lock(&mutex);
        for (Run* run = runs; run; run = run->next)
            if (run->stop) any = true, pthread_kill(run->thread, STOP);
        pthread_mutex_unlock(&mutex);
        if (any) usleep(3000);
    }
}

// Waits for Ctrl-C. A launch may end by itself in a moment, as most do; those that go on are stopped.
void* watch_over(void*) {
    for (;;) {
        while (sem_wait(&interrupted)) {}
        pthread_mutex_lock(&mutex);
        for (Run* run = runs; run; run = run->next) run->interrupts = run->interrupts + 1;
        pthread_mutex_unlock(&mutex);
        usleep(200000);
        pthread_mutex_lock(&mutex);
        for (Run* run = runs; run; run = run->next)
            if (run->interrupts > !run->at_once) run->stop = true;
        pthread_mutex_unlock(&mutex);
        stop_marked();
    }
}

void begin() {  // once in a process, and in a child that was forked from one
    owner = getpid();
    runs = nullptr;
    sem_init(&interrupted, 0, 0);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);  // signals are for the others
    pthread_t thread;
    if (!pthread_create(&thread, nullptr, watch_over, nullptr)) pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

void take_signals() {
    for (int i = 0; i < COUNT; i++) {
        struct sigaction ours = {}, old;
        ours.sa_sigaction = handle;
        // Python wants its calls of the system interrupted by SIGINT, and by nothing of ours.
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | (ALL[i] == STOP ? SA_RESTART : 0);
        sigaction(ALL[i], &ours, &old);
        if (!(old.sa_flags & SA_SIGINFO) || old.sa_sigaction != handle) usual[i] = old;
    }
}

void give_signals_back() {
    for (int i = 0; i < COUNT; i++) {
        struct sigaction now;
        sigaction(ALL[i], &usual[i], &now);
        const bool ours = now.sa_flags & SA_SIGINFO && now.sa_sigaction == handle;
        if (!ours) sigaction(ALL[i], &now, nullptr);  // somebody else has taken it meanwhile
    }
}

struct Stack {  // on which handlers run: the thread's own may be what is full
    static constexpr size_t SIZE = 64 * 1024;
    void* memory = mmap(nullptr, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ~Stack() { munmap(memory, SIZE); }
};
thread_local Stack stack;

void enter(Run& run) {
    pthread_mutex_lock(&mutex);
    if (owner != getpid()) {
        pthread_mutex_init(&mutex, nullptr);  // a child's copy may be held by a thread that it does not have
        pthread_mutex_lock(&mutex);
        begin();
    }
    if (!runs) take_signals();
    run.thread = pthread_self();
    run.before = nullptr, run.next = runs;
    if (runs) runs->before = &run;
    runs = &run;
    pthread_mutex_unlock(&mutex);
}

void leave(Run& run) {
    pthread_mutex_lock(&mutex);
    (run.before ? run.before->next : runs) = run.next;
    if (run.next) run.next->before = run.before;
    if (!runs) give_signals_back();
    pthread_mutex_unlock(&mutex);
}

}  // namespace

struct Death {  // Python reads it (minidl/cuda/emulator/guard.py)
    int signal, code;
    unsigned long long address, at;
};

// Calls the kernel library's minidl_run. 0 and 1 are its own answers; 2: it died, as `death` says.
EXPORTED int minidl_guarded(int (*run)(void (*)(void**), void**, const unsigned*, const unsigned*, int, long long, long long),
                            void (*call)(void**), void** values, const unsigned* grid, const unsigned* block, int shared,
                            long long first, long long last, uintptr_t from, uintptr_t to, int at_once, unsigned tag,
                            Death* death) {
    Run here = {};
    here.from = from, here.to = to, here.at_once = at_once, here.tag = tag;
    stack_t ours = {}, before;
    ours.ss_sp = stack.memory, ours.ss_size = Stack::SIZE;
    sigaltstack(&ours, &before);
    Run* const outer = running;
    enter(here);
    volatile int result = 2;
    if (!sigsetjmp(here.home, 0)) {
        running = &here;
        result = run(call, values, grid, block, shared, first, last);
    } else {
        *death = {here.signal, here.code, here.address, here.at};
    }
    running = outer;
    leave(here);
    sigaltstack(&before, nullptr);
    return result;
}

// Stops those launches of a tag that are running now, and returns when they have stopped.
EXPORTED void minidl_stop(unsigned tag) {
    pthread_mutex_lock(&mutex);
    for (Run* run = runs; run; run = run->next)
        if (run->tag == tag) run->stop = true;
    pthread_mutex_unlock(&mutex);
    stop_marked();
}
