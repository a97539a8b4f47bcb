// Fibers: stacks that the program itself moves between.
//
//     fiber.start(entry)      entry() will run on the fiber's stack, and must never return
//     change(from, to)        leaves the running fiber, whose place is kept in `from`, for another
//
// A function call keeps only the registers that a callee must preserve, so a change of stacks need keep no others:
// ten instructions, some nanoseconds, where the system's swapcontext asks the kernel to save the signal mask too.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

#if !defined(MINIDL_UCONTEXT) && !defined(__x86_64__) && !defined(__aarch64__)
#define MINIDL_UCONTEXT
#endif
#ifdef MINIDL_UCONTEXT
#include <ucontext.h>
#endif

namespace emulator {

#ifdef MINIDL_UCONTEXT
typedef ucontext_t Spot;
inline void change(Spot& from, Spot& to) { swapcontext(&from, &to); }
#else
typedef void* Spot;  // the stack pointer; what must be kept lies on the stack above it
extern "C" void minidl_change(void** from, void* to) __asm__("minidl_change");
inline void change(Spot& from, Spot& to) { minidl_change(&from, to); }
#endif

struct Fiber {
    static constexpr size_t SIZE = 576 * 1024;  // a CUDA thread has up to 512 KB of local memory
    Spot spot{};
    char* stack;

    Fiber() {  // pages are taken from the system when they are first touched
        void* memory = mmap(nullptr, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) abort();
        stack = static_cast<char*>(memory);
        // A thread that needs more than SIZE ends the program here, rather than write into another's stack.
        mprotect(stack, sysconf(_SC_PAGESIZE), PROT_NONE);
    }

    bool holds(const void* address) const { return address >= stack && address < stack + SIZE; }

    void start(void (*entry)()) {
#ifdef MINIDL_UCONTEXT
        getcontext(&spot);
        spot.uc_stack.ss_sp = stack;
        spot.uc_stack.ss_size = SIZE;
        makecontext(&spot, entry, 0);
#else
        void** top = reinterpret_cast<void**>(stack + SIZE);
#ifdef __x86_64__
        *--top = nullptr;  // where the address to return to would be: none
        *--top = reinterpret_cast<void*>(entry);
        top -= 6;
#else
        top -= 20;
        top[11] = reinterpret_cast<void*>(entry);  // x30, the link register
#endif
        spot = top;
#endif
    }
};

}  // namespace emulator
