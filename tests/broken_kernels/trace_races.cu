// What tracing must say of threads that nothing orders. With broken = 0 each kernel is right, and it must say nothing.
#include "async.cuh"

constexpr int TILE = 8;

// c (M, N) = a (M, K) b (K, N). Broken: 1, without the barrier after writing the tiles; 2, without that after reading.
extern "C" __global__ void sgemm(const float* a, const float* b, float* c, int N, int K, int broken) {
    __shared__ float tile_a[TILE][TILE], tile_b[TILE][TILE];
    const int m = blockIdx.y * TILE + threadIdx.y, n = blockIdx.x * TILE + threadIdx.x;
    float sum = 0;
    for (int k0 = 0; k0 < K; k0 += TILE) {
        tile_a[threadIdx.y][threadIdx.x] = a[m * K + k0 + threadIdx.x];  // fills a
        tile_b[threadIdx.y][threadIdx.x] = b[(k0 + threadIdx.y) * N + n];
        if (broken != 1) __syncthreads();
        for (int k = 0; k < TILE; k++) {
            const float av = tile_a[threadIdx.y][k];  // reads a
            sum += av * tile_b[k][threadIdx.x];
        }
        if (broken != 2) __syncthreads();
    }
    c[m * N + n] = sum;
}

// One sum a block, by halves.
extern "C" __global__ void sums(const float* x, float* y, int broken) {
    extern __shared__ float partial[];
    partial[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];  // halves
        if (!broken) __syncthreads();
    }
    if (threadIdx.x == 0) y[blockIdx.x] = partial[0];
}

// Lanes that hand numbers on. A shuffle orders no memory.
extern "C" __global__ void lanes(const float* x, float* y, int broken) {
    __shared__ float hands[64];
    const float v = x[threadIdx.x];
    hands[threadIdx.x] = v;  // gives
    const float other = __shfl_xor_sync(0xffffffffu, v, 1);
    if (!broken) __syncwarp();
    y[threadIdx.x] = other - hands[threadIdx.x ^ 1];  // takes
}

// Half a warp waits for itself alone, then takes from its own half; broken: from the other half.
extern "C" __global__ void half_warps(const int* x, int* y, int broken) {
    __shared__ int half[32];
    half[threadIdx.x] = x[threadIdx.x];  // fills half
    __syncwarp(threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u);
    y[threadIdx.x] = half[threadIdx.x ^ (broken ? 31 : 15)];  // takes half
}

// Lanes at one place take turns, as in bins.cuh. Broken: they do not wait for each other.
extern "C" __global__ void turns(int* y, int broken) {
    __shared__ int total[4];
    if (threadIdx.x < 4) total[threadIdx.x] = 0;
    __syncwarp();
    for (int turn = 0; __any_sync(0xffffffffu, threadIdx.x / 4 >= turn); turn++) {
        if (threadIdx.x / 4 == turn) total[threadIdx.x % 4] += threadIdx.x;  // adds
        if (!broken) __syncwarp();
    }
    __syncwarp();
    if (threadIdx.x < 4) y[threadIdx.x] = total[threadIdx.x];
}

// Every block adds to one number. Broken: without an atomic.
extern "C" __global__ void blocks(const int* x, int* total, int broken) {
    const int v = x[blockIdx.x * blockDim.x + threadIdx.x];
    if (!broken) atomicAdd(total, v);
    else if (threadIdx.x == 0) *total += v;  // adds up
}

// Broken: one thread reads what all change by atomics, with no barrier between.
extern "C" __global__ void count(int* y, int broken) {
    __shared__ int so_far;
    if (threadIdx.x == 0) so_far = 0;
    __syncthreads();
    atomicAdd(&so_far, 1);  // counts
    if (!broken) __syncthreads();
    if (threadIdx.x == 0) y[0] = so_far;  // looks
}

// Every thread sets a byte of its own: no race, whatever is kept by words. Broken: its neighbour's too.
extern "C" __global__ void bytes(unsigned char* y, int broken) {
    __shared__ unsigned char flags[65];
    flags[threadIdx.x] = threadIdx.x % 2;
    if (broken) flags[threadIdx.x + 1] = 1;  // spills over
    __syncthreads();
    y[threadIdx.x] = flags[threadIdx.x];
}

// A copy that starts while its place is still being read. Broken: no barrier before it.
extern "C" __global__ void copies(const float* x, float* y, int broken) {
    __shared__ __align__(16) float row[128];
    const int at = 4 * threadIdx.x;
    float sum = 0;
    for (int part = 0; part < 2; part++) {
        copy_async(row + at, x + part * 128 + at, true);  // copies
        commit_copies();
        wait_copies<0>();
        __syncthreads();
        sum += row[127 - threadIdx.x];  // sums
        if (!broken) __syncthreads();
    }
    y[threadIdx.x] = sum;
}
