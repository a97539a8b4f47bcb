// Gram matrices: three corners of one trilinear form.
//
//     T(a, b, y) = sum  a[n, i, p] * b[n, j, p] * y[n, i, j]
//
//     corner y   y[n, i, j] = sum over p   of a * b     the Gram matrix, where a and b are one image
//     corner a   a[n, i, p] = sum over j   of b * y     the gradient of a
//     corner b   b[n, j, p] = sum over i   of a * y     the gradient of b
//
// N batch, I channels of a, J channels of b, P pixels; the same letters in lower case count along them.
//
// Each corner is a product of two matrices for each image:
//
//     corner y   rows i   columns j   sum over p   y = a  b^T
//     corner a   rows i   columns p   sum over j   a = y  b
//     corner b   rows j   columns p   sum over i   b = y^T a
//
// so v3 and what follows it are written once, for any of them: a corner says where its matrices lie.
//
// Corner y has few results and a long sum: 64 channels of 256 x 256 pixels are 4096 results, which 16 blocks
// compute while the rest of the GPU has nothing to do. So v4 cuts the sum into slices, one block each, and
// gram_y_add_slices adds their partial results in order. No rung uses atomics: all results are the same on
// each run.
//
// Where a and b are one image, y is symmetric, to the bit: y[i, j] and y[j, i] add the same products in the
// same order. Computing only the tiles on the diagonal and below would save up to half of the
// multiplications. Not done here: a derivative of corner y is a corner y of two different arrays.
//
// rung               idea it adds                                                 measured
// v1_naive           the formula, one thread per output                           not yet
// v3_shared_tile     16 x 16 outputs share what they load                         not yet
// v4_slices          corner y: the sum is cut into slices, one block each         not yet
// v5_register_tile   corner y: 4 x 4 outputs per thread, kept in registers        not yet
// v4_register_tile   corners a and b: the same; their sums are short              not yet
#include "minidl.cuh"

constexpr int DEPTH = 16;  // steps of the sum that a block loads at a time
constexpr int SIDE = 16;   // a block is SIDE x SIDE threads
constexpr int THREADS = SIDE * SIDE;
constexpr int EACH = 4;    // results per thread along rows, and along columns, in a register tile

// ---------------------------------------------------------------------------------------------- Matrices

// A matrix as it is stored. It has an outer index (a row of the result for the left one, a column for the
// right one) and an inner index, the step of the sum. SUM_FIRST: neighbours along the sum are neighbours in
// memory, otherwise outer ones are; the others are `line` apart.
template <bool SUM_FIRST_>
struct Matrix {
    static constexpr bool SUM_FIRST = SUM_FIRST_;
    const real* array;
    int outers, line;
    __device__ const real* at(int outer, int step) const {
        return array + (SUM_FIRST ? outer * line + step : step * line + outer);
    }
};

// What a block computes: a tile of result = left right, from steps first to last - 1 of the sum.
template <class Left, class Right>
struct Product {
    Left left;
    Right right;
    real* result;
    int tile, first, last;

    __device__ int first_row(int side) const { return tile / ceil_div(right.outers, side) * side; }
    __device__ int first_column(int side) const { return tile % ceil_div(right.outers, side) * side; }
    __device__ void store(int row, int column, real sum) const {
        if (row < left.outers && column < right.outers) result[row * right.outers + column] = sum;
    }
    // The same for EACH neighbours, the first of them at a multiple of EACH: 16 bytes at once where rows are
    // whole packs, since 4 bytes each from threads that are 16 apart would fill a quarter of every sector.
    __device__ void store(int row, int column, const real (&sums)[EACH]) const {
#pragma unroll
        for (int e = 0; e < EACH; e += PACK) {
            if (right.outers % PACK == 0) {
                Pack pack;
#pragma unroll
                for (int v = 0; v < PACK; v++) pack.v[v] = sums[e + v];
                if (row < left.outers && column + e < right.outers)
                    store_pack(result + row * right.outers + column + e, pack);
            } else {
#pragma unroll
                for (int v = 0; v < PACK; v++) store(row, column + e + v, sums[e + v]);
            }
        }
    }
};

typedef Product<Matrix<true>, Matrix<true>> ProductY;
typedef Product<Matrix<true>, Matrix<false>> ProductA;
typedef Product<Matrix<false>, Matrix<false>> ProductB;

// The grid is flat: tiles fastest, then images, then slices of the sum.
struct Share { int tile, n, slice; };

__device__ inline Share share(int N, int slices) {
    const int tiles = gridDim.x / (N * slices), block = blockIdx.x;
    return {block % tiles, block / tiles % N, block / tiles / N};
}

