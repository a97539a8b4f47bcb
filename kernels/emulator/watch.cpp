// Looks over a kernel's shoulder: every load and store of it comes by here.
//
// The kernel is compiled for ThreadSanitizer, with which the compiler calls __tsan_read4 and the like ahead of
// every access. These are ours. From the address and the place of the call follow
//
//     whether the address belongs to an argument, to shared memory, or to nobody     (below)
//     whether another thread touches it at the same time                             (races.hpp)
//     whether anybody has written there, of shared memory, and of outputs if asked   (below)
//     how the accesses of a warp's lanes lie together                                (traffic.hpp)
//
// Python says beforehand where the arguments lie and which line each stretch of code belongs to, and reads what
// was found afterwards (minidl/cuda/emulator/watching.py).
#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "races.hpp"
#include "regions.hpp"
#include "runtime.hpp"
#include "traffic.hpp"

extern "C" char __ehdr_start[] __attribute__((visibility("hidden")));  // where this library lies: from the linker

namespace emulator {
namespace {

enum Kind { RACE, OVERRUN, UNWRITTEN, MISALIGNED, CONST_WRITE };

struct Site {  // a place in the machine code where memory is touched
    int line;  // 0: not in the kernel's files
    Access access;
    int size;
    Region* region;
    std::unique_ptr<Pending> pending[2][32];  // by space and warp
    int tally[2] = {-1, -1};
};

// What Python reads; all numbers.
struct Side { int line, access, size, thread[3], block[3]; };
struct Finding {
    int kind, space, number, count;  // number: of the argument or the shared variable; -1: none is near
    long long offset;                // from its start
    Side now, before;                // before: of a race, the other access
};
struct Variable { const char* name; unsigned long long size; };

Regions regions;
std::deque<Site> sites;
std::unordered_map<uintptr_t, Site*> by_key;
constexpr int QUICK = 4096;
struct { uintptr_t key; Site* site; } quick[QUICK];
const unsigned long long* starts;  // of the stretches of code, from the start of the library
const int* lines;
int stretches;
std::vector<Finding> findings;
std::vector<Variable> variables;
Clocks clocks;
Traffic traffic;
uintptr_t arguments_from, guard;  // guard: bytes of room around each

// ----------------------------------------------------------------------------------------- What is wrong

Side side(int line, Access access, int size, int thread, long long block) {
    const auto index = [](long long number, Index of, int (&to)[3]) {
        to[0] = number % of.x, to[1] = number / of.x % of.y, to[2] = number / of.x / of.y;
    };
    Side made{line, access, size, {}, {}};
    index(thread, block_size, made.thread);
    index(block, grid_size, made.block);
    return made;
}

long long block_number() {
    return block_index.x + (long long)grid_size.x * (block_index.y + (long long)grid_size.y * block_index.z);
}

void find(Kind kind, const Site& site, uintptr_t at, const Region* region, const Encounter* met = nullptr) {
    const int space = region ? region->space : OWN, number = region ? region->number : -1;
    const int other = met ? met->before.line : 0;
    for (Finding& known : findings)
        if (known.kind == kind && known.space == space && known.number == number &&
            ((known.now.line == site.line && known.before.line == other) ||
             (known.now.line == other && known.before.line == site.line))) {
            known.count++;
            return;
        }
    if (findings.size() >= 1000) return;
    Finding made{kind, space, number, 1, (long long)(at - (region ? region->start : 0)), {}, {}};
    made.now = side(site.line, site.access, site.size, current->number, block_number());
    if (met)
        made.before = side(other, met->access, 0, met->before.thread,
                           block_number() - (block_serial - int(met->before.block)));
    findings.push_back(made);
}

// Whether an access that leaves a static __shared__ variable stays in the room around it.
bool beside(const Region& region, uintptr_t at, int size) {
    return at >= region.start - SHARED_ROOM && at + size <= region.start + region.size + SHARED_ROOM;
}

// An access that is not wholly inside of one array. It is let happen where it can do no harm.
void overrun(const Site& site, uintptr_t at) {
    const Region* near = regions.nearest(at, guard);
    find(OVERRUN, site, at, near);
    const bool dynamic = near && near->start == reinterpret_cast<uintptr_t>(dynamic_shared);
    const bool has_room = near && (near->space == GLOBAL ? !near->variable : dynamic || beside(*near, at, site.size));
    if (!has_room && !(near && site.access == READ)) fail("touches memory that is not the kernel's");
}

// ------------------------------------------------------------------------------------------- Every access

int line_of(uintptr_t address) {
    const unsigned long long at = address - reinterpret_cast<uintptr_t>(__ehdr_start) - 1;  // of the call itself
    const auto after = std::upper_bound(starts, starts + stretches, at);
    return after == starts ? 0 : lines[after - starts - 1];
}

Site& site_of(uintptr_t key, int line, Access access, int size) {
    auto& known = quick[(key ^ key >> 12) % QUICK];
    if (known.key == key) return *known.site;
    Site*& site = by_key[key];
    if (!site) {
        sites.push_back({line >= 0 ? line : line_of(key), access, size, &regions.nowhere, {}, {-1, -1}});
        site = &sites.back();
    }
    known = {key, site};
    return *site;
}

bool is_own(uintptr_t at) {
    return current->fiber->holds(reinterpret_cast<void*>(at)) || is_runtimes(reinterpret_cast<void*>(at));
}

void count(Site& site, uintptr_t at, const Region& region) {
    auto& pending = site.pending[region.space][current->warp];
    if (site.tally[region.space] < 0)
        site.tally[region.space] = traffic.add(site.line, region.space, site.access, site.size);
    if (!pending) pending.reset(new Pending{});
    pending->tally = site.tally[region.space];
    traffic.record(*pending, current->warp, current->lane,
                   uint32_t(at - (region.space == GLOBAL ? arguments_from : region.start)));
}

void touch(Site& site, uintptr_t at) {
    if (!site.line) return;
    Region* region = site.region;
    if (!region->holds(at, site.size)) {
        if (is_own(at)) return;
        region = regions.at(at);
        if (!region || (region->space != OWN && !region->holds(at, site.size))) return overrun(site, at);
        site.region = region;
    }
    if (region->space == OWN) return;
    const bool writes = site.access != READ;
    if (writes && region->constant) find(CONST_WRITE, site, at, region);
    if (!region->written.empty()) {
        char* const written = region->written.data() + (at - region->start);
        if ((site.access == READ || site.access == ATOMIC) && memchr(written, 0, site.size))
            find(UNWRITTEN, site, at, region);
        if (site.access != STARTED) memset(written, 1, site.size);  // what was read: to say it once
    }
    if (region->history) {
        const Encounter met = region->history->meet(at - region->start, site.size, site.access,
                                                    clocks.stamp(site.line), clocks);
        if (met.found) find(RACE, site, at, region, &met);
    }
    if (site.access != STARTED) count(site, at, *region);
}

// An access that a GPU makes in one go, at a multiple of its size.
void touch_whole(Site& site, uintptr_t at) {
    if (site.line && at % site.size && !is_own(at)) {
        find(MISALIGNED, site, at, regions.nearest(at, guard));
        if (site.size > 8) fail("touches 16 bytes at an address that is no multiple of 16");
    }
    touch(site, at);
}

// Of any size and alignment: a struct, copied in steps as wide as these allow. A site for each step.
void touch_range(uintptr_t caller, uintptr_t at, long size, Access access) {
    const uintptr_t both = at | uintptr_t(size);
    const int step = both % 16 == 0 ? 16 : both % 8 == 0 ? 8 : both % 4 == 0 ? 4 : 1;
    for (long k = 0; k * step < size; k++) {
        const uintptr_t key = caller ^ uintptr_t(k + 1) << 48 ^ uintptr_t(access) << 63 ^ uintptr_t(step) << 58;
        touch(site_of(key, line_of(caller), access, step), at + k * step);
    }
}

}  // namespace

void watch_access(const void* address, int size, Access access, int line) {
    const uintptr_t key = uintptr_t(line) << 16 | uintptr_t(size) << 8 | access << 4 | 1;
    touch_whole(site_of(key, line, access, size), reinterpret_cast<uintptr_t>(address));
}

void watch_shared(const void* address, size_t size, const char* name) {
    Region* known = regions.at(reinterpret_cast<uintptr_t>(address));
    if (known && known->space == SHARED) return;
    regions.add(address, size, SHARED, int(variables.size()), false, 4);
    variables.push_back({name, size});
}

void watch_launch_begins() {
    if (dynamic_size) watch_shared(dynamic_shared, dynamic_size, "");
}

void watch_block_begins() {
    clocks.begin_block();
    regions.forget_writes();
}

void watch_block_ends() {
    for (int warp = 0; warp < 32; warp++) traffic.flush(warp);
}

void watch_barrier() {
    clocks.barrier();
    for (int warp = 0; warp < (block_threads + 31) / 32; warp++) traffic.flush(warp);
}

void watch_warp_sync(int warp, unsigned lanes) { clocks.warp_sync(warp, lanes); }

void watch_warp_meets(int warp, unsigned lanes, bool all) { traffic.align(warp, lanes, all); }

}  // namespace emulator

