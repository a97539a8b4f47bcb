// Convolution: three corners of one trilinear form.
//
//     T(x, w, y) = sum  x[n, c, h, w] * w[o, c, k, l] * y[n, o, i, j]
//                  where h = i * stride + k * dilation - padding   (and so w from j, l)
//
//     corner y   y[n, o, i, j] = sum over c, k, l   of x * w     a convolution
//     corner x   x[n, c, h, w] = sum over o, k, l   of w * y     a transposed convolution, the gradient of x
//     corner w   w[o, c, k, l] = sum over n, i, j   of x * y     the gradient of the weights
//
// N batch, C in and O out channels, H W image, K L window, I J output; the same letters in lower case
// count along them. With groups, C and O below are the channels of one group.
//
// Each corner is a product of two matrices, of which the first is never stored. Let row (n, i, j) of P hold
// what window (i, j) sees, tap by tap, and zero where a tap lies outside of the image:
//
//     P[(n, i, j), (k, l, c)] = x[n, c, i * stride + k * dilation - padding, ...]
//
//     corner y   rows (n, i, j)   columns o   sum over (k, l, c)   y = P  w^T
//     corner w   rows (k, l, c)   columns o   sum over (n, i, j)   w^T = P^T  y
//     corner x   rows (n, h, w)   columns c   sum over (k, l, o)   x = P' w'
//
// P' is made from y as P is from x. With a stride, the pixels of one phase (h mod stride, w mod stride) meet
// always the same taps, at windows that step by one. So the rows are split by phase, a block works in one of
// them, and taps that cannot hit are not in its sum: no zeros are inserted, none are multiplied.
// From v4 on, a rung is written once, for any such product. A corner is two structs that fetch from its
// matrices ("Matrices"), and the kernels at the end only put the two together.
//
// Corner w has a long sum and a small result: its sum is cut into slices, one block each, whose partial
// results conv2d_w_add_slices adds up in order. No rung uses atomics: all results are the same on each run.
//
// Few channels: taps and channels are counted by one index, so 3 channels and 3 x 3 taps are a sum of 27,
// or 27 rows of corner w, not 9 times 3 of 16. For up to 16 columns (an image as the output, say), v5 to v9
// use tiles 16 columns wide instead of 64. One column a group (depthwise) is left to v1 in corners y and x.
//
// Numbers: v1 to v6 multiply and add in `real`. v7 rounds what it reads to TF32, 11 bits, so the largest
// floats to infinity. In v8 and v9 a product is off by up to about 2^-20 of it, where float32 rounds by
// 2^-24; over long sums, where float32's own roundings add up, they are no worse (see WarpTile). Infinities
// and NaNs come out as in float32 arithmetic, but where padding meets an infinity: v1, v8 and v9 leave
// padding out of the sum, v4 to v7 multiply by zero, and 0 * inf is NaN.
//
// rung                     idea it adds                                            measured
// v1_naive                 the formula, one thread per output                      not yet
// v4_shared_tile           16 x 16 outputs share what they load                    not yet
// v5_register_tile         8 x 4 outputs per thread, kept in registers             not yet
// v6_vectorised            16 bytes per load                                       not yet
// v7_tf32                  tensor cores, inputs rounded to TF32                    not yet
// v8_tf32x3                three TF32 products make one, near float32's exactness  not yet
// v9_tf32x3_async          copies for two steps ahead go on during the products    not yet
#include "async.cuh"
#include "axes.cuh"
#include "minidl.cuh"
#include "mma.cuh"
#include "windows.cuh"

constexpr int THREADS = 256;               // of a block, in all rungs
constexpr int DEPTH = 16;                  // steps of the sum that a block loads at a time
constexpr int ROWS = 128;                  // of a block's tile of results, from v5 on; its columns:
constexpr int WIDE = 64, NARROW = 16;      // NARROW where that is all there are

// ---------------------------------------------------------------------------------------------- Matrices
//
// A matrix has an outer index (a row of the result for the left one, a column for the right one) and an
// inner index, the step of the sum. A thread keeps its outer indices decoded and walks along the sum:
// inner() decodes once, advance() counts on. at() is where an element lies in `array`, negative if nowhere
// (it is zero then). SUM_FIRST: neighbours along the sum are neighbours in memory, otherwise outer ones are.

constexpr int OUTSIDE = -(1 << 30);  // a coordinate so far out that no tap leads back into the image

// An odometer: what `low` has beyond its radix goes into `high`.
__device__ inline void carry(int& low, int radix, int& high) {
    if (low >= radix) {
        high += low / radix;
        low %= radix;
    }
}

// P. The position of an element is that of its pixel plus that of its tap.
template <typename T>
struct Patches {
    const T* array;          // (N, size, size, stored channels)
    int N, channels, stored; // channels: those of one group
    Axis down, across;

    struct Pixel { int n, i, j, h, w, offset; };
    struct Tap { int k, l, c, h, w, offset; };

    __device__ void place(Pixel& p) const {
        carry(p.j, across.rows, p.i);
        carry(p.i, down.rows, p.n);
        p.h = down.start + p.i * down.stride;
        p.w = across.start + p.j * across.stride;
        p.offset = ((p.n * down.size + p.h) * across.size + p.w) * stored;
        if (p.n >= N) p.h = OUTSIDE;
    }
    __device__ void place(Tap& t) const {
        carry(t.c, channels, t.l);
        carry(t.l, across.taps, t.k);
        t.h = t.k * down.step;
        t.w = t.l * across.step;
        t.offset = (t.h * across.size + t.w) * stored + t.c;
        if (t.k >= down.taps) t.h = OUTSIDE;
    }
    __device__ Pixel pixel(int index) const {
        Pixel p = {0, 0, index};
        place(p);
        return p;
    }
    __device__ Tap tap(int index) const {
        Tap t = {0, 0, index};
        place(t);
        return t;
    }
    __device__ int element(const Pixel& p, const Tap& t) const {
        const unsigned h = p.h + t.h, w = p.w + t.w;  // negative ones become large
        return h < (unsigned)down.size && w < (unsigned)across.size ? p.offset + t.offset : -1;
    }
};

