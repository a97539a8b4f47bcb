// What ThreadSanitizer must report, and beside each kernel the right one, of which it must say nothing.

constexpr int TILE = 8;

// c (M, N) = a (M, K) b (K, N), M, N and K multiples of TILE.
extern "C" __global__ void sgemm(const float* a, const float* b, float* c, int N, int K) {
    __shared__ float tile_a[TILE][TILE], tile_b[TILE][TILE];
    const int m = blockIdx.y * TILE + threadIdx.y, n = blockIdx.x * TILE + threadIdx.x;
    float sum = 0;
    for (int k0 = 0; k0 < K; k0 += TILE) {
        tile_a[threadIdx.y][threadIdx.x] = a[m * K + k0 + threadIdx.x];
        tile_b[threadIdx.y][threadIdx.x] = b[(k0 + threadIdx.y) * N + n];
        __syncthreads();
        for (int k = 0; k < TILE; k++) sum += tile_a[threadIdx.y][k] * tile_b[k][threadIdx.x];
        __syncthreads();
    }
    c[m * N + n] = sum;
}

// The second barrier is missing: a quick thread overwrites the tile that a slow one still reads.
extern "C" __global__ void sgemm_without_second_barrier(const float* a, const float* b, float* c, int N, int K) {
    __shared__ float tile_a[TILE][TILE], tile_b[TILE][TILE];
    const int m = blockIdx.y * TILE + threadIdx.y, n = blockIdx.x * TILE + threadIdx.x;
    float sum = 0;
    for (int k0 = 0; k0 < K; k0 += TILE) {
        tile_a[threadIdx.y][threadIdx.x] = a[m * K + k0 + threadIdx.x];  // overwrites
        tile_b[threadIdx.y][threadIdx.x] = b[(k0 + threadIdx.y) * N + n];
        __syncthreads();
        for (int k = 0; k < TILE; k++) sum += tile_a[threadIdx.y][k];  // still reads
        sum *= tile_b[0][threadIdx.x];
    }
    c[m * N + n] = sum;
}

// No barrier anywhere, and none of the threads ever waits: each takes its left neighbour's number.
extern "C" __global__ void neighbours(float* x) {
    if (threadIdx.x > 0) x[threadIdx.x] = x[threadIdx.x - 1];  // of whom?
}

// Shared memory of the launch's size, turned round: right if `waits`.
extern "C" __global__ void turned(float* x, int waits) {
    extern __shared__ float turning[];
    turning[threadIdx.x] = x[threadIdx.x];  // fills
    if (waits) __syncthreads();
    x[threadIdx.x] = turning[blockDim.x - 1 - threadIdx.x];  // takes
}

// Lanes that talk by __syncwarp. A shuffle alone orders no memory: wrong unless `waits`.
extern "C" __global__ void handed_over(float* x, int waits) {
    __shared__ float hands[32];
    hands[threadIdx.x] = x[threadIdx.x];  // gives
    float other = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
    if (waits) __syncwarp();
    x[threadIdx.x] = other + hands[threadIdx.x ^ 1];  // takes over
}

// A variable of the whole program.
__device__ int last;

extern "C" __global__ void lasting(int* x) {
    last = threadIdx.x;  // who is last?
    x[threadIdx.x] = 1;
}

// Each thread's own array lies where an earlier thread had its own.
__device__ __noinline__ void add_turn(int* own, int t) { own[own[t % 8] % 8] += t; }

extern "C" __global__ void own_arrays(const int* x, int* y, int turns) {
    int own[8];
    for (int i = 0; i < 8; i++) own[i] = x[i];
    for (int t = 0; t < turns; t++) add_turn(own, t);
    y[threadIdx.x] = own[turns % 8];
}

// Blocks that use the same shared memory, one after the other; sums by atomics.
extern "C" __global__ void sums(const int* x, int* total) {
    __shared__ int sum;
    if (threadIdx.x == 0) sum = 0;
    __syncthreads();
    atomicAdd(&sum, x[blockIdx.x * blockDim.x + threadIdx.x]);
    __syncthreads();
    if (threadIdx.x == 0) atomicAdd(total, sum);
}
