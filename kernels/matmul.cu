// Matrix products: three corners of one trilinear form.
//
//     T(x, w, y) = sum  x[n, a, b] * w[n, b, c] * y[n, a, c]
//
//     corner y   y[n, a, c] = sum over b   of x * w     the product y = x w
//     corner x   x[n, a, b] = sum over c   of w * y     the gradient of x, y w'
//     corner w   w[n, b, c] = sum over a   of x * y     the gradient of w, x' y
//
// N matrices, each A x B times B x C; the same letters in lower case count along them. Rung 2 is in matmul_packs.cu. On
// a GPU neither is used unless it is asked for: cuBLAS, by CuPy's @, is better than both. gram.cu goes on from here.
//
// rung                     idea it adds                                            measured
// v1_naive                 the formula, one thread per result                      not yet
#include "minidl.cuh"

extern "C" __global__ void __launch_bounds__(256) matmul_y_v1_naive(
    const real* __restrict__ x, const real* __restrict__ w, real* __restrict__ y, int N, int A, int B, int C) {
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= N * A * C) return;
    const int c = index % C, a = index / C % A, n = index / C / A;
    real sum = 0;
    for (int b = 0; b < B; b++) sum += x[(n * A + a) * B + b] * w[(n * B + b) * C + c];
    y[index] = sum;
}

extern "C" __global__ void __launch_bounds__(256) matmul_x_v1_naive(
    const real* __restrict__ w, const real* __restrict__ y, real* __restrict__ x, int N, int A, int B, int C) {
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= N * A * B) return;
    const int b = index % B, a = index / B % A, n = index / B / A;
    real sum = 0;
    for (int c = 0; c < C; c++) sum += y[(n * A + a) * C + c] * w[(n * B + b) * C + c];
    x[index] = sum;
}

extern "C" __global__ void __launch_bounds__(256) matmul_w_v1_naive(
    const real* __restrict__ x, const real* __restrict__ y, real* __restrict__ w, int N, int A, int B, int C) {
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= N * B * C) return;
    const int c = index % C, b = index / C % B, n = index / C / B;
    real sum = 0;
    for (int a = 0; a < A; a++) sum += x[(n * A + a) * B + b] * y[(n * A + a) * C + c];
    w[index] = sum;
}