// P as the left matrix of corners y and x: a thread keeps pixels and walks along taps and channels.
template <typename T>
struct PatchRows : Patches<T> {
    static constexpr bool SUM_FIRST = true;
    typedef typename Patches<T>::Pixel Outer;
    typedef typename Patches<T>::Tap Inner;
    __device__ Outer outer(int index) const { return this->pixel(index); }
    __device__ Inner inner(int step) const { return this->tap(step); }
    __device__ void advance(Inner& t, int by) const { t.c += by, this->place(t); }
    __device__ int at(const Outer& p, const Inner& t) const { return this->element(p, t); }
};

// P^T, the left matrix of corner w: a thread keeps taps and walks along the pixels.
template <typename T>
struct PatchColumns : Patches<T> {
    static constexpr bool SUM_FIRST = false;
    typedef typename Patches<T>::Tap Outer;
    typedef typename Patches<T>::Pixel Inner;
    __device__ Outer outer(int index) const { return this->tap(index); }
    __device__ Inner inner(int step) const { return this->pixel(step); }
    __device__ void advance(Inner& p, int by) const { p.j += by, this->place(p); }
    __device__ int at(const Outer& t, const Inner& p) const { return this->element(p, t); }
};

// The weights, stored (O, K, L, C), as the right matrix of corner x: c is outer, (k, l, o) are inner.
template <typename T>
struct TurnedWeights {
    static constexpr bool SUM_FIRST = false;
    const T* array;
    int O, C, L, window;  // window = K * L * C
    Axis down, across;

    typedef int Outer;
    struct Inner { int k, l, o, offset; };

    __device__ void place(Inner& t) const {
        carry(t.o, O, t.l);
        carry(t.l, across.taps, t.k);
        const int k = down.first_tap + t.k * down.tap_step, l = across.first_tap + t.l * across.tap_step;
        t.offset = t.k < down.taps ? t.o * window + (k * L + l) * C : -1;
    }
    __device__ Outer outer(int index) const { return index < C ? index : -1; }
    __device__ Inner inner(int step) const {
        Inner t = {0, 0, step};
        place(t);
        return t;
    }
    __device__ void advance(Inner& t, int by) const { t.o += by, place(t); }
    __device__ int at(Outer c, const Inner& t) const { return c >= 0 && t.offset >= 0 ? t.offset + c : -1; }
};

// A matrix that is stored as it is: the weights in corner y (o outer, (k, l, c) inner, along which it is
// stored) and y in corner w (o outer, along which it is stored, (n, i, j) inner).
template <typename T, bool SUM_FIRST_>
struct Stored {
    static constexpr bool SUM_FIRST = SUM_FIRST_;
    const T* array;
    int outers, steps, line;  // line: from one to the next of those that are not neighbours
    typedef int Outer;
    typedef int Inner;
    __device__ Outer outer(int index) const { return index < outers ? index * (SUM_FIRST ? line : 1) : -1; }
    __device__ Inner inner(int step) const { return step; }
    __device__ void advance(Inner& step, int by) const { step += by; }
    __device__ int at(Outer o, Inner step) const {
        return o >= 0 && step < steps ? o + step * (SUM_FIRST ? 1 : line) : -1;
    }
};

// ----------------------------------------------------------------------------------------------- Corners

// The grid is flat: tiles fastest, then groups, then parts (phases of corner x, slices of corner w).
struct Share { int tile, group, part; };

__device__ inline Share share(int groups, int parts) {
    const int tiles = gridDim.x / (groups * parts), b = blockIdx.x;
    return {b % tiles, b / tiles % groups, b / tiles / groups};
}

// What a block needs to know: its tile, the size of the product, and the steps of the sum it adds.
struct Extent {
    int tile, rows, columns, first, last;
    __device__ int first_row(int tile_rows, int tile_columns) const {
        return tile / ceil_div(columns, tile_columns) * tile_rows;
    }
    __device__ int first_column(int tile_columns) const {
        return tile % ceil_div(columns, tile_columns) * tile_columns;
    }
};

// Corners y and x; result: (N, height, width, stored).
template <typename T, class Right>
struct PixelCorner : Extent {
    PatchRows<T> left;
    Right right;
    T* result;
    int height, width, stored;
    static constexpr bool TOGETHER = true;  // the columns of a row
    // The element in column 0 of a row; the next column lies column_step() further.
    __device__ T* row(int index) const {
        const Axis &down = left.down, &across = left.across;
        const int r = index / across.rows, j = index % across.rows, n = r / down.rows, i = r % down.rows;
        const int h = down.first_pixel + i * down.pixel_step, w = across.first_pixel + j * across.pixel_step;
        return result + ((n * height + h) * width + w) * stored;
    }
    __device__ int column_step() const { return 1; }
};

template <typename T>
__device__ PixelCorner<T, Stored<T, true>> corner_y(
    const T* x, const T* w, T* y, const Windows& s, int N, int C, int O, int groups) {
    const Share me = share(groups, 1);
    const int c = C / groups, o = O / groups, window = s.K * s.L * c;
    const Axis down = axis_y(s.I, s.K, s.H, s.stride_h, s.padding_h, s.dilation_h);
    const Axis across = axis_y(s.J, s.L, s.W, s.stride_w, s.padding_w, s.dilation_w);
    return {{me.tile, N * s.I * s.J, o, 0, window},
            {{x + me.group * c, N, c, C, down, across}},
            {w + me.group * o * window, o, window, window},
            y + me.group * o, s.I, s.J, O};
}

