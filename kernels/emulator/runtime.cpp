// Runs blocks; see runtime.hpp. Compiled without sanitizers, which are told here what they cannot see: the fibers.
#include "runtime.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <string>

#ifdef MINIDL_TSAN
extern "C" {
void* __tsan_create_fiber(unsigned flags);
void* __tsan_get_current_fiber();
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void __tsan_set_fiber_name(void* fiber, const char* name);
void AnnotateIgnoreReadsBegin(const char* file, int line);  // and writes
void AnnotateIgnoreReadsEnd(const char* file, int line);
}
#endif
#ifdef MINIDL_ASAN
extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, size_t size);
void __sanitizer_finish_switch_fiber(void* fake_stack, const void** old_bottom, size_t* old_size);
}
#endif

namespace emulator {

Thread* current = nullptr;
Index block_index, block_size, grid_size;
int block_threads, block_serial;
char* dynamic_shared;
int dynamic_size;

namespace {

std::vector<Thread> threads;            // of the block
std::vector<Warp> warps;
std::deque<Thread*> ready;
std::vector<Fiber*> all_fibers, idle_fibers;
Fiber* here;                            // the fiber that is running; null: the one of minidl_run
Spot home;
int fresh, waiting;                     // the next thread to start; how many are at the barrier
Place barrier_place;
void (*kernel)(void**);
void** arguments;
std::string report;
bool failed;

struct Shared { char* address; size_t size; const char* name; };
std::vector<Shared> noted;              // __shared__ variables that this block has come to, with room around them
size_t noted_size;
std::vector<Shared>& of_file() {        // those outside of functions, noted while the library is loaded
    static std::vector<Shared> all;
    return all;
}
constexpr size_t MOST_STATIC = 48 * 1024, MOST = 227 * 1024;  // bytes of shared memory that a block may have

// What orders memory, as ThreadSanitizer wants it told: who acquires a tag comes after all who released it. A block
// starts after the one before has ended. Barriers use two tags in turns, since a thread may come to the next barrier
// while another has not yet left this one.
char barrier_tags[2], start_tag, end_tag;
int barrier_turn;

void release(char* tag) {
#ifdef MINIDL_TSAN
    __tsan_release(tag);
#else
    (void)tag;
#endif
}

void acquire(char* tag) {
#ifdef MINIDL_TSAN
    __tsan_acquire(tag);
#else
    (void)tag;
#endif
}

// While it lives, ThreadSanitizer does not take what this thread does for the kernel's own doing: it would see
// the runtime copy, allocate and free. (Across a change of stacks too: each thread has its own.)
struct Unseen {
#ifdef MINIDL_TSAN
    Unseen() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
    ~Unseen() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
#else
    Unseen() {}
#endif
};

Meeting& meeting_of(Warp& warp, unsigned mask) {
    for (Meeting& meeting : warp.meetings)
        if (meeting.mask == mask) return meeting;
    warp.meetings.push_back({});
    warp.meetings.back().mask = mask;
    return warp.meetings.back();
}

void become(Thread* thread) {
    current = thread;
    thread->state = RUNNING;
#ifdef MINIDL_TSAN
    __tsan_switch_to_fiber(thread->sanitizer, 1);  // 1: this alone orders nothing
#endif
}

#ifdef MINIDL_TSAN
void* home_sanitizer;
#endif
#ifdef MINIDL_ASAN
const void* home_stack;
size_t home_size;
#endif

void arrive() {
#ifdef MINIDL_ASAN
    const void* stack;
    size_t size;
    __sanitizer_finish_switch_fiber(nullptr, &stack, &size);
    if (!home_stack) home_stack = stack, home_size = size;
#endif
}

void go(Fiber* to) {
    Fiber* from = here;
    if (from == to) return;
    here = to;
#ifdef MINIDL_TSAN
    if (!to) __tsan_switch_to_fiber(home_sanitizer, 1);
#endif
#ifdef MINIDL_ASAN
    void* fake;
    __sanitizer_start_switch_fiber(&fake, to ? to->stack : home_stack, to ? Fiber::SIZE : home_size);
#endif
    change(from ? from->spot : home, to ? to->spot : home);
#ifdef MINIDL_ASAN
    const void* stack;
    size_t size;
    __sanitizer_finish_switch_fiber(fake, &stack, &size);
#endif
}

Thread* take_ready() {
    const Unseen unseen;
    Thread* thread = ready.front();
    ready.pop_front();
    return thread;
}

void set_idle(Fiber* fiber) {
    const Unseen unseen;
    idle_fibers.push_back(fiber);
}

// On every fiber: runs fresh threads, one after the other, then makes room for those that wait no longer.
void work() {
    arrive();
    for (;;) {
        if (!ready.empty()) {
            Thread* thread = take_ready();
            set_idle(here);
            become(thread);
            go(thread->fiber);
        } else if (fresh < block_threads) {
            Thread& thread = threads[fresh++];
            thread.fiber = here;
            become(&thread);
            acquire(&start_tag);
            kernel(arguments);
            release(&end_tag);
            thread.state = RETURNED;
        } else {
            set_idle(here);
            current = nullptr;
            go(nullptr);
        }
    }
}

Fiber* idle_fiber() {
    if (idle_fibers.empty()) {
        all_fibers.push_back(new Fiber);
        all_fibers.back()->start(work);
        return all_fibers.back();
    }
    Fiber* fiber = idle_fibers.back();
    idle_fibers.pop_back();
    return fiber;
}

// Leaves the running thread until somebody puts it among the ready ones.
void wait() {
    if (!ready.empty()) {
        Thread* next = take_ready();
        become(next);
        go(next->fiber);
    } else if (fresh < block_threads) {
        go(idle_fiber());
    } else {
        current = nullptr;
        go(nullptr);  // nobody is left to run
    }
}

void wake(Thread& thread) {
    thread.state = READY;
    ready.push_back(&thread);
}

void say(const char* format, va_list list) {
    char line[1024];
    vsnprintf(line, sizeof line, format, list);
    report += line;
}

void say(const char* format, ...) __attribute__((format(printf, 1, 2)));
void say(const char* format, ...) {
    va_list list;
    va_start(list, format);
    say(format, list);
    va_end(list);
}

int count(State state) {
    int found = 0;
    for (const Thread& thread : threads) found += thread.state == state;
    return found;
}

unsigned lanes_returned(int warp) {
    unsigned lanes = 0;
    for (int t = warp * 32; t < warp * 32 + 32 && t < block_threads; t++)
        if (threads[t].state == RETURNED) lanes |= 1u << (t % 32);
    return lanes;
}

// Nobody can run, and somebody waits: says who waits where.
void explain_standstill() {
    say("block (%u, %u, %u) stands still: ", block_index.x, block_index.y, block_index.z);
    const int at_barrier = count(AT_BARRIER), returned = count(RETURNED);
    if (at_barrier)
        say("only %d of its %d threads reach the barrier at %s:%d", at_barrier, block_threads,
            name_of(barrier_place.file), barrier_place.line);
    else
        say("lanes of a warp wait for each other");
    if (at_barrier && returned) say("\n%d threads have returned", returned);
    for (size_t warp = 0; warp < warps.size(); warp++)
        for (const Meeting& meeting : warps[warp].meetings) {
            if (!meeting.arrived) continue;
            const unsigned missing = meeting.mask & ~meeting.arrived, gone = missing & lanes_returned(warp);
            say("\nwarp %zu: lanes %08x wait in %s at %s:%d for lanes %08x", warp, meeting.arrived, meeting.what,
                name_of(meeting.place.file), meeting.place.line, missing);
            if (gone) say(", of which %08x have returned", gone);
        }
    for (const Thread& thread : threads)
        if (thread.state == AT_BARRIER || thread.state == RETURNED) {
            const Thread* last = &thread;
            while (last + 1 < threads.data() + threads.size() && last[1].state == thread.state) last++;
            say("\nfor example, threads %d to %d %s", thread.number, last->number,
                thread.state == RETURNED ? "have returned" : "wait at the barrier");
            break;
        }
}

void begin_block() {
    block_serial++;
    ready.clear();
    fresh = waiting = 0;
    threads.resize(block_threads);
    warps.resize((block_threads + 31) / 32);
    for (Warp& warp : warps) warp.meetings.clear();
    for (int t = 0; t < block_threads; t++) {
        Thread& thread = threads[t];
        thread.index = {t % block_size.x, t / block_size.x % block_size.y, t / block_size.x / block_size.y};
        thread.number = t, thread.warp = t / 32, thread.lane = t % 32;
        thread.state = FRESH;
        thread.copies.clear();
        thread.group = 0;
#ifdef MINIDL_TSAN
        char name[64];
        snprintf(name, sizeof name, "(%u, %u, %u) of block (%u, %u, %u)", thread.index.x, thread.index.y,
                 thread.index.z, block_index.x, block_index.y, block_index.z);
        if (!thread.sanitizer) thread.sanitizer = __tsan_create_fiber(0);
        __tsan_set_fiber_name(thread.sanitizer, name);
#endif
    }
    memset(dynamic_shared, 0xff, dynamic_size);  // NaNs
    noted.clear();
    noted_size = 0;
#ifdef MINIDL_WATCHED
    watch_block_begins();
#endif
    for (const Shared& shared : of_file()) {
        int serial = 0;
        note_shared(shared.address, shared.size, shared.name, SHARED_ROOM, serial);
    }
    noted_size = 0;  // of those outside, a kernel has only what it uses
}

// Whether anybody has written beside a __shared__ variable. (In watched builds, each access is looked at.)
void look_beside() {
#if !defined(MINIDL_WATCHED) && !defined(MINIDL_ALONE)
    static_assert(SHARED_ROOM == 128, "");
    static const std::string untouched(SHARED_ROOM, '\xff');
    for (const Shared& shared : noted) {
        const bool before = memcmp(shared.address - SHARED_ROOM, untouched.data(), SHARED_ROOM);
        if (!before && !memcmp(shared.address + shared.size, untouched.data(), SHARED_ROOM)) continue;
        failed = true;
        say("block (%u, %u, %u) writes %s the __shared__ array %s, which has %zu bytes", block_index.x, block_index.y,
            block_index.z, before ? "ahead of" : "beyond the end of", shared.name, shared.size);
        say("\nminidl.cuda.emulator.trace.tracing() tells the line, and the thread");
        return;
    }
#endif
}

// Where nobody can run on, those who ask for the lanes that are with them have waited long enough. Of each warp, those
// at the first line are told of each other; they may still come to where the others wait.
bool answer_asking() {
    bool any = false;
    for (size_t warp = 0; warp < warps.size(); warp++) {
        const size_t end = std::min(warp * 32 + 32, threads.size());
        const Thread* first = nullptr;
        for (size_t t = warp * 32; t < end; t++)
            if (threads[t].state == ASKING && (!first || threads[t].place.line < first->place.line)) first = &threads[t];
        if (!first) continue;
        any = true;
        const Place place = first->place;
        unsigned lanes = 0;
        for (size_t t = warp * 32; t < end; t++)
            if (threads[t].state == ASKING && threads[t].place == place) lanes |= 1u << t % 32;
        for (unsigned left = lanes; left; left &= left - 1) {
            Thread& thread = threads[warp * 32 + __builtin_ctz(left)];
            thread.together = lanes;
            wake(thread);
        }
    }
    return any;
}

void end_block() {
#ifdef MINIDL_WATCHED
    watch_block_ends();
#endif
    acquire(&end_tag);  // what the next block does comes after
}

bool run_block() {
    begin_block();
    release(&start_tag);
    go(idle_fiber());
    while (!failed && answer_asking()) {
        Thread* thread = take_ready();
        become(thread);
        go(thread->fiber);
    }
    end_block();
    if (!failed) look_beside();
    if (!failed && count(RETURNED) < block_threads) {
        failed = true;
        explain_standstill();
    }
    if (failed) {  // the fibers' stacks are full of threads that will not go on
        current = nullptr;
        idle_fibers = all_fibers;
        for (Fiber* fiber : all_fibers) fiber->start(work);
    }
    return !failed;
}

}  // namespace

const char* name_of(const char* file) {
    const char* slash = strrchr(file, '/');
    return slash ? slash + 1 : file;
}

void fail(const char* format, ...) {
    failed = true;
    if (current)
        say("thread (%u, %u, %u) of block (%u, %u, %u): ", current->index.x, current->index.y, current->index.z,
            block_index.x, block_index.y, block_index.z);
    va_list list;
    va_start(list, format);
    say(format, list);
    va_end(list);
    go(nullptr);
    __builtin_unreachable();
}

void barrier(int line, const char* file) {
    const Unseen unseen;
    Thread& self = *current;
    if (waiting == 0) barrier_place = {file, line};
    else if (!(barrier_place == Place{file, line}))
        fail("reaches the barrier at %s:%d, while others wait at the one at %s:%d", name_of(file), line,
             name_of(barrier_place.file), barrier_place.line);
    char* tag = &barrier_tags[barrier_turn];
    release(tag);
    if (++waiting == block_threads) {
        waiting = 0;
        barrier_turn ^= 1;
        for (Thread& thread : threads)
            if (&thread != &self) wake(thread);
#ifdef MINIDL_WATCHED
        watch_barrier();
#endif
    } else {
        self.state = AT_BARRIER;
        self.place = {file, line};
        wait();
    }
    acquire(tag);
}

unsigned lanes_alive() {
    const int lanes = block_threads - current->warp * 32;
    return (lanes < 32 ? (1u << lanes) - 1 : 0xffffffffu) & ~lanes_returned(current->warp);
}

unsigned lanes_together(int line, const char* file) {
    const Unseen unseen;
    Thread& self = *current;
    self.state = ASKING;
    self.place = {file, line};
    wait();
    return self.together;
}

bool is_runtimes(const void* address) {
    const auto inside = [address](const auto& list) {
        return address >= list.data() && address < list.data() + list.size();
    };
    return inside(threads) || inside(warps);
}

void* meet(const char* what, unsigned mask, const void* in, int size, void (*compute)(Warp&, unsigned lanes),
           bool orders_memory, int line, const char* file) {
    const Unseen unseen;
    Thread& self = *current;
    const unsigned bit = 1u << self.lane, first = self.warp * 32;
    const unsigned last_warp = block_threads - first;
    if (last_warp < 32) mask &= (1u << last_warp) - 1;  // lanes that the block does not have
    if (!(mask & bit)) fail("calls %s at %s:%d with a mask, %08x, that leaves it out", what, name_of(file), line, mask);
    Warp& warp = warps[self.warp];
    Meeting& meeting = meeting_of(warp, mask);
    if (!meeting.arrived) {
        meeting.place = {file, line};
        meeting.what = what;
    } else if (!(meeting.place == Place{file, line})) {
        fail("comes to %s at %s:%d, while lanes %08x of its warp wait for it in %s at %s:%d", what, name_of(file), line,
             meeting.arrived, meeting.what, name_of(meeting.place.file), meeting.place.line);
    }
    if (size) memcpy(warp.in[self.lane], in, size);
    meeting.arrived |= bit;
    char* tag = &meeting.tags[meeting.turn];
    if (orders_memory) release(tag);
    if (meeting.arrived == mask) {
        if (compute) compute(warp, mask);
        meeting.arrived = 0;
#ifdef MINIDL_WATCHED
        watch_warp_meets(self.warp, mask, !(lanes_alive() & ~mask));
#endif
        if (orders_memory) {
            meeting.turn ^= 1;
#ifdef MINIDL_WATCHED
            watch_warp_sync(self.warp, mask);
#endif
        }
        for (unsigned left = mask & ~bit; left; left &= left - 1) wake(threads[first + __builtin_ctz(left)]);
    } else {
        self.state = IN_MEETING;
        self.place = {file, line};
        wait();
    }
    if (orders_memory) acquire(tag);
    return warp.out[self.lane];
}

void note_shared(void* address, size_t size, const char* name, int room, int& serial) {
    if (serial == block_serial) return;
    serial = block_serial;
    const Unseen unseen;
    char* const start = static_cast<char*>(address);
    memset(start - room, 0xff, size + 2 * room);
    if (room) noted.push_back({start, size, name});
    noted_size += size;
    if (noted_size > MOST_STATIC)
        fail("declares %zu bytes of static __shared__ memory by %s: a block has %zu, beyond which it must be dynamic",
             noted_size, name, MOST_STATIC);
    if (noted_size + dynamic_size > MOST)
        fail("has %zu bytes of static and %d of dynamic shared memory: a block can have %zu", noted_size, dynamic_size,
             MOST);
#if defined(MINIDL_WATCHED) || defined(MINIDL_ALONE)
    watch_shared(address, size, name);
#endif
}

void note_file_shared(void* address, size_t size, const char* name) {
    of_file().push_back({static_cast<char*>(address), size, name});
}

}  // namespace emulator

