// Convolution by Winograd's products: 3 x 3 windows that step by one, with 16 products in the place of 36.
//
// Two results along one axis, of three taps g on four pixels d, take 6 products as they are written, but 4 so:
//
//     y = A' [ (G g) * (B' d) ]
//
//            1   0   0               1   0  -1   0
//     G  =  1/2 1/2 1/2       B' =   0   1   1   0       A' =  1   1   1   0
//           1/2-1/2 1/2              0  -1   1   0             0   1  -1  -1
//            0   0   1               0   1   0  -1
//
// and in two dimensions, for a tile of 2 x 2 results from 4 x 4 pixels, y = A' [ (G g G') * (B' d B) ] A. Summed over
// the channels, each of the 16 places q of the bracket is a product of matrices:
//
//     corner y   M[q, tile, o] = sum over c       of  V[q, tile, c] * U[q, c, o]     U = G w G',  V = B' x B,  y = A' M A
//     corner x   the same, with y for x and the weights turned about
//     corner w   D[q, c, o]    = sum over tiles   of  V[q, tile, c] * Z[q, tile, o]  Z = A y A',               w = G' D G
//
// The transforms add and subtract packs of channels. A thread keeps V, and the sums, of a few tiles for itself. It
// transforms the same pixels again for other outputs: a tenth of the work, for which nothing large is stored.
// See Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. The sums of pixels and of
// taps are larger than these, so the errors are: about twice those of the formula. (Tiles of 4 x 4 results take 9
// products in the place of 36, and ten times the error; they are left out.)
//
// rung                     idea it adds                                            measured
// v3_winograd              16 products in the place of 36                          not yet
#include "tiles.cuh"
#include "windows.cuh"

constexpr int POINTS = 16;                // of a transformed tile
constexpr int TILES = 12;                 // of a thread: one or two lots of those in registers
constexpr int DEEP = 4;                   // packs of channels that a thread transforms at a time
constexpr int WALK = 2 * TILES;           // tiles that a thread of corner w transforms at a time

__host__ __device__ constexpr int lot_of(int packs) { return SUMS / packs < TILES ? SUMS / packs : TILES; }

// The largest divisor of a power of two that is not larger than `most`.
__host__ __device__ constexpr int divisor_of(int power, int most) {
    return power <= most ? power : divisor_of(power / 2, most);
}

// ------------------------------------------------------------------------------------------------ Transforms

// B' d along one axis.
__device__ __forceinline__ void transform_pixels(Lanes& a, Lanes& b, Lanes& c, Lanes& d) {
    const Lanes first = subtract(a, c), second = add(b, c), third = subtract(c, b), fourth = subtract(b, d);
    a = first, b = second, c = third, d = fourth;
}

// G g along one axis: three taps to four.
__device__ __forceinline__ void transform_taps(const Lanes& a, const Lanes& b, const Lanes& c, Lanes (&to)[4]) {
    const Lanes outer = scale(add(a, c), real(0.5)), inner = scale(b, real(0.5));
    to[0] = a, to[1] = add(outer, inner), to[2] = subtract(outer, inner), to[3] = c;
}

struct Tiles {  // of images (N, H, W, C), at the windows of `s`
    const real* x;
    int N, C, down, across;

    __device__ Tiles(const real* x, const Windows& s, int N, int C)
        : x(x), N(N), C(C), down(ceil_div(s.I, 2)), across(ceil_div(s.J, 2)) {}
    __device__ int count() const { return N * down * across; }
};

// V of one tile and one pack of channels: POINTS packs, `line` numbers apart.
__device__ __forceinline__ void load_tile(const Tiles& g, const Windows& s, int tile, int c, real* to, int line) {
    const int j = tile % g.across * 2 - s.padding_w, i = tile / g.across % g.down * 2 - s.padding_h;
    const int n = tile / g.across / g.down;
    const bool there = n < g.N, inside = i >= 0 && j >= 0 && i + 4 <= s.H && j + 4 <= s.W && there;
    const real* from = g.x + ((n * s.H + i) * s.W + j) * g.C + c;
    Lanes d[4][4];
    UNROLLED for (int a = 0; a < 4; a++)
        UNROLLED for (int b = 0; b < 4; b++) {
            const bool here = inside || (there && i + a >= 0 && i + a < s.H && j + b >= 0 && j + b < s.W);
            d[a][b] = here ? load_lanes(from + (a * s.W + b) * g.C) : all_lanes(0);
        }
    UNROLLED for (int a = 0; a < 4; a++) transform_pixels(d[a][0], d[a][1], d[a][2], d[a][3]);
    UNROLLED for (int b = 0; b < 4; b++) transform_pixels(d[0][b], d[1][b], d[2][b], d[3][b]);
    UNROLLED for (int a = 0; a < 4; a++)
        UNROLLED for (int b = 0; b < 4; b++) store_lanes(to + (a * 4 + b) * line, d[a][b]);
}