template <typename T>
__device__ PixelCorner<T, TurnedWeights<T>> corner_x(
    const T* w, const T* y, T* x, const Windows& s, int N, int C, int O, int groups) {
    const int across_phases = min(s.stride_w, s.W);
    const Share me = share(groups, min(s.stride_h, s.H) * across_phases);
    const int c = C / groups, o = O / groups, window = s.K * s.L * c;
    const int phase_h = me.part / across_phases, phase_w = me.part % across_phases;
    const Axis down = axis_x(s.H, s.K, s.I, s.stride_h, s.padding_h, s.dilation_h, phase_h);
    const Axis across = axis_x(s.W, s.L, s.J, s.stride_w, s.padding_w, s.dilation_w, phase_w);
    return {{me.tile, N * down.rows * across.rows, c, 0, down.taps * across.taps * o},
            {{y + me.group * o, N, o, O, down, across}},
            {w + me.group * o * window, o, c, s.L, window, down, across},
            x + me.group * c, s.H, s.W, C};
}

// Corner w; partial: (slices, O, K, L, C), with rows (k, l, c) and columns o.
template <typename T>
struct WeightCorner : Extent {
    PatchColumns<T> left;
    Stored<T, false> right;
    T* partial;
    static constexpr bool TOGETHER = false;
    __device__ T* row(int index) const { return partial + index; }
    __device__ int column_step() const { return rows; }
};

template <typename T>
__device__ WeightCorner<T> corner_w(const T* x, const T* y, T* partial, const Windows& s, int N, int C, int O,
                                    int groups, int slices, int slice) {
    const Share me = share(groups, slices);
    const int c = C / groups, o = O / groups, window = s.K * s.L * c, pixels = N * s.I * s.J;
    const Axis down = axis_y(s.I, s.K, s.H, s.stride_h, s.padding_h, s.dilation_h);
    const Axis across = axis_y(s.J, s.L, s.W, s.stride_w, s.padding_w, s.dilation_w);
    return {{me.tile, window, o, me.part * slice, min(pixels, me.part * slice + slice)},
            {{x + me.group * c, N, c, C, down, across}},
            {y + me.group * o, o, pixels, O},
            partial + (me.part * groups + me.group) * o * window};
}

// ----------------------------------------------------------------------------------------- Shared memory

// OUTERS x DEPTH elements of a matrix; PAD shifts each line against the one before to other banks.
template <bool SUM_FIRST, int OUTERS_, int PAD>
struct Tile {
    static constexpr bool ALONG_SUM = SUM_FIRST;
    static constexpr int OUTERS = OUTERS_;
    static constexpr int LINE = (SUM_FIRST ? DEPTH : OUTERS) + PAD;
    static constexpr int SIZE = (SUM_FIRST ? OUTERS : DEPTH) * LINE;
    __device__ static int at(int outer, int step) {
        return SUM_FIRST ? outer * LINE + step : step * LINE + outer;
    }
};

enum How { ONE, PACKS, ASYNC };  // element by element; 16 bytes at once; 16 bytes, without waiting

// Copies tile after tile of a matrix into shared memory, along the sum. Neighbouring threads read what
// lies together in memory: a line of threads along the sum or along the outer index, several lines at once.
template <How HOW, class Shape, class Matrix>
struct Loader {
    static constexpr bool SUM_FIRST = Matrix::SUM_FIRST;
    static constexpr int WIDTH = HOW == ONE ? 1 : HOW == PACKS ? PACK : 4;
    static constexpr int LINE = (SUM_FIRST ? DEPTH : Shape::OUTERS) / WIDTH;
    static constexpr int WANTED = SUM_FIRST ? Shape::OUTERS : DEPTH;
    static constexpr int LINES = THREADS / LINE < WANTED ? THREADS / LINE : WANTED;
    static constexpr int OUTER_STEP = SUM_FIRST ? LINES : Shape::OUTERS, SUM_STEP = SUM_FIRST ? DEPTH : LINES;
    static constexpr int KEPT = Shape::OUTERS / OUTER_STEP;

    const Matrix matrix;  // a copy, by which the compiler needs no more registers than there are
    int outer, step;  // of this thread's first element in the tile
    bool busy;
    typename Matrix::Outer outers[KEPT];
    typename Matrix::Inner inner;

    __device__ Loader(const Matrix& m, int first_outer, int first_step) : matrix(m) {
        const int along = threadIdx.x % LINE * WIDTH;
        int line = threadIdx.x / LINE;
        // Lines along the sum are 20 words long (v7 on). Two that the same wavefront writes would meet in 4 banks, if
        // they were neighbours; 4 lines apart they are 80 words apart, so in different halves of the banks.
        if (Shape::ALONG_SUM) line = line / 8 * 8 + line % 2 * 4 + line / 2 % 4;
        outer = SUM_FIRST ? line : along;
        step = SUM_FIRST ? along : line;
        busy = line < LINES;
#pragma unroll
        for (int o = 0; o < KEPT; o++) outers[o] = matrix.outer(first_outer + outer + o * OUTER_STEP);
        inner = matrix.inner(first_step + step);
    }

    template <typename T>
    __device__ void next(T* tile) {
        if (!busy) return;
#pragma unroll
        for (int s = 0; s < DEPTH; s += SUM_STEP) {
#pragma unroll
            for (int o = 0; o < KEPT; o++) {
                const int from = matrix.at(outers[o], inner);
                copy(tile, outer + o * OUTER_STEP, step + s, matrix.array + max(from, 0), from >= 0);
            }
            matrix.advance(inner, SUM_STEP);
        }
    }

