// Convolution by packs: the rung between the formula and shared memory, and the CPU's own.
//
// The three corners of conv.cu, computed by threads that never meet. A thread of corners y and x computes some
// pixels times some packs of channels, and keeps these sums in registers:
//
//     for each tap:   where each pixel's window has it, once; `zeros` where that is outside of the image
//         for each channel c:   load packs of weights;   each pixel:  sum += x[pixel, c] * weights
//
// What is loaded is used as often as there are pixels (the weights) or packs (a number of x). Corner w is the same
// with other roles: a thread owns one tap, some channels of x and some packs of channels of y, and walks along the
// pixels.
//
// Images lie channels last, weights as (K, L, C, O) with whole packs of O: neighbours along o are one load.
//
// rung                     idea it adds                                            measured
// v2_packs                 some pixels times some packs per thread, no barrier     not yet
#include "axes.cuh"
#include "tiles.cuh"
#include "windows.cuh"

constexpr int LONGEST = 256;      // steps of a sum, before it is added to the whole: long sums lose digits
constexpr int DEEP = 64;          // channels from which, and steps after which, tiles take turns
constexpr int DEEP_TILES = 1 + VECTOR / 32 * 3;
constexpr int SMALL_MAP = 64;     // pixels of an image
constexpr int FEW = 4;            // channels that do not fill a pack
constexpr int ALONG_PIXELS = 3 + VECTOR / 64 * 3;

// What corners y and x share: results (N, height, width, O) from a source (N, down.size, across.size, stored).
struct Product {
    const real* source;
    const real* w;       // (K, L, C, line), line: O rounded up to whole packs
    const real* zeros;   // at least C of them
    real* result;
    Axis down, across;
    int N, C, stored, O, line, L, height, width;

    __device__ int pixels() const { return N * down.rows * across.rows; }
    // Of a small map, one place of all images follows the other: what lies outside there does so for all of them.
    __device__ int together() const { return down.rows * across.rows <= SMALL_MAP ? N : 1; }
};

// Where M pixels from `first` on read, and where they go.
template <int M>
struct Pixels {
    int n[M], h[M], v[M];  // n: of the image's first row
    int to[M];             // negative behind the last pixel

    Pixels() = default;
    __device__ __forceinline__ Pixels(const Product& p, int first) {
        // In the order of some images, all places of them, and at each place the `together` images that share it.
        const int together = p.together(), some = p.N / together;
        int image = first % together, j = first / together % p.across.rows;
        int i = first / together / p.across.rows % p.down.rows, others = first / together / p.across.rows / p.down.rows;
        UNROLLED for (int m = 0; m < M; m++) {
            const bool inside = others < some;
            n[m] = inside ? (others * together + image) * p.down.size : 0;
            h[m] = p.down.start + i * p.down.stride;
            v[m] = p.across.start + j * p.across.stride;
            const int row = (others * together + image) * p.height + p.down.first_pixel + i * p.down.pixel_step;
            to[m] = inside ? (row * p.width + p.across.first_pixel + j * p.across.pixel_step) * p.O : -1;
            if (++image == together) image = 0, j++;
            if (j == p.across.rows) j = 0, i++;
            if (i == p.down.rows) i = 0, others++;
        }
    }

    // What the m-th pixel's window has at tap (k, l).
    __device__ __forceinline__ const real* at(const Product& p, int m, int k, int l) const {
        const int y = h[m] + k * p.down.step, x = v[m] + l * p.across.step;
        const bool inside = (unsigned)y < (unsigned)p.down.size && (unsigned)x < (unsigned)p.across.size;
        return inside ? p.source + ((n[m] + y) * p.across.size + x) * p.stored : p.zeros;
    }

    // The same for all of them; whether any is inside of the image there.
    __device__ __forceinline__ bool find(const Product& p, int k, int l, const real* (&from)[M]) const {
        bool met = false;
        UNROLLED for (int m = 0; m < M; m++) from[m] = at(p, m, k, l), met |= from[m] != p.zeros;
        return met;
    }
};

// Adds sums to the whole, and begins them anew.
template <int M, int P>
__device__ __forceinline__ void put_aside(Numbers<P> (&sum)[M], Numbers<P> (&whole)[M]) {
    UNROLLED for (int m = 0; m < M; m++) add_to(whole[m], sum[m]), sum[m] = numbers<P>(0);
}

