// Max-pooling: the largest pixels and where they are, and moving values to and from there.
//
//     max                 y[n, c, i, j] = the largest pixel under window (i, j); index[n, c, i, j] = h * W + w, its place
//     pick                y[n, c, i, j] = x[n, c, index[n, c, i, j]]
//     put                 x[n, c, p]    = sum of y[n, c, i, j] over the windows whose index is p
//
// N batch, C channels, H W image, K L window, I J output; the same letters in lower case count along them (v
// along W). The first of equal pixels wins, a NaN wins over numbers, and the padding never wins.
//
// Two layouts. Convolutions leave images channels last in memory, and rearranging an image costs as much as
// pooling it. So from v3 on the kernels take arrays as they lie: B planes, in each of which S channels lie
// side by side. That is B = N C, S = 1 for NCHW arrays and B = N, S = C for channels last ones, and
// element (b, p, s) is at (b * H * W + p) * S + s in either. Neighbouring threads take neighbouring
// elements in memory.
//
// Put gathers: it must find who points at a pixel. Indices may be any, so v1 asks all windows of the plane,
// H W I J questions. v3 keeps pixels in bins (4 KB of them) and walks through the windows in their order; see
// bins.cuh for how. A chunk of windows in one row reaches over the two or three rows of the image under them:
// a few bins in NCHW, and about S W / 1024 bins (512 in double) where S channels lie side by side. In both
// rungs, what is put to one place is added in the order of the windows.
//
// rung                        idea it adds                                             measured
// max v1_naive                the formula, one thread per window                       not yet
// max v3_either_layout        channels last arrays are read where they lie             not yet
// max v4_unrolled             2 x 2 and 3 x 3: all taps are read before one is used    not yet
// pick v1_naive               the formula, one thread per window                       not yet
// pick v3_either_layout       channels last arrays are read where they lie             not yet
// pick v4_four                four pixels per thread are on their way at once          not yet
// put v1_naive                the formula, one thread per pixel, asks all windows      not yet
// put v3_bins                 one warp per bin of pixels, reads the windows near it    not yet
#include "bins.cuh"
#include "minidl.cuh"
#include "windows.cuh"

// Whether a pixel beats the best so far. Not <=, so that a NaN beats any number; the first NaN stays.
__device__ inline bool wins(real pixel, real best) { return !(pixel <= best) && best == best; }

// Element t = ((b * I + i) * J + j) * S + s of the output.
struct Output { int s, j, i, b; };

__device__ inline Output output_at(int t, const Windows& windows, int S) {
    return {t % S, t / S % windows.J, t / S / windows.J % windows.I, t / S / windows.J / windows.I};
}

// ---------------------------------------------------------------------------------------------- max_pool2d

extern "C" __global__ void __launch_bounds__(256) max_pool2d_v1_naive(
    const real* __restrict__ x, real* __restrict__ y, int64* __restrict__ index, Windows windows, int N, int C) {
    const Windows& s = windows;
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= N * C * s.I * s.J) return;
    const int j = t % s.J, i = t / s.J % s.I, c = t / s.J / s.I % C, n = t / s.J / s.I / C;
    real best = 0;
    int place = -1;
    for (int k = 0; k < s.K; k++)
        for (int l = 0; l < s.L; l++) {
            const int h = i * s.stride_h + k * s.dilation_h - s.padding_h;
            const int v = j * s.stride_w + l * s.dilation_w - s.padding_w;
            if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
            const real pixel = x[((n * C + c) * s.H + h) * s.W + v];
            if (place < 0 || wins(pixel, best)) {
                best = pixel;
                place = h * s.W + v;
            }
        }
    y[t] = best, index[t] = place;
}

// Changes: S channels lie side by side, and neighbouring threads take neighbouring channels.
extern "C" __global__ void __launch_bounds__(256) max_pool2d_v3_either_layout(
    const real* __restrict__ x, real* __restrict__ y, int64* __restrict__ index, Windows windows, int B, int S) {
    const Windows& s = windows;
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= B * s.I * s.J * S) return;
    const Output o = output_at(t, s, S);
    real best = 0;
    int place = -1;
    for (int k = 0; k < s.K; k++)
        for (int l = 0; l < s.L; l++) {
            const int h = o.i * s.stride_h + k * s.dilation_h - s.padding_h;
            const int v = o.j * s.stride_w + l * s.dilation_w - s.padding_w;
            if (h < 0 || h >= s.H || v < 0 || v >= s.W) continue;
            const real pixel = x[((o.b * s.H + h) * s.W + v) * S + o.s];
            if (place < 0 || wins(pixel, best)) {
                best = pixel;
                place = h * s.W + v;
            }
        }
    y[t] = best, index[t] = place;
}

template <int K, int L>
__device__ int search(const real* x, real& best, const Windows& s, const Output& o, int S) {
    const int top = o.i * s.stride_h - s.padding_h, left = o.j * s.stride_w - s.padding_w;
    real pixels[K][L];
    bool inside[K][L];
#pragma unroll
    for (int k = 0; k < K; k++)
#pragma unroll
        for (int l = 0; l < L; l++) {
            const int h = top + k * s.dilation_h, v = left + l * s.dilation_w;
            inside[k][l] = h >= 0 && h < s.H && v >= 0 && v < s.W;
            pixels[k][l] = inside[k][l] ? x[((o.b * s.H + h) * s.W + v) * S + o.s] : real(0);
        }
    int place = -1;
    best = 0;
#pragma unroll
    for (int k = 0; k < K; k++)
#pragma unroll
        for (int l = 0; l < L; l++)
            if (inside[k][l] && (place < 0 || wins(pixels[k][l], best))) {
                best = pixels[k][l];
                place = (top + k * s.dilation_h) * s.W + left + l * s.dilation_w;
            }
    return place;
}