    template <typename T>
    __device__ static void copy(T* tile, int outer, int step, const T* from, bool inside) {
        T* to = tile + Shape::at(outer, step);
        if constexpr (HOW == ONE) {
            *to = inside ? *from : T(0);
        } else if constexpr (HOW == ASYNC) {
            copy_async(to, from, inside);
        } else {
            Pack values = {};
            if (inside) values = load_pack(from);
            if constexpr (!SUM_FIRST) {
                store_pack(to, values);
            } else {  // turned: the pack lies along the sum, the tile's lines along the outer index
#pragma unroll
                for (int e = 0; e < PACK; e++) tile[Shape::at(outer, step + e)] = values.v[e];
            }
        }
    }
};

// ------------------------------------------------------------------------------------- v4: a shared tile

// Each element that the block loads is used by 16 threads. Both tiles have lines along the outer index, 18
// long: a warp that writes along the sum, 16 steps of two rows, uses each bank (18 step + outer) mod 32 once.
template <class Corner, typename T>
__device__ void shared_tile(const Corner& corner, T* memory) {
    typedef Tile<false, 16, 2> Square;
    T *left = memory, *right = memory + Square::SIZE;
    const int first_row = corner.first_row(16, 16), first_column = corner.first_column(16);
    const int row = threadIdx.x / 16, column = threadIdx.x % 16;
    Loader<ONE, Square, decltype(corner.left)> rows(corner.left, first_row, corner.first);
    Loader<ONE, Square, decltype(corner.right)> columns(corner.right, first_column, corner.first);
    T sum = 0;
    for (int step = corner.first; step < corner.last; step += DEPTH) {
        rows.next(left);
        columns.next(right);
        __syncthreads();
#pragma unroll
        for (int s = 0; s < DEPTH; s++) sum += left[Square::at(row, s)] * right[Square::at(column, s)];
        __syncthreads();
    }
    if (first_row + row < corner.rows && first_column + column < corner.columns)
        corner.row(first_row + row)[(first_column + column) * corner.column_step()] = sum;
}

// --------------------------------------------------------------------- v5 and v6: tiles kept in registers

template <int W, typename T>
__device__ void read(T* to, const T* from) {
    if constexpr (W == 1) {
        *to = *from;
    } else {
        const Pack values = load_pack(from);
#pragma unroll
        for (int e = 0; e < W; e++) to[e] = values.v[e];
    }
}

// V neighbouring columns of a row. At once where they lie together and all rows are whole packs: one by one, they
// would fill a part of each sector at a time.
template <int V, class Corner, typename T>
__device__ void write(const Corner& corner, T* row, int column, const T* values) {
    if constexpr (V == PACK && Corner::TOGETHER) {
        if (corner.columns % PACK == 0) {
            Pack pack;
#pragma unroll
            for (int e = 0; e < PACK; e++) pack.v[e] = values[e];
            if (column < corner.columns) store_pack(row + column, pack);
            return;
        }
    }
#pragma unroll
    for (int e = 0; e < V; e++)
        if (column + e < corner.columns) row[(column + e) * corner.column_step()] = values[e];
}

// 16 x 16 threads compute ROWS x COLUMNS results. The r-th row of thread t is r / W * 16 W + t W + r mod W: W
// together, for a read of W at once; neighbouring threads read neighbouring words, so no bank is hit twice.
// Lines end in 2 words (v5, as in v4) or 4 (v6, so that packs stay aligned; turned packs then write to bank
// (4 step + outer) mod 32, steps 0, 4, 8, 12, which hits each bank twice).
template <How HOW, int COLUMNS, class Corner, typename T>
__device__ void register_tile_of(const Corner& corner, T* memory) {
    constexpr int M = ROWS / 16, N = COLUMNS / 16, PAD = HOW == ONE ? 2 : 4;
    constexpr int W = HOW == ONE ? 1 : PACK, V = W < N ? W : N;
    typedef Tile<false, ROWS, PAD> Left;
    typedef Tile<false, COLUMNS, PAD> Right;
    T *left = memory, *right = memory + Left::SIZE;
    const int first_row = corner.first_row(ROWS, COLUMNS), first_column = corner.first_column(COLUMNS);
    const int down = threadIdx.x / 16, across = threadIdx.x % 16;
    Loader<HOW, Left, decltype(corner.left)> rows(corner.left, first_row, corner.first);
    Loader<HOW, Right, decltype(corner.right)> columns(corner.right, first_column, corner.first);
    T sum[M][N] = {};
    for (int step = corner.first; step < corner.last; step += DEPTH) {
        rows.next(left);
        columns.next(right);
        __syncthreads();
#pragma unroll
        for (int s = 0; s < DEPTH; s++) {
            T a[M], b[N];
#pragma unroll
            for (int m = 0; m < M; m += W) read<W>(a + m, left + Left::at(m * 16 + down * W, s));
#pragma unroll
            for (int n = 0; n < N; n += V) read<V>(b + n, right + Right::at(n * 16 + across * V, s));
#pragma unroll
            for (int m = 0; m < M; m++)
#pragma unroll
                for (int n = 0; n < N; n++) sum[m][n] += a[m] * b[n];
        }
        __syncthreads();
    }
#pragma unroll
    for (int m = 0; m < M; m++) {
        const int row = first_row + m / W * 16 * W + down * W + m % W;
        if (row >= corner.rows) continue;
        T* result = corner.row(row);
#pragma unroll
        for (int n = 0; n < N; n += V) {
            const int column = first_column + n / V * 16 * V + across * V;
            write<V>(corner, result, column, sum[m] + n);
        }
    }
}

template <How HOW, class Corner, typename T>
__device__ void register_tile(const Corner& corner, T* memory) {
    if (corner.columns <= NARROW) register_tile_of<HOW, NARROW>(corner, memory);
    else register_tile_of<HOW, WIDE>(corner, memory);
}

