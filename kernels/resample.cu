// Resizing by taps: rows are mixed by one table, columns by the other.
//
//     y[n, c, i, j] = sum over t of  weight_across[j, t] * mixed[n, c, i, index_across[j, t]]
//     mixed[n, c, i, v] = sum over t of  weight_down[i, t] * x[n, c, index_down[i, t], v]
//
// N batch, C channels, H W image, I J output, T taps of an output pixel along one axis (T_down, T_across);
// the same letters in lower case count along them (v along W). Nearest, bilinear and bicubic interpolation,
// antialiased or not, average pooling, and the adjoints of all of them differ in the tables alone
// (minidl/compute/taps.py), and all are gathers.
//
// A table lies as (T, I) in memory, so that neighbouring threads read neighbouring numbers. Rows with fewer
// taps are filled up with weight 0. Such taps are skipped, not multiplied: 0 * NaN would be NaN.
//
// Per output v1 multiplies T_down T_across + T_across times; v3 and v4 T_across times, and T_down times for
// each number of `mixed`, of which there are W / J per output. For bicubic enlargement to twice the size that
// is 4 + 2 instead of 20, for bilinear 2 + 1 instead of 6. v3 writes `mixed` to memory and reads it again, v4
// does not, and mixes only the columns at the edges of its tiles twice. With one tap along an axis v1 has
// nothing to save.
//
// Two layouts: v3 takes NCHW arrays and channels last ones as they lie. v1 and v4 take NCHW arrays.
//
// rung               idea it adds                                                      measured
// v1_naive           the formula, one thread per output                                not yet
// v3_two_passes      rows first, then columns                                          not yet
// v4_shared_rows     the mixed rows of a tile of outputs stay in shared memory         not yet
#include "minidl.cuh"

extern "C" __global__ void __launch_bounds__(256) resample_v1_naive(
    const real* __restrict__ x, const int* __restrict__ index_down, const real* __restrict__ weight_down,
    const int* __restrict__ index_across, const real* __restrict__ weight_across, real* __restrict__ y,
    int N, int C, int H, int W, int I, int J, int T_down, int T_across) {
    const int o = blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= N * C * I * J) return;
    const int j = o % J, i = o / J % I, plane = o / J / I;
    real sum = 0;
    for (int s = 0; s < T_across; s++) {
        const real across = weight_across[s * J + j];
        if (across == 0) continue;
        real mixed = 0;
        for (int t = 0; t < T_down; t++) {
            const real down = weight_down[t * I + i];
            if (down == 0) continue;
            mixed += down * x[(plane * H + index_down[t * I + i]) * W + index_across[s * J + j]];
        }
        sum += across * mixed;
    }
    y[o] = sum;
}

// Changes: one axis at a time, by a table of T taps. x: (B, H, S), y: (B, I, S). Where rows of an NCHW array
// are mixed, B = N C and S = W; where columns are, B = N C I, S = 1, and H and I stand for W and J. Of a
// channels last array, B = N and S = W C, then B = N I and S = C.
extern "C" __global__ void __launch_bounds__(256) resample_v3_two_passes(
    const real* __restrict__ x, const int* __restrict__ index, const real* __restrict__ weight,
    real* __restrict__ y, int B, int H, int I, int S, int T) {
    const int o = blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= B * I * S) return;
    const int s = o % S, i = o / S % I, b = o / S / I;
    real sum = 0;
    for (int t = 0; t < T; t++) {
        const real w = weight[t * I + i];
        if (w != 0) sum += w * x[(b * H + index[t * I + i]) * S + s];
    }
    y[o] = sum;
}

constexpr int ROWS = 16, COLUMNS = 32;  // of a block's tile of outputs

// Changes: a block mixes the rows that its tile of outputs needs, keeps them in shared memory, and mixes
// their columns from there. The tile's taps lie on columns lowest[tile] to lowest[tile] + span - 1.
// A warp takes row after row, a lane one column: when an image is shrunk to 1 / f, lanes read f apart, which
// meets a bank up to f times.
extern "C" __global__ void __launch_bounds__(256) resample_v4_shared_rows(
    const real* __restrict__ x, const int* __restrict__ index_down, const real* __restrict__ weight_down,
    const int* __restrict__ index_across, const real* __restrict__ weight_across,
    const int* __restrict__ lowest, real* __restrict__ y,
    int N, int C, int H, int W, int I, int J, int T_down, int T_across, int span) {
    extern __shared__ real mixed[];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int tiles_across = ceil_div(J, COLUMNS), tiles_down = ceil_div(I, ROWS);
    const int tile = blockIdx.x % tiles_across, first_i = blockIdx.x / tiles_across % tiles_down * ROWS;
    const int plane = blockIdx.x / tiles_across / tiles_down, first_v = lowest[tile];
    const int rows = min(ROWS, I - first_i), columns = min(span, W - first_v);

    for (int row = warp; row < rows; row += warps)
        for (int column = lane; column < columns; column += 32) {
            real sum = 0;
            for (int t = 0; t < T_down; t++) {
                const int tap = t * I + first_i + row;
                const real w = weight_down[tap];
                if (w != 0) sum += w * x[(plane * H + index_down[tap]) * W + first_v + column];
            }
            mixed[row * span + column] = sum;
        }
    __syncthreads();

    const int j = tile * COLUMNS + lane;
    if (j >= J) return;
    for (int row = warp; row < rows; row += warps) {
        real sum = 0;
        for (int t = 0; t < T_across; t++) {
            const real w = weight_across[t * J + j];
            if (w != 0) sum += w * mixed[row * span + index_across[t * J + j] - first_v];
        }
        y[(plane * I + first_i + row) * J + j] = sum;
    }
}
