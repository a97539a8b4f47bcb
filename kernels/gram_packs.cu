// Gram matrices by packs: the rung above the formula, and the CPU's own (gram.cu has the form and its letters).
//
// The three corners are products of two matrices as they are stored (include/product.cuh):
//
//     corner y   rows i   columns j   sum over p   left a    right b'
//     corner a   rows i   columns p   sum over j   left y    right b
//     corner b   rows j   columns p   sum over i   left y'   right a
//
// Where a and b are one image, y is symmetric to the bit: a thread of corner y leaves out the rows above its columns
// (`same`), and the launcher copies what lies across from them.
//
// `a_turned`: a lies in memory as (N, P, I), as images do channels last; likewise the others. Where an image that is
// mixed lies so, corners a and b make one that does, by the transposed product: rows p.
//
// rung                     idea it adds                                            measured
// v2_packs                 some rows times some packs of columns per thread        not yet
#include "product.cuh"

// Changes: a thread computes some rows times some packs of columns, from registers.
extern "C" __global__ void __launch_bounds__(256, 1) gram_y_v2_packs(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y,
    int N, int I, int J, int P, int a_turned, int b_turned, int same, int rows, int packs) {
    Share me(blockIdx.x * blockDim.x + threadIdx.x, I, J, rows, packs);
    if (me.n >= N) return;
    if (same) me.row = max(me.row, me.pack * LANES);
    const Matrix left = matrix(a, me.n, I, P, a_turned), right = matrix(b, me.n, J, P, b_turned);
    multiply({left, right, y + (int64)me.n * I * J, P}, me);
}

// Mixes an image: result[to, p] = sum over `from` of  by[to, from] * image[from, p], for one of N.
__device__ __forceinline__ void mix(const Matrix& by, const Matrix& image, bool turned, real* result, int from,
                                    const Share& me) {
    multiply({turned ? image : by, turned ? by : image, result, from}, me);
}

// Changes: a thread computes some rows times some packs of columns, from registers.
extern "C" __global__ void __launch_bounds__(256, 1) gram_a_v2_packs(
    const real* __restrict__ b, const real* __restrict__ y, real* __restrict__ a,
    int N, int I, int J, int P, int b_turned, int y_turned, int rows, int packs) {
    const Share me(blockIdx.x * blockDim.x + threadIdx.x, b_turned ? P : I, b_turned ? I : P, rows, packs);
    if (me.n >= N) return;
    const Matrix by = matrix(y, me.n, I, J, y_turned), image = matrix(b, me.n, P, J, !b_turned);
    mix(by, image, b_turned, a + (int64)me.n * I * P, J, me);
}

// Changes: a thread computes some rows times some packs of columns, from registers.
extern "C" __global__ void __launch_bounds__(256, 1) gram_b_v2_packs(
    const real* __restrict__ a, const real* __restrict__ y, real* __restrict__ b,
    int N, int I, int J, int P, int a_turned, int y_turned, int rows, int packs) {
    const Share me(blockIdx.x * blockDim.x + threadIdx.x, a_turned ? P : J, a_turned ? J : P, rows, packs);
    if (me.n >= N) return;
    const Matrix by = matrix(y, me.n, J, I, !y_turned), image = matrix(a, me.n, P, I, !a_turned);
    mix(by, image, a_turned, b + (int64)me.n * J * P, I, me);
}