// ------------------------------------------------------------------------------------- What Python calls

using namespace emulator;

extern "C" __attribute__((visibility("default"))) const char* minidl_error() { return report.c_str(); }

extern "C" char __ehdr_start[] __attribute__((visibility("hidden"))), etext[] __attribute__((visibility("hidden")));

// Where the library's code lies: what Python finds lines by, and guard.cpp a kernel that it may stop.
extern "C" __attribute__((visibility("default"))) void minidl_code(const char** from, const char** to) {
    *from = __ehdr_start, *to = etext;
}

// After a fault: which thread it was. Whether the address is where a thread's stack ends goes to `full`.
extern "C" __attribute__((visibility("default"))) const char* minidl_died(const char* address, int* full) {
    report.clear();
    *full = 0;
    for (const Fiber* fiber : all_fibers) *full |= address >= fiber->stack && address < fiber->stack + 4 * 4096;
    if (current)
        say("thread (%u, %u, %u) of ", current->index.x, current->index.y, current->index.z);
    say("block (%u, %u, %u)", block_index.x, block_index.y, block_index.z);
    return report.c_str();
}

// Blocks first to last - 1 of the grid, in the order x, y, z. 0: all went well; 1: minidl_error() says what did not.
extern "C" __attribute__((visibility("default"))) int minidl_run(
    void (*call)(void**), void** values, const unsigned* grid, const unsigned* block, int shared, long long first,
    long long last) {
    static int capacity = 0;
    kernel = call;
    arguments = values;
    grid_size = {grid[0], grid[1], grid[2]};
    block_size = {block[0], block[1], block[2]};
    block_threads = block[0] * block[1] * block[2];
    if (shared > capacity || !dynamic_shared || MINIDL_EXACT) {
        if (dynamic_shared) free(dynamic_shared - ROOM);
        capacity = shared;
        void* memory = nullptr;
        const size_t size = shared + 2 * ROOM;
        if (posix_memalign(&memory, 128, size ? size : 1)) return report = "out of memory", 1;
        dynamic_shared = static_cast<char*>(memory) + ROOM;
    }
    dynamic_size = shared;
#ifdef MINIDL_ALONE
    if (shared) watch_shared(dynamic_shared, shared, "(dynamic)");
#endif
    report.clear();
    failed = false;
#ifdef MINIDL_TSAN
    home_sanitizer = __tsan_get_current_fiber();
#endif
#ifdef MINIDL_WATCHED
    watch_launch_begins();
#endif
    for (long long b = first; b < last; b++) {
        block_index = {unsigned(b % grid[0]), unsigned(b / grid[0] % grid[1]), unsigned(b / grid[0] / grid[1])};
        if (!run_block()) return 1;
    }
    return 0;
}
