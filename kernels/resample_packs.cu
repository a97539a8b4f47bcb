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

// The taps of one pixel along an axis, of which there are COUNT, or any number (0).
template <int COUNT>
struct Taps {
    const int* index;
    const real* weight;
    int counted;

    __device__ __forceinline__ Taps(const Table& table, int i)
        : index(table.index + table.starts[i]), weight(table.weight + table.starts[i]),
          counted(table.starts[i + 1] - table.starts[i]) {}
    __device__ __forceinline__ int count() const { return COUNT ? COUNT : counted; }
};

// Mixes a pack of a pixel's channels; `row` numbers are a row of the image.
template <int DOWN, int ACROSS>
__device__ __forceinline__ Lanes mix(const Taps<DOWN>& down, const Taps<ACROSS>& across, const real* image, int row,
                                     int S, const Part& part, const real* end) {
    Lanes sum = all_lanes(0);
    UNROLLED for (int t = 0; t < down.count(); t++) {
        const real* from = image + down.index[t] * row;
        Lanes mixed = all_lanes(0);
        UNROLLED for (int s = 0; s < across.count(); s++)
            multiply_add(mixed, across.weight[s], load_part(from + across.index[s] * S, part, end));
        multiply_add(sum, down.weight[t], mixed);
    }
    return sum;
}

// Pixels j to `last` - 1 of a row, where pixels are single numbers.
__device__ __forceinline__ void mix_row(const Taps<0>& down, const Table& across, const real* image, int W, real* to,
                                        int first, int last) {
    for (int j = first; j < last; j++) to[j] = 0;
    for (int t = 0; t < down.count(); t++) {
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
    const Taps<0> down(table_down, i);
    const bool one_row = shares == 1 && down.counted == 1 && down.weight[0] == 1;
    const int shortest = S == 1 ? LANES : 1;  // run that is worth the trouble
    for (int j = 0, next; j < J; j = next) {
        const Taps<0> across(table_across, j);
        if (one_row && runs_across[j] >= shortest) {
            next = j + runs_across[j];
            const real* from = image + (down.index[0] * W + across.index[0]) * S;
            copy(to + j * S, from, (next - j) * S, to_end, end);
        } else if (S == 1) {
            for (next = j + 1; next < J && !(one_row && runs_across[next] >= shortest);) next++;
            mix_row(down, table_across, image, W, to, j, next);
        } else {
            next = j + 1;
            for (int c = share.first; c < share.last; c += LANES) {
                const Part part(S, c);
                const Lanes mixed =
                    down.counted == 2 && across.counted == 2
                        ? mix(Taps<2>(table_down, i), Taps<2>(table_across, j), image + c, W * S, S, part, end)
                        : mix(down, across, image + c, W * S, S, part, end);
                store_part(to + j * S + c, mixed, part, shares == 1 ? to_end : to);
            }
        }
    }
}
