// A function with shared memory of its own, as a header may have.
#pragma once
__device__ inline float turned(float v) {
    __shared__ float tile[32];
    tile[threadIdx.x] = v;
    __syncthreads();
    return tile[31 - threadIdx.x];
}