template <int M, int PACKS>
COMPILED_ONCE void tile(const Product& p, int first, int o) {
    constexpr int P = PACKS * LANES;
    const Pixels<M> pixels(p, first);
    Numbers<P> sum[M], whole[M];
    UNROLLED for (int m = 0; m < M; m++) sum[m] = whole[m] = numbers<P>(0);
    int steps = 0;
    for (int k = 0; k < p.down.taps; k++)
        for (int l = 0; l < p.across.taps; l++) {
            const real* from[M];
            const bool met = pixels.find(p, k, l, from);
            const int tap_k = p.down.first_tap + k * p.down.tap_step;
            const int tap_l = p.across.first_tap + l * p.across.tap_step;
            const real* weight = p.w + (tap_k * p.L + tap_l) * p.C * p.line + o;
            for (int c = 0; met && c < p.C; c++, weight += p.line) {
                const Numbers<P> b = load_numbers<P>(weight);
                UNROLLED for (int m = 0; m < M; m++) multiply_add(sum[m], from[m][c], b);
            }
            steps += p.C;  // of a tap that no pixel meets, too: a pixel's sum must not depend on the others
            if (steps >= LONGEST) put_aside(sum, whole), steps = 0;
        }
    put_aside(sum, whole);
    UNROLLED for (int m = 0; m < M; m++)
        if (pixels.to[m] >= 0) {
            real* to = p.result + pixels.to[m] + o;
            if (p.O == p.line) store_numbers(to, whole[m]);
            else store_some(to, whole[m], p.O - o);
        }
}

// The same for several tiles of pixels and many channels: a part of the weights that fits into the nearest cache
// serves one tile after the other, whose sums wait in memory meanwhile.
template <int M, int PACKS>
COMPILED_ONCE void deep_tiles(const Product& p, int first, int o) {
    constexpr int P = PACKS * LANES;
    const int tiles = min(DEEP_TILES, ceil_div(p.pixels() - first, M));
    Pixels<M> pixels[DEEP_TILES];
    const real* from[DEEP_TILES][M];
    bool met[DEEP_TILES];
    __align__(64) real whole[DEEP_TILES * M * P];
    for (int i = 0; i < tiles; i++) pixels[i] = Pixels<M>(p, first + i * M);
    for (int e = 0; e < tiles * M * P; e += LANES) store_lanes(whole + e, all_lanes(0));
    for (int k = 0; k < p.down.taps; k++)
        for (int l = 0; l < p.across.taps; l++) {
            for (int i = 0; i < tiles; i++) met[i] = pixels[i].find(p, k, l, from[i]);
            const int tap_k = p.down.first_tap + k * p.down.tap_step;
            const int tap_l = p.across.first_tap + l * p.across.tap_step;
            for (int c = 0; c < p.C; c += DEEP) {
                const int steps = min(DEEP, p.C - c);
                for (int i = 0; i < tiles; i++) {
                    if (!met[i]) continue;
                    const real* weight = p.w + ((tap_k * p.L + tap_l) * p.C + c) * p.line + o;
                    const real* here[M];
                    Numbers<P> sum[M];
                    UNROLLED for (int m = 0; m < M; m++) sum[m] = numbers<P>(0), here[m] = from[i][m] + c;
                    for (int step = 0; step < steps; step++, weight += p.line) {
                        const Numbers<P> b = load_numbers<P>(weight);
                        UNROLLED for (int m = 0; m < M; m++) multiply_add(sum[m], here[m][step], b);
                    }
                    UNROLLED for (int m = 0; m < M; m++) {
                        real* to = whole + (i * M + m) * P;
                        add_to(sum[m], load_numbers<P>(to)), store_numbers(to, sum[m]);
                    }
                }
            }
        }
    for (int i = 0; i < tiles; i++)
        for (int m = 0; m < M; m++)
            if (pixels[i].to[m] >= 0) {
                real* to = p.result + pixels[i].to[m] + o;
                const Numbers<P> sum = load_numbers<P>(whole + (i * M + m) * P);
                if (p.O == p.line) store_numbers(to, sum);
                else store_some(to, sum, p.O - o);
            }
}