// Slice s of the sum is steps s * slice to (s + 1) * slice - 1; its results lie at partial[s, n, i, j].
__device__ inline ProductY corner_y(const real* a, const real* b, real* partial, int N, int I, int J, int P,
                                    int slices, int slice) {
    const Share me = share(N, slices);
    const int first = me.slice * slice;
    return {{a + me.n * I * P, I, P}, {b + me.n * J * P, J, P},
            partial + (me.slice * N + me.n) * I * J, me.tile, first, min(P, first + slice)};
}

__device__ inline ProductA corner_a(const real* b, const real* y, real* a, int N, int I, int J, int P) {
    const Share me = share(N, 1);
    return {{y + me.n * I * J, I, J}, {b + me.n * J * P, P, P}, a + me.n * I * P, me.tile, 0, J};
}

// As corner a, with y transposed: its rows are now the steps of the sum.
__device__ inline ProductB corner_b(const real* a, const real* y, real* b, int N, int I, int J, int P) {
    const Share me = share(N, 1);
    return {{y + me.n * I * J, J, J}, {a + me.n * I * P, P, P}, b + me.n * J * P, me.tile, 0, I};
}

// ----------------------------------------------------------------------------------------- Shared memory

// OUTERS x DEPTH elements of a matrix in shared memory, where a line is one step of the sum. The pad shifts
// each line against the one before to other banks.
template <int OUTERS, int PAD>
struct Tile {
    static constexpr int LINE = OUTERS + PAD;
    static constexpr int SIZE = DEPTH * LINE;

    // Threads in lines of FAST read what lies together in memory, one line of it each, then the line that is
    // APART lines on. Outside of the matrix, or past the sum, there are zeros.
    template <class M>
    __device__ static void load(real* tile, const M& matrix, int first_outer, int first_step, int last) {
        constexpr int FAST = M::SUM_FIRST ? DEPTH : OUTERS, APART = THREADS / FAST;
        const int fast = threadIdx.x % FAST, slow = threadIdx.x / FAST;
        const int outer = M::SUM_FIRST ? slow : fast, step = M::SUM_FIRST ? fast : slow;
        const real* from = matrix.at(first_outer + outer, first_step + step);
#pragma unroll
        for (int k = 0; k < OUTERS * DEPTH / THREADS; k++) {
            const int o = outer + (M::SUM_FIRST ? k * APART : 0), s = step + (M::SUM_FIRST ? 0 : k * APART);
            const bool inside = first_outer + o < matrix.outers && first_step + s < last;
            tile[s * LINE + o] = inside ? from[k * APART * matrix.line] : real(0);
        }
    }
};

// ------------------------------------------------------------------------------------- v3: a shared tile

// Each element that a block loads is used by 16 threads. Lines are 18 long: a warp that writes along the sum,
// 16 steps of two outer indices, meets each bank (18 step + outer) mod 32 once.
template <class Product>
__device__ void shared_tile(const Product& product) {
    typedef Tile<SIDE, 2> Square;
    __shared__ real left[Square::SIZE], right[Square::SIZE];
    const int first_row = product.first_row(SIDE), first_column = product.first_column(SIDE);
    const int row = threadIdx.x / SIDE, column = threadIdx.x % SIDE;
    real sum = 0;
    for (int step = product.first; step < product.last; step += DEPTH) {
        Square::load(left, product.left, first_row, step, product.last);
        Square::load(right, product.right, first_column, step, product.last);
        __syncthreads();
#pragma unroll
        for (int s = 0; s < DEPTH; s++)
            sum += left[s * Square::LINE + row] * right[s * Square::LINE + column];
        __syncthreads();
    }
    product.store(first_row + row, first_column + column, sum);
}

// ---------------------------------------------------------------------------------- A tile in registers

__device__ inline void read_each(real (&to)[EACH], const real* from) {
#pragma unroll
    for (int e = 0; e < EACH; e += PACK) {
        const Pack values = load_pack(from + e);
#pragma unroll
        for (int v = 0; v < PACK; v++) to[e + v] = values.v[v];
    }
}

// A thread computes 4 x 4 results: per step it reads 4 + 4 numbers, each 4 together, for 16 products, where
// in v3 it reads 2 for one. Lines are 68 long: packs stay aligned, and a warp that writes along the sum meets
// a bank (4 step + outer) mod 32 at most twice.
template <class Product>
__device__ void register_tile(const Product& product) {
    constexpr int WIDE = SIDE * EACH;
    typedef Tile<WIDE, 4> Square;
    __align__(16) __shared__ real left[Square::SIZE];
    __align__(16) __shared__ real right[Square::SIZE];
    const int first_row = product.first_row(WIDE), first_column = product.first_column(WIDE);
    const int row = threadIdx.x / SIDE * EACH, column = threadIdx.x % SIDE * EACH;
    real sum[EACH][EACH] = {};
    for (int step = product.first; step < product.last; step += DEPTH) {
        Square::load(left, product.left, first_row, step, product.last);
        Square::load(right, product.right, first_column, step, product.last);
        __syncthreads();
#pragma unroll
        for (int s = 0; s < DEPTH; s++) {
            real l[EACH], r[EACH];
            read_each(l, left + s * Square::LINE + row);
            read_each(r, right + s * Square::LINE + column);
#pragma unroll
            for (int i = 0; i < EACH; i++)
#pragma unroll
                for (int j = 0; j < EACH; j++) sum[i][j] += l[i] * r[j];
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) product.store(first_row + row + i, first_column + column, sum[i]);
}

// ------------------------------------------------------------------------------ The kernels of corner y

extern "C" __global__ void __launch_bounds__(256) gram_y_v1_naive(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y,
    int N, int I, int J, int P) {
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= N * I * J) return;
    const int j = index % J, i = index / J % I, n = index / J / I;
    real sum = 0;
    for (int p = 0; p < P; p++) sum += a[(n * I + i) * P + p] * b[(n * J + j) * P + p];
    y[index] = sum;
}