// ------------------------------------------------------------------------------------- What Python calls

using namespace emulator;

#define EXPORTED extern "C" __attribute__((visibility("default")))

// Once: which line each stretch of code belongs to (0: to none of the kernel's), by where it starts.
EXPORTED void minidl_watch_code(const unsigned long long* from, const int* line, int count) {
    starts = from, lines = line, stretches = count;
}

// Ahead of each launch: forget the one before. The arguments lie in one piece of memory, with room between them.
EXPORTED void minidl_watch_begin(void* memory, unsigned long long room) {
    arguments_from = reinterpret_cast<uintptr_t>(memory), guard = room;
    for (Site& site : sites) {
        site.region = &regions.nowhere;
        site.tally[GLOBAL] = site.tally[SHARED] = -1;
        for (auto& of_space : site.pending)
            for (auto& pending : of_space) pending.reset();
    }
    regions.clear(), findings.clear(), variables.clear(), traffic.clear();
    const auto add_own = [](const void* at, size_t size) { regions.add(at, size, OWN, -1, false, 1); };
    add_own(&current, sizeof current);
    add_own(&block_index, sizeof block_index);
    add_own(&block_size, sizeof block_size);
    add_own(&grid_size, sizeof grid_size);
}

EXPORTED void minidl_watch_array(void* at, unsigned long long size, int number, int element, int constant) {
    regions.add(at, size, GLOBAL, number, constant, element);
}