// Changes: the window's size is known to the compiler, so that the reads of all its taps are on their way
// before the first comparison waits for one. Windows of 2 x 2 or 3 x 3.
extern "C" __global__ void __launch_bounds__(256) max_pool2d_v4_unrolled(
    const real* __restrict__ x, real* __restrict__ y, int64* __restrict__ index, Windows windows, int B, int S) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= B * windows.I * windows.J * S) return;
    const Output o = output_at(t, windows, S);
    index[t] = windows.K == 2 ? search<2, 2>(x, y[t], windows, o, S) : search<3, 3>(x, y[t], windows, o, S);
}

// ------------------------------------------------------------------------------------------- pick_windows
//
// windows = I * J and pixels = H * W, of one channel.

extern "C" __global__ void __launch_bounds__(256) pick_windows_v1_naive(
    const real* __restrict__ x, const int64* __restrict__ index, real* __restrict__ y,
    int N, int C, int windows, int pixels) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= N * C * windows) return;
    y[t] = x[t / windows * pixels + place_of(index[t], pixels)];
}

// Changes: S channels lie side by side, and neighbouring threads take neighbouring channels.
extern "C" __global__ void __launch_bounds__(256) pick_windows_v3_either_layout(
    const real* __restrict__ x, const int64* __restrict__ index, real* __restrict__ y,
    int B, int S, int windows, int pixels) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= B * windows * S) return;
    const int s = t % S, b = t / S / windows;
    y[t] = x[(b * pixels + place_of(index[t], pixels)) * S + s];
}

// Changes: a thread picks four pixels, a block's width apart, so that four indices and then four pixels are
// on their way at once: a pixel cannot be asked for before its index has come.
extern "C" __global__ void __launch_bounds__(256) pick_windows_v4_four(
    const real* __restrict__ x, const int64* __restrict__ index, real* __restrict__ y,
    int B, int S, int windows, int pixels) {
    constexpr int EACH = 4;
    const int size = B * windows * S, first = blockIdx.x * blockDim.x * EACH + threadIdx.x;
    int place[EACH];
    real pixel[EACH];
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        const int t = first + e * blockDim.x;
        place[e] = t < size ? place_of(index[t], pixels) : 0;
    }
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        const int t = first + e * blockDim.x, s = t % S, b = t / S / windows;
        pixel[e] = t < size ? x[(b * pixels + place[e]) * S + s] : real(0);
    }
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        const int t = first + e * blockDim.x;
        if (t < size) y[t] = pixel[e];
    }
}

// -------------------------------------------------------------------------------------------- put_windows

extern "C" __global__ void __launch_bounds__(256) put_windows_v1_naive(
    const real* __restrict__ y, const int64* __restrict__ index, real* __restrict__ x,
    int N, int C, int windows, int pixels) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= N * C * pixels) return;
    const int pixel = t % pixels, first = t / pixels * windows;
    real sum = 0;
    for (int w = first; w < first + windows; w++)
        if (place_of(index[w], pixels) == pixel) sum += y[w];
    x[t] = sum;
}

// With S channels side by side, window w of channel s is entry w * S + s of its plane, and leads to place
// index * S + s: a plane is one list of windows * S entries and pixels * S places, in either layout.
struct Places {
    const int64* index;  // of one plane
    int S, pixels;
    __device__ int operator()(int entry) const {
        return place_of(index[entry], pixels) * S + entry % S;
    }
};

// The first half of v3: the lowest and the highest place in each chunk, one warp a chunk.
extern "C" __global__ void __launch_bounds__(256) put_windows_ranges(
    const int64* __restrict__ index, int* __restrict__ lowest, int* __restrict__ highest,
    int B, int S, int windows, int pixels) {
    const int entries = windows * S, chunks = ceil_div(entries, CHUNK);
    const int warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
    if (warp >= B * chunks) return;
    const Places places = {index + warp / chunks * entries, S, pixels};
    find_range(warp % chunks, entries, places, lowest + warp, highest + warp);
}

// Changes: a warp owns a bin of pixels, and reads only the windows that may lead there.
extern "C" __global__ void __launch_bounds__(256) put_windows_v3_bins(
    const real* __restrict__ y, const int64* __restrict__ index, const int* __restrict__ lowest,
    const int* __restrict__ highest, real* __restrict__ x, int B, int S, int windows, int pixels) {
    constexpr int BIN = 4096 / sizeof(real), WARPS = 8;
    __shared__ real memory[WARPS][BIN];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, bin = blockIdx.x * WARPS + warp;
    const int entries = windows * S, places = pixels * S, bins = ceil_div(places, BIN);
    if (bin >= B * bins) return;
    const int b = bin / bins, first = bin % bins * BIN, chunks = ceil_div(entries, CHUNK);
    real* sums = memory[warp];
    const real* values = y + b * entries;
    for (int p = lane; p < BIN; p += 32) sums[p] = 0;
    __syncwarp();
    fill_bin<BIN, 4>(
        first, entries, lowest + b * chunks, highest + b * chunks, Places{index + b * entries, S, pixels},
        [&](int entry) { return values[entry]; }, [&](int place, real value) { sums[place] += value; });
    for (int p = lane; p < min(BIN, places - first); p += 32) x[b * places + first + p] = sums[p];
}
