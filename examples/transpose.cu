// Turning a matrix: y[v, h] = x[h, v], three ways. Read with examples/04_write_a_kernel.py.
//
// H rows and W columns of x; the same letters in lower case count along them (v along W). Blocks are 32 x 8
// threads and turn a tile of 32 x 32: each thread moves four elements.
constexpr int TILE = 32, ROWS = 8;

// The formula. A warp reads 32 neighbours, and writes 32 elements that lie a whole row of y apart: 32 pieces
// of memory of 32 bytes each, to change four bytes in every one.
extern "C" __global__ void transpose_naive(const float* __restrict__ x, float* __restrict__ y, int H, int W) {
    const int v = blockIdx.x * TILE + threadIdx.x, first = blockIdx.y * TILE + threadIdx.y;
    for (int h = first; h < first + TILE && h < H; h += ROWS)
        if (v < W) y[v * H + h] = x[h * W + v];
}

// Changes: the tile is turned in shared memory, so that a warp reads and writes 32 neighbours. But it reads
// down a column of the tile, whose elements are 32 words apart: all in one bank, one after the other.
extern "C" __global__ void transpose_tiled(const float* __restrict__ x, float* __restrict__ y, int H, int W) {
    __shared__ float tile[TILE][TILE];
    const int left = blockIdx.x * TILE, top = blockIdx.y * TILE;
    for (int r = threadIdx.y; r < TILE; r += ROWS)
        if (top + r < H && left + threadIdx.x < W)
            tile[r][threadIdx.x] = x[(top + r) * W + left + threadIdx.x];
    __syncthreads();
    for (int r = threadIdx.y; r < TILE; r += ROWS)
        if (left + r < W && top + threadIdx.x < H)
            y[(left + r) * H + top + threadIdx.x] = tile[threadIdx.x][r];
}

// Changes: one unused word at the end of each row. Elements of a column are now 33 words apart, in 32
// different banks.
extern "C" __global__ void transpose_padded(const float* __restrict__ x, float* __restrict__ y, int H, int W) {
    __shared__ float tile[TILE][TILE + 1];
    const int left = blockIdx.x * TILE, top = blockIdx.y * TILE;
    for (int r = threadIdx.y; r < TILE; r += ROWS)
        if (top + r < H && left + threadIdx.x < W)
            tile[r][threadIdx.x] = x[(top + r) * W + left + threadIdx.x];
    __syncthreads();
    for (int r = threadIdx.y; r < TILE; r += ROWS)
        if (left + r < W && top + threadIdx.x < H)
            y[(left + r) * H + top + threadIdx.x] = tile[threadIdx.x][r];
}
