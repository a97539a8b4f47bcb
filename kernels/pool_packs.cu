// Max-pooling by packs: the rung between the formula and one thread for each element, and the CPU's own.
//
// The functions of pool.cu, in its letters and layouts: B planes, in each of which S channels lie side by side. A
// thread takes a pack of them (or what is left), finds a place once for all of it, and never meets another thread:
//
//     max     a thread walks along a row of windows, and compares the taps of each that lie inside of the image
//     pick    a thread walks along `each` windows
//     put     a thread owns its channels of an image: it fills them with zeros, then adds what leads there in the
//             order of the windows. So nobody searches, as where a thread owns pixels.
//
// rung                     idea it adds                                                  measured
// max v2_packs             a thread takes a pack of channels along a row of windows      not yet
// pick v2_packs            a thread takes a pack of channels of several windows          not yet
// put v2_packs             a thread owns a pack of channels, and puts them in order      not yet
#include "parts.cuh"
#include "places.cuh"
#include "windows.cuh"

// As many whole numbers as a pack has lanes.
#ifdef MINIDL_NATIVE
typedef decltype(Lanes{} < Lanes{}) Wholes;
typedef int64 Places __attribute__((vector_size(LANES * sizeof(int64)), aligned(sizeof(int64)), may_alias));
#else
struct Wholes { int v[LANES]; };
#endif

// The largest pixel so far in each lane, and its place. Not <=, so that a NaN beats any number; the first NaN stays.
struct Largest {
    Lanes best;
    Wholes place;

#ifdef MINIDL_NATIVE
    __device__ __forceinline__ Largest(const Lanes& pixels, int here) : best(pixels), place(here - Wholes{}) {}

    __device__ __forceinline__ void compare(const Lanes& pixels, int here) {
        const Wholes wins = ~(pixels <= best) & (best == best);
        best = wins ? pixels : best;
        place = wins ? here - Wholes{} : place;
    }

    __device__ __forceinline__ void store(real* to, int64* at, const Part& part) const {
        store_part(to, best, part, to);
        if (part.whole) *reinterpret_cast<Places*>(at) = __builtin_convertvector(place, Places);
        else for (int e = 0; e < part.count; e++) at[e] = place[e];
    }
#else
    __device__ __forceinline__ Largest(const Lanes& pixels, int here) : best(pixels) {
        UNROLLED for (int e = 0; e < LANES; e++) place.v[e] = here;
    }

    __device__ __forceinline__ void compare(const Lanes& pixels, int here) {
        UNROLLED for (int e = 0; e < LANES; e++)
            if (!(pixels.v[e] <= best.v[e]) && best.v[e] == best.v[e]) best.v[e] = pixels.v[e], place.v[e] = here;
    }

    __device__ __forceinline__ void store(real* to, int64* at, const Part& part) const {
        store_part(to, best, part, to);
        UNROLLED for (int e = 0; e < LANES; e++)
            if (e < part.count) at[e] = place.v[e];
    }
#endif
};

// The taps of a window that lie inside of the image, along one axis: those from `low` to `high` - 1.
struct Inside {
    int low, high;

    __device__ __forceinline__ Inside(int start, int taps, int dilation, int size) {
        low = start < 0 ? ceil_div(-start, dilation) : 0;
        high = start + (taps - 1) * dilation < size ? taps : max(ceil_div(size - start, dilation), 0);
    }
};

// Changes: a thread walks along a row of windows, with packs of channels.
extern "C" __global__ void __launch_bounds__(256, 3) max_pool2d_v2_packs(
    const real* __restrict__ x, real* __restrict__ y, int64* __restrict__ index, Windows windows, int B, int S,
    int many) {
    const Windows& s = windows;
    const int shares = ceil_div(S, many * LANES), t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= B * s.I * shares) return;
    const Share share(t % shares, S, many);
    const int i = t / shares % s.I, b = t / shares / s.I;
    const real *image = x + b * s.H * s.W * S, *end = x + B * s.H * s.W * S;
    const int row = (b * s.I + i) * s.J * S;
    real* to = y + row;
    int64* place = index + row;
    const int top = i * s.stride_h - s.padding_h;
    const Inside k(top, s.K, s.dilation_h, s.H);
    for (int j = 0; j < s.J; j++, to += S, place += S) {
        const int left = j * s.stride_w - s.padding_w;
        const Inside l(left, s.L, s.dilation_w, s.W);
        if (k.low >= k.high || l.low >= l.high) {  // nothing but padding
            for (int c = share.first; c < share.last; c++) to[c] = 0, place[c] = -1;
            continue;
        }
        const int corner = (top + k.low * s.dilation_h) * s.W + left + l.low * s.dilation_w;
        for (int c = share.first; c < share.last; c += LANES) {
            const Part part(S, c);
            Largest largest(load_part(image + corner * S + c, part, end), corner);
            for (int m = k.low; m < k.high; m++)
                for (int n = l.low; n < l.high; n++) {
                    const int here = (top + m * s.dilation_h) * s.W + left + n * s.dilation_w;
                    largest.compare(load_part(image + here * S + c, part, end), here);
                }
            largest.store(to + c, place + c, part);
        }
    }
}

// Changes: a thread picks the packs of several windows.
extern "C" __global__ void __launch_bounds__(256, 4) pick_windows_v2_packs(
    const real* __restrict__ x, const int64* __restrict__ index, real* __restrict__ y,
    int B, int S, int windows, int pixels, int many, int each) {
    const int shares = ceil_div(S, many * LANES), walks = ceil_div(windows, each);
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= B * walks * shares) return;
    const Share share(t % shares, S, many);
    const int w = t / shares % walks * each, b = t / shares / walks;
    const real* image = x + b * pixels * S;
    int at = (b * windows + w) * S;
    const int end = at + min(each, windows - w) * S;
    if (S == 1) {  // quick loops are long ones
        for (; at < end; at++) y[at] = image[place_of(index[at], pixels)];
        return;
    }
    for (; at < end; at += S)
        for (int c = share.first; c < share.last; c++) y[at + c] = image[place_of(index[at + c], pixels) * S + c];
}

// Changes: a thread owns channels and not a pixel, so that nobody asks all windows.
extern "C" __global__ void __launch_bounds__(256, 4) put_windows_v2_packs(
    const real* __restrict__ y, const int64* __restrict__ index, real* __restrict__ x,
    int B, int S, int windows, int pixels, int many) {
    const int shares = ceil_div(S, many * LANES), t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= B * shares) return;
    const Share share(t % shares, S, many);
    const int b = t / shares;
    real* image = x + b * pixels * S;
    const bool alone = share.last - share.first == S;  // so that all of the image is its own
    for (int p = 0; p < (alone ? 1 : pixels); p++)
        for (int c = share.first; c < (alone ? pixels * S : share.last); c++) image[p * S + c] = 0;
    int at = b * windows * S;
    if (S == 1) {
        for (int w = at; w < at + windows; w++) image[place_of(index[w], pixels)] += y[w];
        return;
    }
    for (int w = 0; w < windows; w++, at += S)
        for (int c = share.first; c < share.last; c++) image[place_of(index[at + c], pixels) * S + c] += y[at + c];
}