constexpr int REGISTER_TILE = DEPTH * (ROWS + 4 + WIDE + 4);  // elements of shared memory

// ------------------------------------------------------------------------------- v7 to v9: tensor cores

// What one warp computes of the block's tile: SIDE x SIDE results, as fragments of 16 x 8.
//
// A tile keeps the order that its matrix has in memory. Fragments are read without bank conflicts: where
// lines run along the sum, they are 20 long, and the rows of a matrix of load_matrices start at banks
// 20 g mod 32 = 0, 20, 8, 28, 16, 4, 24, 12, four words each; where lines run along the outer index, they
// are 136, 72 or 24 long, and lane (g, t) reads bank (8 t + g) mod 32, or (24 t + g) mod 32.
//
// SPLIT (v8, v9): v = big + small, where big is v rounded to TF32, so that small is exact and at most 2^-11
// of v. Then v v' = small big' + big small' + big big' but for small small', at most 2^-22 of it, and for
// what the tensor core cuts off small, 2^-21. It also rounds its sums towards zero, which would drift over
// long ones: so its `part` is added to `sum`, in float32, every 32 steps.
template <bool SPLIT, int COLUMNS, class Corner>
struct WarpTile {
    static constexpr int SIDE = COLUMNS == NARROW ? 16 : 32, M = SIDE / 16;
    static constexpr bool LEFT_SUM = decltype(Corner::left)::SUM_FIRST;
    static constexpr bool RIGHT_SUM = decltype(Corner::right)::SUM_FIRST;
    typedef Tile<LEFT_SUM, ROWS, LEFT_SUM ? 4 : 8> Left;
    typedef Tile<RIGHT_SUM, COLUMNS, RIGHT_SUM ? 4 : 8> Right;
    static_assert(ROWS / SIDE * (COLUMNS / SIDE) * 32 == THREADS, "the warps cover the tile");

    int row, column;  // of this warp's first result in the tile
    float part[M][2 * M][4] = {}, sum[M][2 * M][4] = {};

    __device__ WarpTile() {
        const int warp = threadIdx.x / 32;
        row = warp % (ROWS / SIDE) * SIDE;
        column = warp / (ROWS / SIDE) * SIDE;
    }

    // 16 outer indices x 8 steps, as four 8 x 4 matrices: v[q] of lane (g, t) is the element
    // [outer + g + 8 (q mod 2)][step + t + 4 (q / 2)]. That is one fragment A, or two fragments B.
    template <class Shape, bool SUM_FIRST>
    __device__ static void fragment(float (&v)[4], const float* tile, int outer, int step) {
        const int lane = threadIdx.x % 32;
        if constexpr (SUM_FIRST) {
            load_matrices(v, tile + Shape::at(outer + lane % 16, step + lane / 16 * 4));
        } else {
#pragma unroll
            for (int q = 0; q < 4; q++)
                v[q] = tile[Shape::at(outer + lane / 4 + q % 2 * 8, step + lane % 4 + q / 2 * 4)];
        }
    }

    // v becomes its big part; small is what is left.
    __device__ static void split(float (&v)[4], float (&small)[4]) {
#pragma unroll
        for (int q = 0; q < 4; q++) {
            const float big = round_tf32(v[q]);
            small[q] = v[q] - big;
            v[q] = big;
        }
    }

    __device__ void multiply(const float* left, const float* right) {
#pragma unroll
        for (int s = 0; s < DEPTH; s += 8) {
            float a[2][M][4], b[2][M][4];  // [0]: big parts, [1]: small parts
#pragma unroll
            for (int m = 0; m < M; m++) {
                fragment<Left, LEFT_SUM>(a[0][m], left, row + m * 16, s);
                fragment<Right, RIGHT_SUM>(b[0][m], right, column + m * 16, s);
                split(a[0][m], a[1][m]);
                split(b[0][m], b[1][m]);
            }
#pragma unroll
            for (int term = SPLIT ? 0 : 2; term < 3; term++)  // small * big, big * small, big * big
#pragma unroll
                for (int m = 0; m < M; m++)
#pragma unroll
                    for (int n = 0; n < 2 * M; n++) {
                        const float(&v)[4] = b[term == 1][n / 2];
                        const float side[2] = {v[n % 2], v[n % 2 + 2]};
                        mma_tf32(part[m][n], a[term == 0][m], side);
                    }
        }
    }

    __device__ void promote() {
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int n = 0; n < 2 * M; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    sum[m][n][e] += part[m][n][e];
                    part[m][n][e] = 0;
                }
    }

    __device__ void store(const Corner& corner, int first_row, int first_column) const {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
        bool finite = true;
#pragma unroll
        for (int r = 0; r < 2 * M; r++) {  // rows, 8 apart
            const int at_row = first_row + row + r * 8 + g;
            if (at_row >= corner.rows) continue;
            float* result = corner.row(at_row);
#pragma unroll
            for (int n = 0; n < 4 * M; n++) {
                const int at_column = first_column + column + n / 2 * 8 + 2 * t + n % 2;
                if (at_column >= corner.columns) continue;
                const float value = sum[r / 2][n / 2][r % 2 * 2 + n % 2];
                result[at_column * corner.column_step()] = value;
                finite = finite && value - value == 0;
            }
        }
        if (SPLIT && !finite) repair(corner, first_row + row + g, first_column + column + 2 * t);
    }

    // Split, inf leaves inf - inf = NaN. So what is not finite is computed again, in plain float32: a network
    // full of NaNs is slow.
    __device__ static void repair(const Corner& corner, int first_row, int first_column) {
#pragma unroll 1
        for (int index = 0; index < 8 * M * M; index++) {
            const int row = first_row + index / (4 * M) * 8, n = index % (4 * M);
            const int column = first_column + n / 2 * 8 + n % 2;
            if (row >= corner.rows || column >= corner.columns) continue;
            float& result = corner.row(row)[column * corner.column_step()];
            if (result - result == 0) continue;
            const auto o = corner.left.outer(row);
            const auto p = corner.right.outer(column);
            auto s = corner.left.inner(corner.first);
            auto t = corner.right.inner(corner.first);
            float sum = 0;
#pragma unroll 1
            for (int step = corner.first; step < corner.last; step++) {
                const int a = corner.left.at(o, s), b = corner.right.at(p, t);
                if (a >= 0 && b >= 0) sum += corner.left.array[a] * corner.right.array[b];
                corner.left.advance(s, 1);
                corner.right.advance(t, 1);
            }
            result = sum;
        }
    }
};

