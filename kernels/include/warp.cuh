// Sums and maxima over a warp and over a block, always in the same order.
#pragma once
#include "minidl.cuh"

// Every lane gets the sum over the 32 lanes of its warp. Each step folds the warp in half.
template <typename T>
__device__ T warp_sum(T v) {
    for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
    return v;
}

// Every thread gets the sum over its block, a whole number of warps, at most 32.
// All threads must call it. `partial` is shared memory for 32 numbers.
template <typename T>
__device__ T block_sum(T v, T* partial) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    v = warp_sum(v);
    __syncthreads();  // the numbers of the previous sum have been read
    if (lane == 0) partial[warp] = v;
    __syncthreads();
    return warp_sum(lane < warps ? partial[lane] : T(0));
}