// The t-th tile: pixels first, so that neighbours share their weights.
__device__ __forceinline__ void tiles(const Product& p, int t) {
    const int packs = p.line / LANES;
    const int wide = packs % WIDEST == 0 ? WIDEST : packs % 2 == 0 ? 2 : 1;
    const bool deep = p.C >= DEEP;
    const int each = rows_of(wide) * (deep ? DEEP_TILES : 1), down = ceil_div(p.pixels(), each);
    if (t >= down * (packs / wide)) return;
    const int first = t % down * each, o = t / down * wide * LANES;
    if constexpr (DEEP_TILES > 1)
        if (deep) {
            if (wide == WIDEST) deep_tiles<rows_of(WIDEST), WIDEST>(p, first, o);
            else if (wide == 2) deep_tiles<rows_of(2), 2>(p, first, o);
            else deep_tiles<rows_of(1), 1>(p, first, o);
            return;
        }
    if (wide == WIDEST) tile<rows_of(WIDEST), WIDEST>(p, first, o);
    else if (wide == 2) tile<rows_of(2), 2>(p, first, o);
    else tile<rows_of(1), 1>(p, first, o);
}

// Changes: a thread computes some pixels times some packs of channels, from registers, and waits for no other.
extern "C" __global__ void __launch_bounds__(256, 1) conv2d_y_v2_packs(
    const real* __restrict__ x, const real* __restrict__ w, const real* __restrict__ zeros, real* __restrict__ y,
    Windows windows, int N, int C, int stored, int O, int line) {
    const Windows& s = windows;
    const Axis down = axis_y(s.I, s.K, s.H, s.stride_h, s.padding_h, s.dilation_h);
    const Axis across = axis_y(s.J, s.L, s.W, s.stride_w, s.padding_w, s.dilation_w);
    tiles({x, w, zeros, y, down, across, N, C, stored, O, line, s.L, s.I, s.J}, blockIdx.x * blockDim.x + threadIdx.x);
}

// The phases whose pixels are under some tap, and the threads that each of them has.
struct Phases {
    int down, across, threads;
};

// The q-th phase along one axis: that of the pixels under tap q.
__device__ __forceinline__ int phase_of(int q, int stride, int padding, int dilation) {
    const int phase = (q * dilation - padding) % stride;
    return phase < 0 ? phase + stride : phase;
}

// Corner x for the pixels of the phase that thread t belongs to.
__device__ __forceinline__ Product phase_product(
    const real* w, const real* y, const real* zeros, real* x, const Windows& s, int N, int C, int O, int line,
    const Phases& phases, int t) {
    const int phase = t / phases.threads, q_h = phase / phases.across, q_w = phase % phases.across;
    const int phase_h = phase_of(q_h, s.stride_h, s.padding_h, s.dilation_h);
    const int phase_w = phase_of(q_w, s.stride_w, s.padding_w, s.dilation_w);
    const Axis down = axis_x(s.H, s.K, s.I, s.stride_h, s.padding_h, s.dilation_h, phase_h);
    const Axis across = axis_x(s.W, s.L, s.J, s.stride_w, s.padding_w, s.dilation_w, phase_w);
    return {y, w, zeros, x, down, across, N, O, O, C, line, s.L, s.H, s.W};
}

// Changes: the pixels of one phase times some packs of channels, from registers.
extern "C" __global__ void __launch_bounds__(256, 1) conv2d_x_v2_packs(
    const real* __restrict__ w, const real* __restrict__ y, const real* __restrict__ zeros, real* __restrict__ x,
    Windows windows, Phases phases, int N, int C, int O, int line) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= phases.down * phases.across * phases.threads) return;
    tiles(phase_product(w, y, zeros, x, windows, N, C, O, line, phases, t), t % phases.threads);
}

// ---------------------------------------------------------------------------------------- Packs along the sum
//
// With fewer results than a pack has numbers (an image from features), packs lie along the sum instead: each sum is
// kept as LANES parts, which are added in the end. So it is where corner x has many channels and few pixels: there
// the weights, (K, L, C, O), are read as they lie, as to turn them would cost more than all else.

// How far the weights of the next result lie, and those of the next tap.
struct Steps {
    int result, tap;
};

template <int O>
COMPILED_ONCE void along(const Product& p, const Steps& steps, int first, int o) {
    const Pixels<ALONG_PIXELS> pixels(p, first);
    Lanes sum[ALONG_PIXELS][O];
    UNROLLED for (int m = 0; m < ALONG_PIXELS; m++)
        UNROLLED for (int i = 0; i < O; i++) sum[m][i] = all_lanes(0);
    for (int k = 0; k < p.down.taps; k++)
        for (int l = 0; l < p.across.taps; l++) {
            const real* from[ALONG_PIXELS];
            const bool met = pixels.find(p, k, l, from);
            const int tap_k = p.down.first_tap + k * p.down.tap_step;
            const int tap_l = p.across.first_tap + l * p.across.tap_step;
            const real* weight = p.w + (tap_k * p.L + tap_l) * steps.tap + o * steps.result;
            for (int c = 0; met && c < p.C; c += LANES) {
                Lanes b[O];
                UNROLLED for (int i = 0; i < O; i++) b[i] = load_lanes(weight + i * steps.result + c);
                UNROLLED for (int m = 0; m < ALONG_PIXELS; m++) {
                    const Lanes a = load_lanes(from[m] + c);
                    UNROLLED for (int i = 0; i < O; i++) multiply_add(sum[m][i], a, b[i]);
                }
            }
        }
    UNROLLED for (int m = 0; m < ALONG_PIXELS; m++)
        if (pixels.to[m] >= 0)
            UNROLLED for (int i = 0; i < O; i++) p.result[pixels.to[m] + o + i] = total(sum[m][i]);
}