constexpr int PROMOTE = 32 / DEPTH;                       // tiles between two promotions
constexpr int STAGES = 3;                                 // tiles in flight (v9)
constexpr int STAGE = (ROWS + WIDE) * (DEPTH + 4);        // floats of shared memory for a pair of tiles

template <How HOW, bool SPLIT, int COLUMNS, class Corner>
__device__ void tensor_tile_of(const Corner& corner, float* memory) {
    typedef WarpTile<SPLIT, COLUMNS, Corner> Warp;
    typedef typename Warp::Left Left;
    typedef typename Warp::Right Right;
    const int first_row = corner.first_row(ROWS, COLUMNS), first_column = corner.first_column(COLUMNS);
    Loader<HOW, Left, decltype(corner.left)> rows(corner.left, first_row, corner.first);
    Loader<HOW, Right, decltype(corner.right)> columns(corner.right, first_column, corner.first);
    const int tiles = ceil_div(corner.last - corner.first, DEPTH);
    Warp warp;
    if constexpr (HOW == ONE) {
        for (int tile = 0; tile < tiles; tile++) {
            rows.next(memory);
            columns.next(memory + Left::SIZE);
            __syncthreads();
            warp.multiply(memory, memory + Left::SIZE);
            if (SPLIT && tile % PROMOTE == PROMOTE - 1) warp.promote();
            __syncthreads();
        }
    } else {
        // Tile after tile goes round STAGES places. A group is committed for each, even past the end, so that
        // "all but STAGES - 2 groups are there" always means the tile that is next.
        const auto fetch = [&](int tile) {
            float* stage = memory + tile % STAGES * STAGE;
            if (tile < tiles) {
                rows.next(stage);
                columns.next(stage + Left::SIZE);
            }
            commit_copies();
        };
        for (int tile = 0; tile < STAGES - 1; tile++) fetch(tile);
        for (int tile = 0; tile < tiles; tile++) {
            wait_copies<STAGES - 2>();
            __syncthreads();  // this tile is there for all; the one before is done with, so its place is free
            fetch(tile + STAGES - 1);
            const float* stage = memory + tile % STAGES * STAGE;
            warp.multiply(stage, stage + Left::SIZE);
            if (tile % PROMOTE == PROMOTE - 1) warp.promote();
        }
    }
    warp.promote();
    warp.store(corner, first_row, first_column);
}

template <How HOW, bool SPLIT, class Corner>
__device__ void tensor_tile(const Corner& corner, float* memory) {
    if (corner.columns <= NARROW) tensor_tile_of<HOW, SPLIT, NARROW>(corner, memory);
    else tensor_tile_of<HOW, SPLIT, WIDE>(corner, memory);
}

// ------------------------------------------------------------------------------ The kernels of corner y

extern "C" __global__ void __launch_bounds__(256) conv2d_y_v1_naive(
    const real* __restrict__ x, const real* __restrict__ w, real* __restrict__ y,
    Windows windows, int N, int C, int O, int groups) {
    const Windows& s = windows;
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= N * O * s.I * s.J) return;
    const int j = index % s.J, i = index / s.J % s.I, o = index / s.J / s.I % O, n = index / s.J / s.I / O;
    const int c_group = C / groups, first_c = o / (O / groups) * c_group;
    real sum = 0;
    for (int c = 0; c < c_group; c++)
        for (int k = 0; k < s.K; k++)
            for (int l = 0; l < s.L; l++) {
                const int h = i * s.stride_h + k * s.dilation_h - s.padding_h;
                const int v = j * s.stride_w + l * s.dilation_w - s.padding_w;
                if (h >= 0 && h < s.H && v >= 0 && v < s.W)
                    sum += x[((n * C + first_c + c) * s.H + h) * s.W + v]
                         * w[((o * c_group + c) * s.K + k) * s.L + l];
            }
    y[index] = sum;
}

// Changes: a block of 16 x 16 threads shares a tile of P and one of w in shared memory.
extern "C" __global__ void __launch_bounds__(256) conv2d_y_v4_shared_tile(
    NHWC const real* __restrict__ x, NHWC const real* __restrict__ w, NHWC real* __restrict__ y,
    Windows windows, int N, int C, int O, int groups) {
    __align__(16) __shared__ real memory[2 * Tile<false, 16, 2>::SIZE];
    shared_tile(corner_y(x, w, y, windows, N, C, O, groups), memory);
}

// Changes: a thread computes 8 x 4 results, and uses each element that it reads 4 or 8 times.
extern "C" __global__ void __launch_bounds__(256) conv2d_y_v5_register_tile(
    NHWC const real* __restrict__ x, NHWC const real* __restrict__ w, NHWC real* __restrict__ y,
    Windows windows, int N, int C, int O, int groups) {
    __align__(16) __shared__ real memory[REGISTER_TILE];
    register_tile<ONE>(corner_y(x, w, y, windows, N, C, O, groups), memory);
}

