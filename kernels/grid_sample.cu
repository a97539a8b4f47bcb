// Sampling images at taps that come as arrays: three corners of one trilinear form.
//
//     T(image, weight, y) = sum  image[n, c, q] * weight[n, p, t] * y[n, c, p]   where q = index[n, p, t]
//
//     corner y        y[n, c, p]      = sum over t        of image * weight     the sampled values
//     corner image    image[n, c, q]  = sum over p, t     of weight * y         what each pixel gave
//                                       with index[n, p, t] = q
//     corner weight   weight[n, p, t] = sum over c        of image * y          what each tap met
//
// N batch, C channels, P points, T taps of each; Q pixels, of which index counts all rows as one; the same
// letters in lower case count along them.
//
// Index and weight are the same in all channels, so in v3 a thread takes four channels (or, in corner weight,
// four taps) at once. Arrays stay NCHW: neighbouring points mostly read neighbouring pixels, and these lie in
// one row of one channel. Channels last would suit points that lie anywhere: see grid_sample_packs.cu.
//
// Corner image gathers: it must find which taps lie on a pixel, and index may be any. v1 asks all P T taps
// for each of N C Q pixels. v3 keeps pixels in bins and walks through the taps in their order, neighbours
// being taps of one point; see bins.cuh for how. It reads the index of each tap C / 4 times for each bin that
// the range of its chunk meets, and bins are 256 pixels (128 in double). 32 points of 4 taps are a chunk: along
// a row of the image, W pixels long, they reach over 1 row, so W / 256 + 1 bins or so; along a column over 32
// rows; in random order over all Q pixels. Taps of weight 0 are left out: those outside of the image are given
// as weight 0 at pixel 0, which would stretch the ranges, and 0 * inf would be NaN there.
//
// rung                  idea it adds                                                 measured
// y v1_naive            the formula, one thread per output                           not yet
// y v3_four_channels    index and weight are read once for four channels             not yet
// image v1_naive        the formula, one thread per pixel, asks all taps             not yet
// image v3_bins         one warp per bin of pixels, reads the taps near it           not yet
// weight v1_naive       the formula, one thread per output                           not yet
// weight v3_four_taps   y is read once for four taps                                 not yet
#include "bins.cuh"
#include "minidl.cuh"

constexpr int EACH = 4;  // channels or taps per thread

// ------------------------------------------------------------------------------------------ grid_sample_y

extern "C" __global__ void __launch_bounds__(256) grid_sample_y_v1_naive(
    const real* __restrict__ image, const real* __restrict__ weight, const int64* __restrict__ index,
    real* __restrict__ y, int N, int C, int P, int T, int Q) {
    const int o = blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= N * C * P) return;
    const int p = o % P, c = o / P % C, n = o / P / C;
    real sum = 0;
    for (int t = 0; t < T; t++) {
        const int tap = (n * P + p) * T + t;
        sum += weight[tap] * image[(n * C + c) * Q + place_of(index[tap], Q)];
    }
    y[o] = sum;
}

// Changes: a thread computes four channels of a point.
extern "C" __global__ void __launch_bounds__(256) grid_sample_y_v3_four_channels(
    const real* __restrict__ image, const real* __restrict__ weight, const int64* __restrict__ index,
    real* __restrict__ y, int N, int C, int P, int T, int Q) {
    const int o = blockIdx.x * blockDim.x + threadIdx.x, groups = ceil_div(C, EACH);
    if (o >= N * groups * P) return;
    const int p = o % P, first = o / P % groups * EACH, n = o / P / groups;
    real sum[EACH] = {};
    for (int t = 0; t < T; t++) {
        const int tap = (n * P + p) * T + t;
        const int place = place_of(index[tap], Q);
        const real w = weight[tap];
#pragma unroll
        for (int c = 0; c < EACH; c++)
            if (first + c < C) sum[c] += w * image[(n * C + first + c) * Q + place];
    }
#pragma unroll
    for (int c = 0; c < EACH; c++)
        if (first + c < C) y[(n * C + first + c) * P + p] = sum[c];
}

// -------------------------------------------------------------------------------------- grid_sample_image

extern "C" __global__ void __launch_bounds__(256) grid_sample_image_v1_naive(
    const real* __restrict__ weight, const real* __restrict__ y, const int64* __restrict__ index,
    real* __restrict__ image, int N, int C, int P, int T, int Q) {
    const int o = blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= N * C * Q) return;
    const int q = o % Q, c = o / Q % C, n = o / Q / C;
    real sum = 0;
    for (int p = 0; p < P; p++)
        for (int t = 0; t < T; t++) {
            const int tap = (n * P + p) * T + t;
            if (weight[tap] != 0 && place_of(index[tap], Q) == q)
                sum += weight[tap] * y[(n * C + c) * P + p];
        }
    image[o] = sum;
}

