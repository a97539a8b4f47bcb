// Sampling by packs: the rung between the formula and four numbers a thread, and the CPU's own.
//
// The three corners of grid_sample.cu, in its letters, on images that lie channels last: (N, Q, C) and (N, P, C).
// All channels of a point have the same taps, so a thread finds a tap once for packs of channels, which lie
// together. Threads never meet:
//
//     y        a thread takes `each` points, one after the other
//     image    a thread owns channels of an image: it fills them with zeros, then adds what each tap gives, in the
//              order of points and taps. Taps of weight 0 are left out, as in grid_sample.cu
//     weight   a thread takes `each` points; the sum over channels is kept in LANES parts, added in the end
//
// rung                idea it adds                                                       measured
// y v2_packs          a thread takes packs of channels of several points                 not yet
// image v2_packs      a thread owns packs of channels, and adds to them in order         not yet
// weight v2_packs     sums lie along packs of channels                                   not yet
#include "parts.cuh"
#include "places.cuh"

// Changes: a thread samples packs of channels of several points.
extern "C" __global__ void __launch_bounds__(256, 4) grid_sample_y_v2_packs(
    const real* __restrict__ image, const real* __restrict__ weight, const int64* __restrict__ index,
    real* __restrict__ y, int N, int C, int P, int T, int Q, int many, int each) {
    const int shares = ceil_div(C, many * LANES), walks = ceil_div(P, each);
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= N * walks * shares) return;
    const Share share(thread % shares, C, many);
    const int first = thread / shares % walks * each, n = thread / shares / walks, last = min(P, first + each);
    const real *pixels = image + n * Q * C, *end = image + N * Q * C;
    for (int p = first; p < last; p++) {
        const int tap = (n * P + p) * T;
        real* to = y + (n * P + p) * C;
        for (int c = share.first; c < share.last; c += LANES) {
            const Part part(C, c);
            Lanes sum = all_lanes(0);
            for (int t = tap; t < tap + T; t++)
                multiply_add(sum, weight[t], load_part(pixels + place_of(index[t], Q) * C + c, part, end));
            store_part(to + c, sum, part, shares == 1 ? to + (last - p) * C : to);
        }
    }
}

// Changes: a thread owns channels and not a pixel, so that nobody asks all taps.
extern "C" __global__ void __launch_bounds__(256, 4) grid_sample_image_v2_packs(
    const real* __restrict__ weight, const real* __restrict__ y, const int64* __restrict__ index,
    real* __restrict__ image, int N, int C, int P, int T, int Q, int many) {
    const int shares = ceil_div(C, many * LANES), thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= N * shares) return;
    const Share share(thread % shares, C, many);
    const int n = thread / shares;
    real* pixels = image + n * Q * C;
    for (int q = 0; q < Q * C; q += C)
        for (int c = share.first; c < share.last; c++) pixels[q + c] = 0;
    for (int p = n * P; p < (n + 1) * P; p++)
        for (int t = p * T; t < (p + 1) * T; t++) {
            if (weight[t] == 0) continue;
            real* to = pixels + place_of(index[t], Q) * C;
            for (int c = share.first; c < share.last; c++) to[c] += weight[t] * y[p * C + c];
        }
}

// Changes: packs lie along the sum.
extern "C" __global__ void __launch_bounds__(256, 4) grid_sample_weight_v2_packs(
    const real* __restrict__ image, const real* __restrict__ y, const int64* __restrict__ index,
    real* __restrict__ weight, int N, int C, int P, int T, int Q, int each) {
    const int walks = ceil_div(P, each), thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= N * walks) return;
    const int first = thread % walks * each, n = thread / walks;
    for (int p = n * P + first; p < n * P + min(P, first + each); p++)
        for (int t = p * T; t < (p + 1) * T; t++) {
            const real *pixel = image + (n * Q + place_of(index[t], Q)) * C, *value = y + p * C;
            Lanes sums = all_lanes(0);
            real rest = 0;
            for (int c = 0; c < C; c += LANES) {
                const Part part(C, c);
                if (part.whole) multiply_add(sums, load_lanes(pixel + c), load_lanes(value + c));
                else for (int e = c; e < c + part.count; e++) rest += pixel[e] * value[e];
            }
            weight[t] = total(sums) + rest;
        }
}