// Changes: 16 bytes per load, along the channels.
extern "C" __global__ void __launch_bounds__(256) conv2d_y_v6_vectorised(
    NHWC const real* __restrict__ x, NHWC const real* __restrict__ w, NHWC real* __restrict__ y,
    Windows windows, int N, int C, int O, int groups) {
    __align__(16) __shared__ real memory[REGISTER_TILE];
    register_tile<PACKS>(corner_y(x, w, y, windows, N, C, O, groups), memory);
}

// Changes: tensor cores multiply, with inputs rounded to TF32.
extern "C" __global__ void __launch_bounds__(256) conv2d_y_v7_tf32(
    NHWC const float* __restrict__ x, NHWC const float* __restrict__ w, NHWC float* __restrict__ y,
    Windows windows, int N, int C, int O, int groups) {
    __align__(16) __shared__ float memory[STAGE];
    tensor_tile<ONE, false>(corner_y(x, w, y, windows, N, C, O, groups), memory);
}

// Changes: three products of TF32 parts, close to float32.
extern "C" __global__ void __launch_bounds__(256) conv2d_y_v8_tf32x3(
    NHWC const float* __restrict__ x, NHWC const float* __restrict__ w, NHWC float* __restrict__ y,
    Windows windows, int N, int C, int O, int groups) {
    __align__(16) __shared__ float memory[STAGE];
    tensor_tile<ONE, true>(corner_y(x, w, y, windows, N, C, O, groups), memory);
}

// Blocks to fit onto a multiprocessor (see minidl.cuh). 0 leaves it to the compiler, which on sm_80 alone would
// keep a number in memory.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 800
constexpr int FITTING = 2;
#else
constexpr int FITTING = 0;
#endif

// Changes: tiles are copied two steps ahead, while the tensor cores work.
extern "C" __global__ void __launch_bounds__(256, FITTING) conv2d_y_v9_tf32x3_async(
    NHWC const float* __restrict__ x, NHWC const float* __restrict__ w, NHWC float* __restrict__ y,
    Windows windows, int N, int C, int O, int groups) {
    __align__(16) __shared__ float memory[STAGES * STAGE];
    tensor_tile<ASYNC, true>(corner_y(x, w, y, windows, N, C, O, groups), memory);
}

// ------------------------------------------------------------------------------ The kernels of corner x

extern "C" __global__ void __launch_bounds__(256) conv2d_x_v1_naive(
    const real* __restrict__ w, const real* __restrict__ y, real* __restrict__ x,
    Windows windows, int N, int C, int O, int groups) {
    const Windows& s = windows;
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= N * C * s.H * s.W) return;
    const int v = index % s.W, h = index / s.W % s.H, c = index / s.W / s.H % C, n = index / s.W / s.H / C;
    const int c_group = C / groups, o_group = O / groups, first_o = c / c_group * o_group;
    real sum = 0;
    for (int o = first_o; o < first_o + o_group; o++)
        for (int k = 0; k < s.K; k++)
            for (int l = 0; l < s.L; l++) {
                // Which window has its tap (k, l) on this pixel, if any.
                const int top = h + s.padding_h - k * s.dilation_h, i = top / s.stride_h;
                const int left = v + s.padding_w - l * s.dilation_w, j = left / s.stride_w;
                if (top < 0 || top % s.stride_h != 0 || i >= s.I) continue;
                if (left < 0 || left % s.stride_w != 0 || j >= s.J) continue;
                sum += w[((o * c_group + c % c_group) * s.K + k) * s.L + l]
                     * y[((n * O + o) * s.I + i) * s.J + j];
            }
    x[index] = sum;
}

// Changes: a block of 16 x 16 threads, in one phase, shares a tile of P' and one of w.
extern "C" __global__ void __launch_bounds__(256) conv2d_x_v4_shared_tile(
    NHWC const real* __restrict__ w, NHWC const real* __restrict__ y, NHWC real* __restrict__ x,
    Windows windows, int N, int C, int O, int groups) {
    __align__(16) __shared__ real memory[2 * Tile<false, 16, 2>::SIZE];
    shared_tile(corner_x(w, y, x, windows, N, C, O, groups), memory);
}

// Changes: 8 x 4 results per thread.
extern "C" __global__ void __launch_bounds__(256) conv2d_x_v5_register_tile(
    NHWC const real* __restrict__ w, NHWC const real* __restrict__ y, NHWC real* __restrict__ x,
    Windows windows, int N, int C, int O, int groups) {
    __align__(16) __shared__ real memory[REGISTER_TILE];
    register_tile<ONE>(corner_x(w, y, x, windows, N, C, O, groups), memory);
}

// Changes: 16 bytes per load, along o in y and along c in w.
extern "C" __global__ void __launch_bounds__(256) conv2d_x_v6_vectorised(
    NHWC const real* __restrict__ w, NHWC const real* __restrict__ y, NHWC real* __restrict__ x,
    Windows windows, int N, int C, int O, int groups) {
    __align__(16) __shared__ real memory[REGISTER_TILE];
    register_tile<PACKS>(corner_x(w, y, x, windows, N, C, O, groups), memory);
}

// Changes: tensor cores, inputs rounded to TF32.
extern "C" __global__ void __launch_bounds__(256) conv2d_x_v7_tf32(
    NHWC const float* __restrict__ w, NHWC const float* __restrict__ y, NHWC float* __restrict__ x,
    Windows windows, int N, int C, int O, int groups) {
    __align__(16) __shared__ float memory[STAGE];
    tensor_tile<ONE, false>(corner_x(w, y, x, windows, N, C, O, groups), memory);
}

