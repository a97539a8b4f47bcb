// Copies from global to shared memory that go on while the thread computes.
//
//     copy_async(...)  copy_async(...)  commit_copies()     a group of copies
//     wait_copies<n>()                                      until at most n groups are on their way
//     __syncthreads()                                       and the other threads' copies have arrived too
//
// The emulator makes a copy at its wait and not before, so that a missing wait shows.
#pragma once
#include "minidl.cuh"

// 16 bytes; zeros if not `inside` (the address is then not read).
__device__ inline void copy_async(float* to, const float* from, bool inside, int line = __builtin_LINE()) {
#ifdef MINIDL_EMULATED
    minidl_copy_async(to, from, inside, line);
#elif BEFORE_SM_80
    __trap();
#else
    const unsigned address = (unsigned)__cvta_generic_to_shared(to);
    const int bytes = inside ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
#endif
}

__device__ inline void commit_copies() {
#ifdef MINIDL_EMULATED
    minidl_commit_copies();
#elif BEFORE_SM_80
    __trap();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int n>
__device__ inline void wait_copies() {
#ifdef MINIDL_EMULATED
    minidl_wait_copies(n);
#elif BEFORE_SM_80
    __trap();
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
#endif
}