// Changes: a block of 16 x 16 threads shares a tile of a and one of b in shared memory.
extern "C" __global__ void __launch_bounds__(256) gram_y_v3_shared_tile(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y,
    int N, int I, int J, int P) {
    shared_tile(corner_y(a, b, y, N, I, J, P, 1, P));
}

// Changes: the sum over the pixels is cut into slices, one block each.
extern "C" __global__ void __launch_bounds__(256) gram_y_v4_slices(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ partial,
    int N, int I, int J, int P, int slices, int slice) {
    shared_tile(corner_y(a, b, partial, N, I, J, P, slices, slice));
}

// Changes: a thread computes 4 x 4 results, and uses each element that it reads four times.
extern "C" __global__ void __launch_bounds__(256) gram_y_v5_register_tile(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ partial,
    int N, int I, int J, int P, int slices, int slice) {
    register_tile(corner_y(a, b, partial, N, I, J, P, slices, slice));
}

// The second half of v4 and v5: y[n, i, j] = sum over s of partial[s, n, i, j], in order. size = N * I * J.
extern "C" __global__ void __launch_bounds__(256) gram_y_add_slices(
    const real* __restrict__ partial, real* __restrict__ y, int slices, int size) {
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= size) return;
    real sum = 0;
    for (int s = 0; s < slices; s++) sum += partial[s * size + index];
    y[index] = sum;
}

// ------------------------------------------------------------------------------ The kernels of corner a

extern "C" __global__ void __launch_bounds__(256) gram_a_v1_naive(
    const real* __restrict__ b, const real* __restrict__ y, real* __restrict__ a,
    int N, int I, int J, int P) {
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= N * I * P) return;
    const int p = index % P, i = index / P % I, n = index / P / I;
    real sum = 0;
    for (int j = 0; j < J; j++) sum += y[(n * I + i) * J + j] * b[(n * J + j) * P + p];
    a[index] = sum;
}

// Changes: a block of 16 x 16 threads shares a tile of y and one of b in shared memory.
extern "C" __global__ void __launch_bounds__(256) gram_a_v3_shared_tile(
    const real* __restrict__ b, const real* __restrict__ y, real* __restrict__ a,
    int N, int I, int J, int P) {
    shared_tile(corner_a(b, y, a, N, I, J, P));
}

// Changes: a thread computes 4 x 4 results, and uses each element that it reads four times.
extern "C" __global__ void __launch_bounds__(256, 2) gram_a_v4_register_tile(
    const real* __restrict__ b, const real* __restrict__ y, real* __restrict__ a,
    int N, int I, int J, int P) {
    register_tile(corner_a(b, y, a, N, I, J, P));
}

// ------------------------------------------------------------------------------ The kernels of corner b

extern "C" __global__ void __launch_bounds__(256) gram_b_v1_naive(
    const real* __restrict__ a, const real* __restrict__ y, real* __restrict__ b,
    int N, int I, int J, int P) {
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= N * J * P) return;
    const int p = index % P, j = index / P % J, n = index / P / J;
    real sum = 0;
    for (int i = 0; i < I; i++) sum += y[(n * I + i) * J + j] * a[(n * I + i) * P + p];
    b[index] = sum;
}

// Changes: a block of 16 x 16 threads shares a tile of y and one of a in shared memory.
extern "C" __global__ void __launch_bounds__(256) gram_b_v3_shared_tile(
    const real* __restrict__ a, const real* __restrict__ y, real* __restrict__ b,
    int N, int I, int J, int P) {
    shared_tile(corner_b(a, y, b, N, I, J, P));
}

// Changes: a thread computes 4 x 4 results, and uses each element that it reads four times.
extern "C" __global__ void __launch_bounds__(256) gram_b_v4_register_tile(
    const real* __restrict__ a, const real* __restrict__ y, real* __restrict__ b,
    int N, int I, int J, int P) {
    register_tile(corner_b(a, y, b, N, I, J, P));
}