// Changes: three products of TF32 parts, close to float32.
extern "C" __global__ void __launch_bounds__(256) conv2d_x_v8_tf32x3(
    NHWC const float* __restrict__ w, NHWC const float* __restrict__ y, NHWC float* __restrict__ x,
    Windows windows, int N, int C, int O, int groups) {
    __align__(16) __shared__ float memory[STAGE];
    tensor_tile<ONE, true>(corner_x(w, y, x, windows, N, C, O, groups), memory);
}

// Changes: tiles are copied two steps ahead.
extern "C" __global__ void __launch_bounds__(256) conv2d_x_v9_tf32x3_async(
    NHWC const float* __restrict__ w, NHWC const float* __restrict__ y, NHWC float* __restrict__ x,
    Windows windows, int N, int C, int O, int groups) {
    __align__(16) __shared__ float memory[STAGES * STAGE];
    tensor_tile<ASYNC, true>(corner_x(w, y, x, windows, N, C, O, groups), memory);
}

// ------------------------------------------------------------------------------ The kernels of corner w

extern "C" __global__ void __launch_bounds__(256) conv2d_w_v1_naive(
    const real* __restrict__ x, const real* __restrict__ y, real* __restrict__ w,
    Windows windows, int N, int C, int O, int groups) {
    const Windows& s = windows;
    const int index = blockIdx.x * blockDim.x + threadIdx.x, c_group = C / groups;
    if (index >= O * c_group * s.K * s.L) return;
    const int l = index % s.L, k = index / s.L % s.K;
    const int c = index / s.L / s.K % c_group, o = index / s.L / s.K / c_group;
    const int first_c = o / (O / groups) * c_group;
    real sum = 0;
    for (int n = 0; n < N; n++)
        for (int i = 0; i < s.I; i++)
            for (int j = 0; j < s.J; j++) {
                const int h = i * s.stride_h + k * s.dilation_h - s.padding_h;
                const int v = j * s.stride_w + l * s.dilation_w - s.padding_w;
                if (h >= 0 && h < s.H && v >= 0 && v < s.W)
                    sum += x[((n * C + first_c + c) * s.H + h) * s.W + v]
                         * y[((n * O + o) * s.I + i) * s.J + j];
            }
    w[index] = sum;
}

// From v4 on, the slices' results: w[o, c, k, l] = sum over s of partial[s, o, k, l, c], in the order of s.
extern "C" __global__ void __launch_bounds__(256) conv2d_w_add_slices(
    const real* __restrict__ partial, real* __restrict__ w, int slices, int O, int C, int taps) {
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= O * C * taps) return;
    const int tap = index % taps, c = index / taps % C, o = index / taps / C;
    real sum = 0;
    for (int s = 0; s < slices; s++) sum += partial[((s * O + o) * taps + tap) * C + c];
    w[index] = sum;
}

// Changes: a block of 16 x 16 threads shares tiles of P and y; the pixels are cut into slices.
extern "C" __global__ void __launch_bounds__(256, 4) conv2d_w_v4_shared_tile(
    NHWC const real* __restrict__ x, NHWC const real* __restrict__ y, real* __restrict__ partial,
    Windows windows, int N, int C, int O, int groups, int slices, int slice) {
    __align__(16) __shared__ real memory[2 * Tile<false, 16, 2>::SIZE];
    shared_tile(corner_w(x, y, partial, windows, N, C, O, groups, slices, slice), memory);
}

// Changes: 8 x 4 results per thread.
extern "C" __global__ void __launch_bounds__(256) conv2d_w_v5_register_tile(
    NHWC const real* __restrict__ x, NHWC const real* __restrict__ y, real* __restrict__ partial,
    Windows windows, int N, int C, int O, int groups, int slices, int slice) {
    __align__(16) __shared__ real memory[REGISTER_TILE];
    register_tile<ONE>(corner_w(x, y, partial, windows, N, C, O, groups, slices, slice), memory);
}

// Changes: 16 bytes per load, along c in x and along o in y.
extern "C" __global__ void __launch_bounds__(256) conv2d_w_v6_vectorised(
    NHWC const real* __restrict__ x, NHWC const real* __restrict__ y, real* __restrict__ partial,
    Windows windows, int N, int C, int O, int groups, int slices, int slice) {
    __align__(16) __shared__ real memory[REGISTER_TILE];
    register_tile<PACKS>(corner_w(x, y, partial, windows, N, C, O, groups, slices, slice), memory);
}

// Changes: tensor cores, inputs rounded to TF32.
extern "C" __global__ void __launch_bounds__(256) conv2d_w_v7_tf32(
    NHWC const float* __restrict__ x, NHWC const float* __restrict__ y, float* __restrict__ partial,
    Windows windows, int N, int C, int O, int groups, int slices, int slice) {
    __align__(16) __shared__ float memory[STAGE];
    tensor_tile<ONE, false>(corner_w(x, y, partial, windows, N, C, O, groups, slices, slice), memory);
}

// Changes: three products of TF32 parts, close to float32.
extern "C" __global__ void __launch_bounds__(256) conv2d_w_v8_tf32x3(
    NHWC const float* __restrict__ x, NHWC const float* __restrict__ y, float* __restrict__ partial,
    Windows windows, int N, int C, int O, int groups, int slices, int slice) {
    __align__(16) __shared__ float memory[STAGE];
    tensor_tile<ONE, true>(corner_w(x, y, partial, windows, N, C, O, groups, slices, slice), memory);
}

// Changes: tiles are copied two steps ahead.
extern "C" __global__ void __launch_bounds__(256) conv2d_w_v9_tf32x3_async(
    NHWC const float* __restrict__ x, NHWC const float* __restrict__ y, float* __restrict__ partial,
    Windows windows, int N, int C, int O, int groups, int slices, int slice) {
    __align__(16) __shared__ float memory[STAGES * STAGE];
    tensor_tile<ASYNC, true>(corner_w(x, y, partial, windows, N, C, O, groups, slices, slice), memory);
}