// The t-th tile of some pixels and some results, pixels first.
__device__ __forceinline__ void along_tiles(const Product& p, const Steps& steps, int t) {
    const int down = ceil_div(p.pixels(), ALONG_PIXELS);  // none, if a phase has no pixel
    if (t >= down * ceil_div(p.O, FEW)) return;
    const int first = t % down * ALONG_PIXELS, o = t / down * FEW, left = p.O - o;
    if (left == 1) along<1>(p, steps, first, o);
    else if (left == 2) along<2>(p, steps, first, o);
    else if (left == 3) along<3>(p, steps, first, o);
    else along<4>(p, steps, first, o);
}

extern "C" __global__ void __launch_bounds__(256, 1) conv2d_y_packs_along(
    const real* __restrict__ x, const real* __restrict__ w, const real* __restrict__ zeros, real* __restrict__ y,
    Windows windows, int N, int C, int O) {
    const Windows& s = windows;
    const Axis down = axis_y(s.I, s.K, s.H, s.stride_h, s.padding_h, s.dilation_h);
    const Axis across = axis_y(s.J, s.L, s.W, s.stride_w, s.padding_w, s.dilation_w);
    const Product p = {x, w, zeros, y, down, across, N, C, C, O, 0, s.L, s.I, s.J};
    along_tiles(p, {s.K * s.L * C, C}, blockIdx.x * blockDim.x + threadIdx.x);
}

extern "C" __global__ void __launch_bounds__(256, 1) conv2d_x_packs_along(
    const real* __restrict__ w, const real* __restrict__ y, const real* __restrict__ zeros, real* __restrict__ x,
    Windows windows, Phases phases, int N, int C, int O) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= phases.down * phases.across * phases.threads) return;
    along_tiles(phase_product(w, y, zeros, x, windows, N, C, O, 0, phases, t), {O, C * O}, t % phases.threads);
}

// ------------------------------------------------------------------------------------------------ Corner w
//
// One tap of  w[one, many] += sum over pixels of  one[pixel] * many[pixel]:  a thread owns M numbers of the first and
// some packs of the second. Usually `one` is x and `many` is y; where y has too few channels, they change places.
//
// A launch adds up some rows of the results' images, few enough for a cache; the next one goes on from its sums.

struct Sums {
    const real *one, *many;
    real* w;                // (K, L, ones, manys)
    int ones, manys;        // how many are taken; whole packs of the second
    int one_line, many_line;  // from a pixel to the next
    bool turned;            // whether `one` is y
};

