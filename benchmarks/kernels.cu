// What the emulator is timed on (benchmarks/emulator.py): threads, barriers, shuffles.

// No waiting at all.
extern "C" __global__ void axpy(const float* __restrict__ x, float* __restrict__ y, float a, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) y[i] += a * x[i];
}

// c = a b, matrices of n x n, n a multiple of 64. A block computes a tile of 64 x 64, 16 steps of the sum at a
// time, between two barriers; a thread 4 x 4 results.
extern "C" __global__ void __launch_bounds__(256) sgemm(
    const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int n) {
    constexpr int TILE = 64, DEPTH = 16, EACH = 4;
    __shared__ float left[DEPTH][TILE], right[DEPTH][TILE];
    const int across = threadIdx.x % 16 * EACH, down = threadIdx.x / 16 * EACH;
    const int row = blockIdx.y * TILE, column = blockIdx.x * TILE;
    float sum[EACH][EACH] = {};
    for (int step = 0; step < n; step += DEPTH) {
        for (int e = threadIdx.x; e < TILE * DEPTH; e += blockDim.x) {
            left[e % DEPTH][e / DEPTH] = a[(row + e / DEPTH) * n + step + e % DEPTH];
            right[e / TILE][e % TILE] = b[(step + e / TILE) * n + column + e % TILE];
        }
        __syncthreads();
        for (int s = 0; s < DEPTH; s++)
            for (int i = 0; i < EACH; i++)
                for (int j = 0; j < EACH; j++) sum[i][j] += left[s][down + i] * right[s][across + j];
        __syncthreads();
    }
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) c[(row + down + i) * n + column + across + j] = sum[i][j];
}

// The sum of all elements: five shuffles a thread, one atomic a warp.
extern "C" __global__ void total(const float* __restrict__ x, float* __restrict__ y, int size) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    float sum = i < size ? x[i] : 0;
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (threadIdx.x % 32 == 0) atomicAdd(y, sum);
}