// A __device__ variable: all launches share it, and its first value is written.
EXPORTED void minidl_watch_variable(unsigned long long from, unsigned long long size, int number) {
    regions.add(__ehdr_start + from, size, GLOBAL, number, false, 4).variable = true;
}

// The memory of an array whose values the kernel must not read before somebody wrote them.
EXPORTED void minidl_watch_unwritten(void* at) {
    Region* region = regions.at(reinterpret_cast<uintptr_t>(at));
    if (region) region->written.assign(region->size, 0);
}

// What the kernel may use without being watched: constants, and variables outside of functions.
EXPORTED void minidl_watch_own(unsigned long long from, unsigned long long size) {
    regions.add(__ehdr_start + from, size, OWN, -1, false, 1);
}

EXPORTED int minidl_watch_findings(const Finding** to) { return *to = findings.data(), int(findings.size()); }

EXPORTED int minidl_watch_traffic(const Tally** to) { return *to = traffic.tallies.data(), int(traffic.tallies.size()); }

EXPORTED int minidl_watch_variables(const Variable** to) { return *to = variables.data(), int(variables.size()); }

// ---------------------------------------------------------------------------------- What the compiler calls

#define CALLER_ADDRESS reinterpret_cast<uintptr_t>(__builtin_return_address(0))
#define HIDDEN extern "C" __attribute__((visibility("hidden")))

#define ACCESS(name, size, access)                                                                \
    HIDDEN void __tsan_##name##size(void* at) {                                                   \
        touch_whole(site_of(CALLER_ADDRESS, -1, access, size), reinterpret_cast<uintptr_t>(at));  \
    }
#define UNALIGNED(name, size, access)                                                             \
    HIDDEN void __tsan_unaligned_##name##size(void* at) {                                         \
        touch(site_of(CALLER_ADDRESS, -1, access, size), reinterpret_cast<uintptr_t>(at));        \
    }
#define SIZES(macro, name, access) \
    macro(name, 1, access) macro(name, 2, access) macro(name, 4, access) macro(name, 8, access) macro(name, 16, access)
SIZES(ACCESS, read, READ)
SIZES(ACCESS, write, WRITE)
SIZES(ACCESS, volatile_read, READ)
SIZES(ACCESS, volatile_write, WRITE)
SIZES(UNALIGNED, read, READ)
SIZES(UNALIGNED, write, WRITE)

HIDDEN void __tsan_read_range(void* at, long size) {
    touch_range(CALLER_ADDRESS, reinterpret_cast<uintptr_t>(at), size, READ);
}
HIDDEN void __tsan_write_range(void* at, long size) {
    touch_range(CALLER_ADDRESS, reinterpret_cast<uintptr_t>(at), size, WRITE);
}
// clang asks for these by names of its own.
HIDDEN void* __tsan_memcpy(void* to, const void* from, size_t size) {
    touch_range(CALLER_ADDRESS, reinterpret_cast<uintptr_t>(from), size, READ);
    touch_range(CALLER_ADDRESS, reinterpret_cast<uintptr_t>(to), size, WRITE);
    return memcpy(to, from, size);
}
HIDDEN void* __tsan_memmove(void* to, const void* from, size_t size) {
    touch_range(CALLER_ADDRESS, reinterpret_cast<uintptr_t>(from), size, READ);
    touch_range(CALLER_ADDRESS, reinterpret_cast<uintptr_t>(to), size, WRITE);
    return memmove(to, from, size);
}
HIDDEN void* __tsan_memset(void* to, int value, size_t size) {
    touch_range(CALLER_ADDRESS, reinterpret_cast<uintptr_t>(to), size, WRITE);
    return memset(to, value, size);
}
HIDDEN void __tsan_init() {}
HIDDEN void __tsan_func_entry(void*) {}
HIDDEN void __tsan_func_exit() {}
HIDDEN void __tsan_vptr_read(void**) {}
HIDDEN void __tsan_vptr_update(void**, void*) {}