// U of one channel and one pack of outputs. w (3, 3, C, O); U (POINTS, O / (packs of a thread), C, those packs).
extern "C" __global__ void __launch_bounds__(256, 1) winograd_weights(
    const real* __restrict__ w, real* __restrict__ u, int C, int O, int wide) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x, packs = O / LANES;
    if (t >= C * packs) return;
    const int o = t % packs * LANES, c = t / packs;
    Lanes rows[4][3], both[4];
    UNROLLED for (int l = 0; l < 3; l++) {
        const real* tap = w + (l * C + c) * O + o;
        const int row = 3 * C * O;
        transform_taps(load_lanes(tap), load_lanes(tap + row), load_lanes(tap + 2 * row), both);
        UNROLLED for (int k = 0; k < 4; k++) rows[k][l] = both[k];
    }
    const int line = wide * LANES, block = o / line;
    UNROLLED for (int k = 0; k < 4; k++) {
        transform_taps(rows[k][0], rows[k][1], rows[k][2], both);
        UNROLLED for (int l = 0; l < 4; l++)
            store_lanes(u + (((k * 4 + l) * (O / line) + block) * C + c) * line + o % line, both[l]);
    }
}

// ------------------------------------------------------------------------------------------- Corners y and x

// sum[t, o] += sum over c of v[t, c] * u[c, o], for M tiles.
template <int M, int PACKS>
__device__ __forceinline__ void multiply(const real* v, int channels, const real* u, real* sum, bool first) {
    constexpr int P = PACKS * LANES;
    Numbers<P> kept[M];
    UNROLLED for (int m = 0; m < M; m++) kept[m] = first ? numbers<P>(0) : load_numbers<P>(sum + m * P);
    ROLLED for (int c = 0; c < channels; c++, u += P) {
        const Numbers<P> weights = load_numbers<P>(u);
        UNROLLED for (int m = 0; m < M; m++) multiply_add(kept[m], v[m * DEEP * LANES + c], weights);
    }
    UNROLLED for (int m = 0; m < M; m++) store_numbers(sum + m * P, kept[m]);
}

// A' M A of one tile and one pack of outputs.
template <int P>
__device__ __forceinline__ void store_tile(const real* sum, real* y, const Windows& s, int i, int j, int O) {
    Lanes rows[2][4];
    UNROLLED for (int b = 0; b < 4; b++) {
        Lanes m[4];
        UNROLLED for (int a = 0; a < 4; a++) m[a] = load_lanes(sum + (a * 4 + b) * TILES * P);
        rows[0][b] = add(add(m[0], m[1]), m[2]), rows[1][b] = subtract(subtract(m[1], m[2]), m[3]);
    }
    UNROLLED for (int a = 0; a < 2; a++) {
        const Lanes left = add(add(rows[a][0], rows[a][1]), rows[a][2]);
        const Lanes right = subtract(subtract(rows[a][1], rows[a][2]), rows[a][3]);
        if (i + a < s.I) {
            store_lanes(y + (a * s.J) * O, left);
            if (j + 1 < s.J) store_lanes(y + (a * s.J + 1) * O, right);
        }
    }
}

// TILES tiles from `first` on, and PACKS packs of outputs.
template <int PACKS>
COMPILED_ONCE void results(const Tiles& g, const Windows& s, const real* u, real* y, int first, int o, int O) {
    constexpr int P = PACKS * LANES, M = lot_of(PACKS);
    __align__(64) real v[POINTS * TILES * DEEP * LANES];  // [q, tile, c]
    __align__(64) real sum[POINTS * TILES * P];           // [q, tile, o]
    ROLLED for (int c = 0; c < g.C; c += DEEP * LANES) {
        const int channels = min(DEEP * LANES, g.C - c);
        ROLLED for (int t = 0; t < TILES; t++)
            ROLLED for (int d = 0; d < channels; d += LANES)
                load_tile(g, s, first + t, c + d, v + t * DEEP * LANES + d, TILES * DEEP * LANES);
        ROLLED for (int q = 0; q < POINTS; q++) {
            const real* weights = u + ((q * (O / P) + o / P) * g.C + c) * P;
            ROLLED for (int t = 0; t < TILES; t += M)
                multiply<M, PACKS>(v + (q * TILES + t) * DEEP * LANES, channels, weights,
                                   sum + (q * TILES + t) * P, c == 0);
        }
    }
    ROLLED for (int t = 0; t < TILES && first + t < g.count(); t++) {
        const int j = (first + t) % g.across * 2, i = (first + t) / g.across % g.down * 2;
        const int n = (first + t) / g.across / g.down;
        real* to = y + ((n * s.I + i) * s.J + j) * O + o;
        ROLLED for (int p = 0; p < P; p += LANES) store_tile<P>(sum + t * P + p, to + p, s, i, j, O);
    }
}

