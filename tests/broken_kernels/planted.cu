// Faults that are easy to make. With broken = 0 each kernel is right.
#include "planted.cuh"

extern "C" __global__ void reads_beyond_shared(const float* x, float* y, int broken) {
    __shared__ float left[32], right[32];
    left[threadIdx.x] = x[threadIdx.x], right[threadIdx.x] = 0;
    __syncthreads();
    y[threadIdx.x] = left[threadIdx.x + broken];  // reads beyond
}

extern "C" __global__ void writes_beyond_shared(const float* x, float* y, int broken) {
    __shared__ float tile[32];
    tile[threadIdx.x + broken] = x[threadIdx.x];  // writes beyond
    __syncthreads();
    y[threadIdx.x] = broken ? 0 : tile[threadIdx.x];
}

extern "C" __global__ void pairs(const float* x, float* y, int broken) {
    const float2 v = *(const float2*)(x + 2 * threadIdx.x + broken);  // pairs
    y[2 * threadIdx.x] = v.x, y[2 * threadIdx.x + 1] = v.y;
}

extern "C" __global__ void fours(const float* x, float* y, int broken) {
    float4 v = reinterpret_cast<const float4*>(x + broken)[threadIdx.x];  // fours
    v.x += 1;
    *reinterpret_cast<float4*>(y + 4 * threadIdx.x) = v;  // stores four
}

extern "C" __global__ void from_header(const float* x, float* y) { y[threadIdx.x] = turned(x[threadIdx.x]); }

__device__ int counted, ticket;
static __device__ float parts[64];

extern "C" __global__ void counts(int* y) {
    atomicAdd(&counted, 1);
    y[0] = 0;
}

extern "C" __global__ void read_counted(int* y) { y[0] = counted; }

// The block that comes last adds up what all have left.
extern "C" __global__ void last_block(const float* x, float* y) {
    __shared__ bool last;
    if (threadIdx.x == 0) {
        float sum = 0;
        for (int i = 0; i < 16; i++) sum += x[blockIdx.x * 16 + i];
        parts[blockIdx.x] = sum;
        __threadfence();
        last = atomicAdd(&ticket, 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        float sum = 0;
        for (int b = 0; b < gridDim.x; b++) sum += ((volatile float*)parts)[b];
        y[0] = sum;
        ticket = 0;
    }
}

extern "C" __global__ void races_on_variable(int* y, int broken) {
    if (broken)
        counted = counted + 1;  // lost updates
    else
        atomicAdd(&counted, 1);
    y[threadIdx.x] = 1;
}

extern "C" __global__ void beyond_variable(float* y, int broken) {
    y[threadIdx.x] = parts[threadIdx.x + 60 * broken];  // reads beyond the variable
}

extern "C" __global__ void accumulates(const float* x, float* y, int broken) {
    if (!broken) y[threadIdx.x] = 0;
    y[threadIdx.x] += x[threadIdx.x];  // adds to what?
}

// Lanes 0, 1 and 2 read; lane 3 writes after it has met some of them, or all.
extern "C" __global__ void third_reader(const float* x, float* y, int broken) {
    __shared__ float v;
    if (threadIdx.x == 0) v = x[0];
    __syncwarp();
    if (threadIdx.x < 3) y[threadIdx.x] = v;  // reads
    if (threadIdx.x > 0 && broken) __syncwarp(0xfffffffeu);
    if (!broken) __syncwarp();
    if (threadIdx.x == 3) v = 7;  // writes
}

extern "C" __global__ void divides(int* y, int n) {
    if (threadIdx.x == 3)
        y[0] = y[1] / n;  // divides
}

extern "C" __global__ void wild(float* y, int broken) {
    if (threadIdx.x == 5) y[broken ? 1ull << 40 : 5] = 1;  // wild
}

template <int SIZE>
__device__ void fill(const char* x, char* y) {
    char room[SIZE];
    for (int i = 0; i < SIZE; i++) room[i] = x[i % 4];  // fills
    y[1] = room[x[1]];
}

extern "C" __global__ void deep(const char* x, char* y) { fill<400 * 1024>(x, y); }
extern "C" __global__ void too_deep(const char* x, char* y) { fill<4096 * 1024>(x, y); }

extern "C" __global__ void endless(volatile int* y, int broken) {
    while (broken && y[0] == 0) {}  // endless
    y[1] = 1;
}