struct Places {
    const real* weight;  // of one image
    const int64* index;
    int Q;
    __device__ int operator()(int tap) const { return weight[tap] != 0 ? place_of(index[tap], Q) : -1; }
};

// The first half of v3: the lowest and the highest place in each chunk of an image's taps, one warp a chunk.
extern "C" __global__ void __launch_bounds__(256) grid_sample_image_ranges(
    const real* __restrict__ weight, const int64* __restrict__ index, int* __restrict__ lowest,
    int* __restrict__ highest, int N, int P, int T, int Q) {
    const int entries = P * T, chunks = ceil_div(entries, CHUNK);
    const int warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
    if (warp >= N * chunks) return;
    const int first = warp / chunks * entries;
    find_range(warp % chunks, entries, Places{weight + first, index + first, Q}, lowest + warp, highest + warp);
}

struct Channels { real v[EACH]; };

// Changes: a warp owns a bin of pixels, in four channels, and reads only the taps that may lie there.
extern "C" __global__ void __launch_bounds__(256, 4) grid_sample_image_v3_bins(
    const real* __restrict__ weight, const real* __restrict__ y, const int64* __restrict__ index,
    const int* __restrict__ lowest, const int* __restrict__ highest, real* __restrict__ image,
    int N, int C, int P, int T, int Q) {
    constexpr int BIN = 4096 / sizeof(real) / EACH, WARPS = 8;
    constexpr int AHEAD = 8 / sizeof(real);  // more would not fit into registers
    __shared__ real memory[WARPS][EACH * BIN];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, bin = blockIdx.x * WARPS + warp;
    const int entries = P * T, chunks = ceil_div(entries, CHUNK);
    const int bins = ceil_div(Q, BIN), groups = ceil_div(C, EACH);
    if (bin >= N * groups * bins) return;
    const int first = bin % bins * BIN, first_c = bin / bins % groups * EACH, n = bin / bins / groups;
    real* sums = memory[warp];
    for (int p = lane; p < EACH * BIN; p += 32) sums[p] = 0;
    __syncwarp();
    fill_bin<BIN, AHEAD>(
        first, entries, lowest + n * chunks, highest + n * chunks,
        Places{weight + n * entries, index + n * entries, Q},
        [&](int tap) {
            const real w = weight[n * entries + tap];
            Channels values = {};
#pragma unroll
            for (int c = 0; c < EACH; c++)
                if (first_c + c < C) values.v[c] = w * y[(n * C + first_c + c) * P + tap / T];
            return values;
        },
        [&](int place, const Channels& values) {
#pragma unroll
            for (int c = 0; c < EACH; c++) sums[c * BIN + place] += values.v[c];
        });
    for (int c = 0; c < min(EACH, C - first_c); c++)
        for (int p = lane; p < min(BIN, Q - first); p += 32)
            image[(n * C + first_c + c) * Q + first + p] = sums[c * BIN + p];
}

// ------------------------------------------------------------------------------------- grid_sample_weight

extern "C" __global__ void __launch_bounds__(256) grid_sample_weight_v1_naive(
    const real* __restrict__ image, const real* __restrict__ y, const int64* __restrict__ index,
    real* __restrict__ weight, int N, int C, int P, int T, int Q) {
    const int tap = blockIdx.x * blockDim.x + threadIdx.x;
    if (tap >= N * P * T) return;
    const int p = tap / T % P, n = tap / T / P, place = place_of(index[tap], Q);
    real sum = 0;
    for (int c = 0; c < C; c++) sum += image[(n * C + c) * Q + place] * y[(n * C + c) * P + p];
    weight[tap] = sum;
}

// Changes: a thread computes four taps of a point.
extern "C" __global__ void __launch_bounds__(256) grid_sample_weight_v3_four_taps(
    const real* __restrict__ image, const real* __restrict__ y, const int64* __restrict__ index,
    real* __restrict__ weight, int N, int C, int P, int T, int Q) {
    const int o = blockIdx.x * blockDim.x + threadIdx.x, groups = ceil_div(T, EACH);
    if (o >= N * groups * P) return;
    const int p = o % P, first = o / P % groups * EACH, n = o / P / groups;
    const int tap = (n * P + p) * T + first, taps = min(EACH, T - first);
    int place[EACH];
    real sum[EACH] = {};
#pragma unroll
    for (int t = 0; t < EACH; t++) place[t] = t < taps ? place_of(index[tap + t], Q) : 0;
    for (int c = 0; c < C; c++) {
        const real value = y[(n * C + c) * P + p];
        const real* pixels = image + (n * C + c) * Q;
#pragma unroll
        for (int t = 0; t < EACH; t++)
            if (t < taps) sum[t] += pixels[place[t]] * value;
    }
#pragma unroll
    for (int t = 0; t < EACH; t++)
        if (t < taps) weight[tap + t] = sum[t];
}
