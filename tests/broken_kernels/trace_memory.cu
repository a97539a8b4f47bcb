// What tracing must say of accesses that go wrong by themselves. With broken = 0 each kernel is right.
#include "async.cuh"

extern "C" __global__ void beyond_argument(const float* x, float* y, int broken) {
    y[threadIdx.x] = x[threadIdx.x + broken];  // reads x
}

extern "C" __global__ void before_output(const float* x, float* y, int broken) {
    y[int(threadIdx.x) - broken] = x[threadIdx.x];  // writes y
}

// The array ends in the middle of an alignment gap.
extern "C" __global__ void beyond_shared(const float* x, float* y, int broken) {
    __shared__ float row[33];
    row[threadIdx.x] = x[threadIdx.x];
    if (threadIdx.x == 0) row[32] = 0;
    __syncthreads();
    y[threadIdx.x] = row[threadIdx.x + 1 + broken];  // reads row
}

extern "C" __global__ void beyond_another_shared(const float* x, float* y, int broken) {
    __shared__ float other[33];
    other[threadIdx.x + 2 * broken] = x[threadIdx.x];  // writes other
    y[threadIdx.x] = x[threadIdx.x];
}

extern "C" __global__ void beyond_dynamic(const float* x, float* y, int broken) {
    extern __shared__ float room[];
    room[threadIdx.x + broken] = x[threadIdx.x];  // writes room
    __syncthreads();
    y[threadIdx.x] = room[max(threadIdx.x, 1)];
}

extern "C" __global__ void far_away(const float* x, float* y, int broken) {
    y[threadIdx.x + (long long)broken * (1 << 30)] = x[threadIdx.x];  // writes far away
}

extern "C" __global__ void unwritten(const float* x, float* y, int broken) {
    __shared__ float half[32];
    if (threadIdx.x < 32 - 16 * broken) half[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = half[31 - threadIdx.x];  // reads half
}

extern "C" __global__ void not_waited_for(const float* x, float* y, int broken) {
    __shared__ __align__(16) float row[128];
    copy_async(row + 4 * threadIdx.x, x + 4 * threadIdx.x % 32, true);
    commit_copies();
    if (!broken) wait_copies<0>();
    __syncthreads();
    y[threadIdx.x] = row[threadIdx.x];  // reads too soon
}

extern "C" __global__ void constant(const float* x, float* y, int broken) {
    float* const to = broken ? const_cast<float*>(x) : y;
    to[threadIdx.x] = 1;  // writes a constant
}

extern "C" __global__ void misaligned_pack(const float* x, float* y, int broken) {
    if (threadIdx.x < 8) store_pack(y + 4 * threadIdx.x, load_pack(x + (4 * threadIdx.x + broken) % 28));  // loads a pack
}

extern "C" __global__ void misaligned_double(const float* x, float* y, int broken) {
    if (threadIdx.x < 8) y[threadIdx.x] = *reinterpret_cast<const double*>(x + 2 * threadIdx.x + broken);  // loads a double
}

extern "C" __global__ void barrier_for_some(const float* x, float* y, int broken) {
    if (threadIdx.x < 32 - broken) __syncthreads();  // waits
    y[threadIdx.x] = x[threadIdx.x];
}

// Constants and global variables are not arguments, and may be read.
__constant__ float scales[2] = {2, 3};
__device__ int offsets[2] = {1, 0};
extern "C" __global__ void constants(const float* x, float* y, int broken) {
    constexpr float weights[4] = {1, 2, 4, 8};
    const int by = offsets[threadIdx.x % 2];
    y[threadIdx.x] = x[threadIdx.x ^ by] * scales[threadIdx.x % 2] * weights[threadIdx.x % 4];
}
