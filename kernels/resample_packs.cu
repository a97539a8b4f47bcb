// Resizing by packs: the rung between the formula and one axis at a time, and the CPU's own.
//
// The function of resample.cu, in its letters, with the sum along a row inside of the other, as numbers lie in memory:
//
//     y[i, j] = sum over t of  weight_down[t] * sum over s of  weight_across[s] * x[index_down[t], index_across[s]]
//
// An image is B planes of H W pixels, in each of which S channels lie side by side (B = N, S = C channels last,
// B = N C, S = 1 in NCHW). A thread takes packs of these channels along a row of the result: rows and columns of the
// taps are found once for all of them, and nothing but y is written.
//
// A table holds the taps of pixel i from starts[i] to starts[i + 1] - 1, without those of weight 0. Where pixels of
// one row are copied (nearest, padding), runs[j] counts the pixels from j on that are copies of pixels side by side:
// these are moved at once.
//
// rung               idea it adds                                                             measured
// v2_packs           a thread takes packs of channels along a row                             not yet
#include "parts.cuh"

struct Table {
    const int *starts, *index;
    const real* weight;
};

// The taps of one pixel along an axis.
struct Taps {
    const int* index;
    const real* weight;
    int count;

    __device__ __forceinline__ Taps(const Table& table, int i)
        : index(table.index + table.starts[i]), weight(table.weight + table.starts[i]),
          count(table.starts[i + 1] - table.starts[i]) {}
};

// Mixes some packs of a pixel's channels; `row` numbers are a row of the image.
template <class Packs>
__device__ __forceinline__ void mix(Packs packs, const Taps& down, const Taps& across, const real* image, int row,
                                    int S, const Part& part, const real* end, real* to, const real* to_end) {
    Lanes sum[Packs::packs];
    UNROLLED for (int i = 0; i < Packs::packs; i++) sum[i] = all_lanes(0);
    for (int t = 0; t < down.count; t++) {
        const real* from = image + down.index[t] * row;
        Lanes mixed[Packs::packs];
        UNROLLED for (int i = 0; i < Packs::packs; i++) mixed[i] = all_lanes(0);
        for (int s = 0; s < across.count; s++)
            UNROLLED for (int i = 0; i < Packs::packs; i++)
                multiply_add(mixed[i], across.weight[s],
                             packs.get(from + across.index[s] * S + i * LANES, part, end));
        UNROLLED for (int i = 0; i < Packs::packs; i++) multiply_add(sum[i], down.weight[t], mixed[i]);
    }
    UNROLLED for (int i = 0; i < Packs::packs; i++) packs.put(to + i * LANES, sum[i], part, to_end);
}

// Pixels j to `last` - 1 of a row, where pixels are single numbers.
__device__ __forceinline__ void mix_row(const Taps& down, const Table& across, const real* image, int W, real* to,
                                        int first, int last) {
    for (int j = first; j < last; j++) to[j] = 0;
    for (int t = 0; t < down.count; t++) {
        const real* from = image + down.index[t] * W;
        int s = across.starts[first];
        for (int j = first; j < last; j++) {
            real mixed = 0;
            for (const int end = across.starts[j + 1]; s < end; s++)
                mixed += across.weight[s] * from[across.index[s]];
            to[j] += down.weight[t] * mixed;
        }
    }
}

// Changes: a thread walks along a row of the result, with packs of channels, or copies runs of pixels.
extern "C" __global__ void __launch_bounds__(256, 4) resample_v2_packs(
    const real* __restrict__ x, const int* __restrict__ starts_down, const int* __restrict__ index_down,
    const real* __restrict__ weight_down, const int* __restrict__ starts_across,
    const int* __restrict__ index_across, const real* __restrict__ weight_across,
    const int* __restrict__ runs_across, real* __restrict__ y,
    int B, int H, int W, int I, int J, int S, int many) {
    const int shares = ceil_div(S, many * LANES), thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= B * I * shares) return;
    const Share share(thread % shares, S, many);
    const int i = thread / shares % I, b = thread / shares / I;
    const Table table_down = {starts_down, index_down, weight_down};
    const Table table_across = {starts_across, index_across, weight_across};
    const real *image = x + b * H * W * S, *end = x + B * H * W * S;
    real *to = y + (b * I + i) * J * S, *to_end = to + J * S;
    const Taps down(table_down, i);
    const bool one_row = shares == 1 && down.count == 1 && down.weight[0] == 1;
    const int shortest = S == 1 ? LANES : 1;  // run that is worth the trouble
    for (int j = 0, next; j < J; j = next) {
        const Taps across(table_across, j);
        if (one_row && runs_across[j] >= shortest) {
            next = j + runs_across[j];
            const real* from = image + (down.index[0] * W + across.index[0]) * S;
            copy(to + j * S, from, (next - j) * S, to_end, end);
        } else if (S == 1) {
            for (next = j + 1; next < J && !(one_row && runs_across[next] >= shortest);) next++;
            mix_row(down, table_across, image, W, to, j, next);
        } else {
            next = j + 1;
            each_width(share.first, share.last, S, [&](auto packs, int c) {
                mix(packs, down, across, image + c, W * S, S, Part(S, c), end, to + j * S + c,
                    shares == 1 ? to_end : to);
            });
        }
    }
}
