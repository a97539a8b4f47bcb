// The emulator's inside: blocks, their threads, and where these wait for each other.
//
// One call of minidl_run computes a range of blocks, one after the other. A block's threads run in turns, on
// fibers. A thread runs until it must wait for others, at a barrier or in a meeting of its warp, or returns.
// One that returns leaves its fiber to the next thread, so threads that never wait cost no change of stacks.
//
// Everything here is static: each core of the machine runs a copy of the library of its own, and so __shared__
// variables, which are static too, need no further care.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include "fiber.hpp"

namespace emulator {

struct Index { unsigned x, y, z; };  // threadIdx, blockIdx

struct Place {  // in the .cu file
    const char* file;
    int line;
    bool operator==(const Place& other) const {
        return line == other.line && (file == other.file || !strcmp(file, other.file));
    }
};

struct Copy {  // cp.async, on its way
    void* to;
    const void* from;
    bool inside;
    int group, line;
};

enum State { FRESH, RUNNING, READY, AT_BARRIER, IN_MEETING, ASKING, RETURNED };  // ASKING: who is with it

struct Thread {
    Index index;
    int number, warp, lane;  // number: in the block
    State state;
    Place place;             // where it waits
    Fiber* fiber;
    std::vector<Copy> copies;
    int group;               // of the copies being gathered
    unsigned together;       // what it is told when it asks
    void* sanitizer = nullptr;  // ThreadSanitizer's idea of this thread, and of its successors in other blocks
};

// Lanes of one warp that wait for each other. Lanes of different masks may meet at the same time.
struct Meeting {
    unsigned mask, arrived;
    Place place;
    const char* what;
    char tags[2];            // for ThreadSanitizer, used in turns
    int turn;
};

// What lanes exchange when they meet: each brings `in`, the last to come computes `out` for all.
struct Warp {
    static constexpr int ROOM = 64;  // bytes that a lane can bring, or take away
    alignas(16) unsigned char in[32][ROOM], out[32][ROOM];
    std::deque<Meeting> meetings;    // one for each mask that lanes of this block have met with
};

extern Thread* current;           // the running thread; null between blocks
extern Index block_index, block_size, grid_size;
extern int block_threads, block_serial;  // serial: counts the blocks that this library has run
extern char* dynamic_shared;
extern int dynamic_size;
#ifdef MINIDL_WATCHED
constexpr int ROOM = 1 << 16;  // bytes around dynamic shared memory, where accesses beyond it do no harm
#else
constexpr int ROOM = 0;
#endif

// Waits until all threads of the block are here.
void barrier(int line, const char* file);

// Brings `size` bytes to a meeting of the lanes in `mask`; returns the lane's `out`.
void* meet(const char* what, unsigned mask, const void* in, int size, void (*compute)(Warp&, unsigned lanes),
           bool orders_memory, int line, const char* file);

// Ends the block, and the launch, with a message. Does not return.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Bytes around each __shared__ variable that are nobody's.
#if defined(MINIDL_ASAN)
constexpr int SHARED_ROOM = 0;
#elif defined(MINIDL_WATCHED)
constexpr int SHARED_ROOM = 4096;
#else
constexpr int SHARED_ROOM = 128;
#endif

// Notes a __shared__ variable, and fills it and the room around it with NaNs when a block comes to it first.
void note_shared(void* address, size_t size, const char* name, int room, int& serial);
void note_file_shared(void* address, size_t size, const char* name);  // one outside of functions: for all blocks

unsigned lanes_alive();  // of the running thread's warp

// The lanes that are together with the running thread: those of its warp that come to the same place before anybody
// can go on elsewhere.
unsigned lanes_together(int line, const char* file);

bool is_runtimes(const void* address);  // whether the runtime's own memory lies there

const char* name_of(const char* file);  // without its folder

// What watch.cpp, which looks over the kernel's shoulder, is told (in builds with MINIDL_WATCHED). The programs
// that the sanitizers need (alone.cpp, MINIDL_ALONE) are told of shared memory alone.
void watch_launch_begins();
void watch_block_begins();
void watch_block_ends();
void watch_barrier();                         // all threads of the block have come
void watch_warp_meets(int warp, unsigned lanes, bool all);  // all: nobody else of the warp is left
void watch_warp_sync(int warp, unsigned lanes);             // and this orders memory
void watch_shared(const void* address, size_t size, const char* name);
// An access whose line is known; the compiler's own reports of accesses come as __tsan_read4 and the like.
// STARTED: a copy is on its way, and will write at any time until it is waited for.
enum Access { READ, WRITE, ATOMIC, STARTED };
void watch_access(const void* address, int size, Access access, int line);

}  // namespace emulator
