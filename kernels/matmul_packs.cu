// Products of matrices by packs of columns: the rung above the formula, and the CPU's own (matmul.cu has the letters).
//
// The three corners are one product each of two matrices as they are stored (include/product.cuh):
//
//     corner y   rows a   columns c   sum over b   left x    right w
//     corner x   rows a   columns b   sum over c   left y    right w'
//     corner w   rows b   columns c   sum over a   left x'   right y
//
// `x_turned`: x lies in memory as (N, B, A), its transpose; likewise the others.
//
// rung                     idea it adds                                            measured
// v2_packs                 some rows times some packs of columns per thread        not yet
#include "product.cuh"

// Changes: a thread computes some rows times some packs of columns, from registers.
extern "C" __global__ void __launch_bounds__(256, 1) matmul_y_v2_packs(
    const real* __restrict__ x, const real* __restrict__ w, real* __restrict__ y,
    int N, int A, int B, int C, int x_turned, int w_turned, int rows, int packs) {
    const Share me(blockIdx.x * blockDim.x + threadIdx.x, A, C, rows, packs);
    if (me.n >= N) return;
    const Matrix left = matrix(x, me.n, A, B, x_turned), right = matrix(w, me.n, C, B, !w_turned);
    multiply({left, right, y + (int64)me.n * A * C, B}, me);
}

// Changes: a thread computes some rows times some packs of columns, from registers.
extern "C" __global__ void __launch_bounds__(256, 1) matmul_x_v2_packs(
    const real* __restrict__ w, const real* __restrict__ y, real* __restrict__ x,
    int N, int A, int B, int C, int w_turned, int y_turned, int rows, int packs) {
    const Share me(blockIdx.x * blockDim.x + threadIdx.x, A, B, rows, packs);
    if (me.n >= N) return;
    const Matrix left = matrix(y, me.n, A, C, y_turned), right = matrix(w, me.n, B, C, w_turned);
    multiply({left, right, x + (int64)me.n * A * B, C}, me);
}

// Changes: a thread computes some rows times some packs of columns, from registers.
extern "C" __global__ void __launch_bounds__(256, 1) matmul_w_v2_packs(
    const real* __restrict__ x, const real* __restrict__ y, real* __restrict__ w,
    int N, int A, int B, int C, int x_turned, int y_turned, int rows, int packs) {
    const Share me(blockIdx.x * blockDim.x + threadIdx.x, B, C, rows, packs);
    if (me.n >= N) return;
    const Matrix left = matrix(x, me.n, B, A, !x_turned), right = matrix(y, me.n, C, A, !y_turned);
    multiply({left, right, w + (int64)me.n * B * C, A}, me);
}