// TURNS: sums of each number, among which neighbouring pixels are dealt out; few sums would wait for each other.
template <int M, int PACKS, int TURNS>
COMPILED_ONCE void sum_tap(const Sums& g, const Windows& s, int k, int l, int first, int last, int one, int many) {
    constexpr int P = PACKS * LANES;
    const int off_h = k * s.dilation_h - s.padding_h, off_v = l * s.dilation_w - s.padding_w;
    // Columns j whose window has tap l inside of the image.
    const int low = max(0, (-off_v + s.stride_w - 1) / s.stride_w);
    const int high = off_v >= s.W ? low : min(s.J, (s.W - 1 - off_v) / s.stride_w + 1);
    real* to = g.w + ((k * s.L + l) * g.ones + one) * g.manys + many;
    Numbers<P> sum[TURNS][M], whole[M];
    UNROLLED for (int m = 0; m < M; m++) {
        whole[m] = first ? load_numbers<P>(to + m * g.manys) : numbers<P>(0);
        UNROLLED for (int turn = 0; turn < TURNS; turn++) sum[turn][m] = numbers<P>(0);
    }
    int steps = 0;
    const int x_line = g.turned ? g.many_line : g.one_line, y_line = g.turned ? g.one_line : g.many_line;
    for (int r = first; r < last; r++) {
        const int n = r / s.I, h = r % s.I * s.stride_h + off_h;
        const bool there = h >= 0 && h < s.H;
        const int x = ((n * s.H + h) * s.W + low * s.stride_w + off_v) * x_line, y = (r * s.J + low) * y_line;
        const real* a = g.one + (g.turned ? y : x) + one;
        const real* b = g.many + (g.turned ? x : y) + many;
        const int a_step = g.turned ? y_line : s.stride_w * x_line, b_step = g.turned ? s.stride_w * x_line : y_line;
        const int end = there ? high : low;
        int j = low;
        for (; j + TURNS <= end; j += TURNS)
            UNROLLED for (int turn = 0; turn < TURNS; turn++, a += a_step, b += b_step) {
                const Numbers<P> numbers = load_numbers<P>(b);
                UNROLLED for (int m = 0; m < M; m++) multiply_add(sum[turn][m], a[m], numbers);
            }
        for (; j < end; j++, a += a_step, b += b_step) {
            const Numbers<P> numbers = load_numbers<P>(b);
            UNROLLED for (int m = 0; m < M; m++) multiply_add(sum[0][m], a[m], numbers);
        }
        steps += end - low;
        if (steps < TURNS * LONGEST && r + 1 < last) continue;
        UNROLLED for (int turn = 0; turn < TURNS; turn++) put_aside(sum[turn], whole);
        steps = 0;
    }
    UNROLLED for (int m = 0; m < M; m++) store_numbers(to + m * g.manys, whole[m]);
}

// As many of them as there are registers for, or what is left.
template <int PACKS>
__device__ __forceinline__ void sum_some(const Sums& g, const Windows& s, int k, int l, int first, int last, int one,
                                         int many) {
    constexpr int M = rows_of(PACKS), TURNS = SUMS / PACKS / 3 < 4 ? 2 : 4;
    if (one + M <= g.ones) return sum_tap<M, PACKS, 1>(g, s, k, l, first, last, one, many);
    for (; one + 3 <= g.ones; one += 3) sum_tap<3, PACKS, TURNS / 2>(g, s, k, l, first, last, one, many);
    for (; one < g.ones; one++) sum_tap<1, PACKS, TURNS>(g, s, k, l, first, last, one, many);
}

// Changes: a thread keeps one tap's sums of some channels times some packs of others in registers.
extern "C" __global__ void __launch_bounds__(256, 1) conv2d_w_v2_packs(
    const real* __restrict__ one, const real* __restrict__ many, real* __restrict__ w, Windows windows, int ones,
    int manys, int one_line, int many_line, int turned, int first, int last) {
    const Windows& s = windows;
    const int packs = manys / LANES, wide = packs % WIDEST == 0 ? WIDEST : packs % 2 == 0 ? 2 : 1;
    const int across = packs / wide, down = ceil_div(ones, rows_of(wide));
    const int t = blockIdx.x * blockDim.x + threadIdx.x, tap = t / across / down;
    if (tap >= s.K * s.L) return;
    const int from = t / across % down * rows_of(wide), to = t % across * wide * LANES;
    const Sums sums = {one, many, w, ones, manys, one_line, many_line, turned != 0};
    if (wide == WIDEST) sum_some<WIDEST>(sums, s, tap / s.L, tap % s.L, first, last, from, to);
    else if (wide == 2) sum_some<2>(sums, s, tap / s.L, tap % s.L, first, last, from, to);
    else sum_some<1>(sums, s, tap / s.L, tap % s.L, first, last, from, to);
}

// ------------------------------------------------------------------------------------------ Turning weights

// turned (K, L, O, C) from w (K, L, C, O), whole packs of both; with `about`, tap (k, l) becomes (K-1-k, L-1-l).
extern "C" __global__ void __launch_bounds__(256, 1) turn_weights(
    const real* __restrict__ w, real* __restrict__ turned, int taps, int C, int O, int about) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x, across = C / LANES, down = O / LANES;
    if (t >= taps * across * down) return;
    const int c = t % across * LANES, o = t / across % down * LANES, tap = t / across / down;
    __align__(64) real block[LANES * LANES];
    for (int e = 0; e < LANES; e++) store_lanes(block + e * LANES, load_lanes(w + (tap * C + c + e) * O + o));
    real* to = turned + ((about ? taps - 1 - tap : tap) * O + o) * C + c;
    for (int e = 0; e < LANES; e++)
        for (int f = 0; f < LANES; f++) to[e * C + f] = block[f * LANES + e];
}
