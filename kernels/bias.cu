// The bias of a convolution: one number per channel, added to all pixels; and back, the sum over the pixels.
//
//     add_bias         biased[i] = y[i] + bias[i / inner % C]       i: of S numbers, (N, C, inner) or (N, C)
//     channel_sums     sums[c] = sum over n, p of  y[n, c, p]       in memory (N, C, inner), inner = 1: channels last
//
// biased may be y itself.
//
// Channels last, the bias takes turns along memory. Packs need not know where a pixel ends: `line` is as many copies
// of the C channels as make whole packs, and memory is seen as rows of a line, the last of which may be cut off.
//
// rung          idea it adds                                                    measured
// v1_naive      one thread per number, or per sum                               not yet
// v2_packs      a thread takes packs of some rows                               not yet
#include "each.cuh"

constexpr int WIDEST = 1 + (VECTOR / 32 + 1) / 2 * 3;  // packs of columns: four natively, one on a GPU
constexpr int LONGEST = 64;                            // rows of a sum, before it is added to the whole

extern "C" __global__ void __launch_bounds__(256) add_bias_v1_naive(
    const real* y, const real* __restrict__ bias, real* biased, int inner, int C, int S) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < S) biased[i] = y[i] + bias[i / inner % C];
}

// Adds some packs of the line to their columns of the rows `first` to `last` - 1.
template <int PACKS>
__device__ __forceinline__ void add_to_rows(const real* y, const real* bias, real* biased, int line, int first,
                                            int last) {
    const Numbers<PACKS * LANES> all = load_numbers<PACKS * LANES>(bias);
    for (int r = first; r < last; r++)
        UNROLLED for (int i = 0; i < PACKS; i++) {
            const int at = r * line + i * LANES;
            store_lanes(biased + at, add(load_lanes(y + at), all.lanes[i]));
        }
}

// Changes: a thread takes some packs of `height` rows, with the bias in registers. bias: (line)
extern "C" __global__ void __launch_bounds__(256, 4) add_bias_v2_packs(
    const real* y, const real* __restrict__ bias, real* biased, int line, int S, int height) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x, strips = ceil_div(line, WIDEST * LANES);
    const int left = t % strips * WIDEST * LANES, right = min(line, left + WIDEST * LANES);
    const int first = t / strips * height, last = min(S / line, first + height);
    if (right - left == WIDEST * LANES) add_to_rows<WIDEST>(y + left, bias + left, biased + left, line, first, last);
    else
        for (int j = left; j < right; j += LANES) add_to_rows<1>(y + j, bias + j, biased + j, line, first, last);
    const int cut = S / line;  // the row that is cut off, number by number
    if (first <= cut && cut < first + height)
        for (int j = left; j < right && cut * line + j < S; j++) biased[cut * line + j] = y[cut * line + j] + bias[j];
}

extern "C" __global__ void __launch_bounds__(256) channel_sums_v1_naive(
    const real* __restrict__ y, real* __restrict__ sums, int inner, int C, int S) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= C) return;
    real sum = 0;
    for (int image = c * inner; image < S; image += C * inner)
        for (int i = image; i < image + inner; i++) sum += y[i];
    sums[c] = sum;
}

// The sums of some packs of columns over the rows `first` to `last` - 1; a column has a row less where the last is cut.
template <int PACKS>
COMPILED_ONCE void sum_rows(const real* y, real* to, int line, int S, int first, int last, int column) {
    constexpr int P = PACKS * LANES;
    const int whole = min(last, S / line);
    Numbers<P> all = numbers<P>(0);
    for (int r = first; r < whole;) {
        const int end = min(r + LONGEST, whole);
        Numbers<P> sum = numbers<P>(0);
        for (; r < end; r++) add_to(sum, load_numbers<P>(y + r * line + column));
        add_to(all, sum);
    }
    store_numbers(to, all);
    if (whole < last)
        for (int e = 0; e < P && whole * line + column + e < S; e++) to[e] += y[whole * line + column + e];
}

// Changes: several threads share a sum, `length` rows each. partial: (parts, line), added up by the launcher.
extern "C" __global__ void __launch_bounds__(256, 4) channel_sums_v2_packs(
    const real* __restrict__ y, real* __restrict__ partial, int line, int S, int length) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x, strips = ceil_div(line, WIDEST * LANES);
    const int first = t / strips * length, rows = ceil_div(S, line);
    if (first >= rows) return;
    const int last = min(rows, first + length), left = t % strips * WIDEST * LANES;
    real* to = partial + t / strips * line;
    if (left + WIDEST * LANES <= line) return sum_rows<WIDEST>(y, to + left, line, S, first, last, left);
    for (int j = left; j < line; j += LANES) sum_rows<1>(y, to + j, line, S, first, last, j);
}