// x (N, H, W, C), y (N, I, J, O); of corner x, `x` is y and `y` is x.
__device__ __forceinline__ void winograd(const real* x, const real* u, real* y, const Windows& s, int N, int C, int O,
                                         int wide) {
    const Tiles g(x, s, N, C);
    const int t = blockIdx.x * blockDim.x + threadIdx.x, down = ceil_div(g.count(), TILES);
    if (t >= down * (O / (wide * LANES))) return;
    const int first = t % down * TILES, o = t / down * wide * LANES;
    if (wide == WIDEST) results<WIDEST>(g, s, u, y, first, o, O);
    else if (wide == 2) results<2>(g, s, u, y, first, o, O);
    else results<1>(g, s, u, y, first, o, O);
}

// Changes: sums of pixels times sums of taps, 16 products for 2 x 2 results in the place of 36.
extern "C" __global__ void __launch_bounds__(256, 1) conv2d_y_v3_winograd(
    const real* __restrict__ x, const real* __restrict__ u, real* __restrict__ y, Windows windows, int N, int C, int O,
    int wide) {
    winograd(x, u, y, windows, N, C, O, wide);
}

// Changes: as corner y, with the weights turned about.
extern "C" __global__ void __launch_bounds__(256, 1) conv2d_x_v3_winograd(
    const real* __restrict__ u, const real* __restrict__ y, real* __restrict__ x, Windows windows, int N, int C, int O,
    int wide) {
    winograd(y, u, x, windows, N, O, C, wide);
}

// ------------------------------------------------------------------------------------------------ Corner w

// Z of one tile and one pack of outputs, from y (N, I, J, O): POINTS packs, `line` numbers apart.
__device__ __forceinline__ void load_result(const Tiles& g, const Windows& s, const real* y, int O, int tile, int o,
                                            real* to, int line) {
    const int j = tile % g.across * 2, i = tile / g.across % g.down * 2, n = tile / g.across / g.down;
    const real* from = y + ((n * s.I + i) * s.J + j) * O + o;
    Lanes rows[2][4];
    UNROLLED for (int a = 0; a < 2; a++) {
        const bool here = n < g.N && i + a < s.I;
        const Lanes left = here ? load_lanes(from + a * s.J * O) : all_lanes(0);
        const Lanes right = here && j + 1 < s.J ? load_lanes(from + (a * s.J + 1) * O) : all_lanes(0);
        rows[a][0] = left, rows[a][1] = add(left, right), rows[a][2] = subtract(left, right);
        rows[a][3] = scale(right, real(-1));
    }
    UNROLLED for (int b = 0; b < 4; b++) {
        store_lanes(to + b * line, rows[0][b]);
        store_lanes(to + (4 + b) * line, add(rows[0][b], rows[1][b]));
        store_lanes(to + (8 + b) * line, subtract(rows[0][b], rows[1][b]));
        store_lanes(to + (12 + b) * line, scale(rows[1][b], real(-1)));
    }
}

// sum[c, o] += sum over WALK tiles of v[tile, c] * z[tile, o], for M channels.
template <int M, int PACKS>
__device__ __forceinline__ void multiply_tiles(const real* v, const real* z, real* sum) {
    constexpr int P = PACKS * LANES;
    Numbers<P> kept[M];
    UNROLLED for (int m = 0; m < M; m++) kept[m] = load_numbers<P>(sum + m * P);
    ROLLED for (int t = 0; t < WALK; t++, v += LANES, z += P) {
        const Numbers<P> outputs = load_numbers<P>(z);
        UNROLLED for (int m = 0; m < M; m++) multiply_add(kept[m], v[m], outputs);
    }
    UNROLLED for (int m = 0; m < M; m++) store_numbers(sum + m * P, kept[m]);
}

// D of one pack of channels and PACKS packs of outputs, over some tiles.
template <int PACKS>
COMPILED_ONCE void sums(const Tiles& g, const Windows& s, const real* y, real* to, int c, int o, int O, int first,
                        int last) {
    constexpr int P = PACKS * LANES, M = divisor_of(LANES, SUMS / PACKS);
    __align__(64) real v[POINTS * WALK * LANES];    // [q, tile, c]
    __align__(64) real z[POINTS * WALK * P];        // [q, tile, o]
    __align__(64) real sum[POINTS * LANES * P];     // [q, c, o]
    ROLLED for (int e = 0; e < POINTS * LANES * P; e += LANES) store_lanes(sum + e, all_lanes(0));
    ROLLED for (int tile = first; tile < last; tile += WALK) {
        ROLLED for (int t = 0; t < WALK; t++) {
            const int here = tile + t < last ? tile + t : g.count();  // behind the last one are zeros
            load_tile(g, s, here, c, v + t * LANES, WALK * LANES);
            ROLLED for (int p = 0; p < P; p += LANES) load_result(g, s, y, O, here, o + p, z + t * P + p, WALK * P);
        }
        ROLLED for (int q = 0; q < POINTS; q++)
            ROLLED for (int m = 0; m < LANES; m += M)
                multiply_tiles<M, PACKS>(v + q * WALK * LANES + m, z + q * WALK * P, sum + (q * LANES + m) * P);
    }
    ROLLED for (int q = 0; q < POINTS; q++)
        ROLLED for (int m = 0; m < LANES; m++)
            store_numbers(to + (q * g.C + c + m) * O + o, load_numbers<P>(sum + (q * LANES + m) * P));
}

// Changes: 16 products for the 9 taps of a tile of 2 x 2 results, in the place of 36.
// x (N, H, W, C), y (N, I, J, O), partial (slices, POINTS, C, O); a slice is some tiles of all images.
extern "C" __global__ void __launch_bounds__(256, 1) conv2d_w_v3_winograd(
    const real* __restrict__ x, const real* __restrict__ y, real* __restrict__ partial, Windows windows, int N, int C,
    int O, int wide, int slices, int slice) {
    const Windows& s = windows;
    const Tiles g(x, s, N, C);
    const int t = blockIdx.x * blockDim.x + threadIdx.x, down = C / LANES, across = O / (wide * LANES);
    if (t >= slices * down * across) return;
    const int o = t % across * wide * LANES, c = t / across % down * LANES, part = t / across / down;
    const int first = part * slice, last = min(first + slice, g.count());
    real* to = partial + part * POINTS * C * O;
    if (wide == WIDEST) sums<WIDEST>(g, s, y, to, c, o, O, first, last);
    else if (wide == 2) sums<2>(g, s, y, to, c, o, O, first, last);
    else sums<1>(g, s, y, to, c, o, O, first, last);
}

// G' along one axis: four sums to three taps.
__device__ __forceinline__ void gather_taps(const Lanes (&from)[4], Lanes& a, Lanes& b, Lanes& c) {
    const Lanes both = scale(add(from[1], from[2]), real(0.5));
    a = add(from[0], both), b = scale(subtract(from[1], from[2]), real(0.5)), c = add(both, from[3]);
}

// w (3, 3, C, O) of the slices' sums, added up in their order.
extern "C" __global__ void __launch_bounds__(256, 1) winograd_gather(
    const real* __restrict__ partial, real* __restrict__ w, int slices, int C, int O) {
    const int t = blockIdx.x * blockDim.x + threadIdx.x, packs = O / LANES;
    if (t >= C * packs) return;
    const int o = t % packs * LANES, c = t / packs;
    Lanes rows[3][4];
    UNROLLED for (int b = 0; b < 4; b++) {
        Lanes sum[4];
        UNROLLED for (int a = 0; a < 4; a++) {
            const real* from = partial + ((a * 4 + b) * C + c) * O + o;
            sum[a] = load_lanes(from);
            ROLLED for (int part = 1; part < slices; part++) sum[a] = add(sum[a], load_lanes(from + part * POINTS * C * O));
        }
        gather_taps(sum, rows[0][b], rows[1][b], rows[2][b]);
    }
    UNROLLED for (int k = 0; k < 3; k++) {
        Lanes taps[3];
        gather_taps(rows[k], taps[0], taps[1], taps[2]);
        UNROLLED for (int l = 0; l < 3; l++) store_lanes(w + ((k * 3 + l) * C + c) * O + o, taps[l]);
    }
}
