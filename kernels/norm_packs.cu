// Normalising by packs: the rung of norm.cu between the formula and a block per statistic, and the CPU's own.
//
// x is seen as (N, A, B, P) here, with one statistic for each n and b: that also holds what lies channels last and
// has statistics per image. Threads never meet. So each finds the moments of a cell, a part of a statistic's values;
// then a thread for each statistic joins its cells, in their order; then each thread writes its cell of y. Where a
// cell is all of a statistic, one launch does it.
//
//     columns     packs lie side by side along (B, P): a cell is `length` rows of a column. P columns share a
//                 statistic (the channels of a group), or P = 1.
//     rows        packs lie along what is summed: a cell is `length` neighbours, or what is left of a run of them
//
// A cell has one weight. The exception is a layer's norm, whose weights lie along the sum: a cell is a whole row then.
//
// The derivative goes the same way. The sums of its cells are also the gradients of weight and bias, once the
// launcher has added up those of each channel.
//
// rung          idea it adds                                                      measured
// v2_packs      several threads per statistic, without a barrier                  not yet
#include "affine.cuh"
#include "parts.cuh"

constexpr int CHUNK = 32;  // rows of columns that are read twice while they are in the cache

struct Cut {
    int N, A, B, P;
    int run;            // of neighbours that have one statistic and, unless `along`, one weight
    int parts, length;  // of A where packs lie in columns, else of a run
    int columns, along;
};

struct View : Cut {
    __device__ View(const Cut& cut) : Cut(cut) {}
    __device__ int line() const { return B * P; }
    __device__ int values() const { return A * P; }
    __device__ int size() const { return N * A * B * P; }
    __device__ int statistics() const { return N * B; }
    __device__ int strips() const { return ceil_div(line(), WIDEST * LANES); }
    __device__ int cells() const { return columns ? N * parts * line() : size() / run * parts; }
    __device__ int threads() const { return columns ? N * parts * strips() : cells(); }
};

// A cell's numbers, or those of a statistic. Of x: the mean, and the sum of centred squares; of a gradient: its sum,
// and that of its products with hat.
struct Pair {
    real one, two;
};

template <int PACKS>
struct Pairs {
    Lanes one[PACKS], two[PACKS];
};

// ---------------------------------------------------------------------------------------------------- Columns

// The cell of thread t: rows `first` to `first + rows - 1` of image n, and a strip of columns.
struct Strip {
    int strip, part, n, place, rows;  // place: of the first row's first column
    __device__ Strip(const View& v, int t) {
        strip = t % v.strips(), part = t / v.strips() % v.parts, n = t / v.strips() / v.parts;
        const int first = part * v.length;
        rows = min(v.length, v.A - first);
        place = (n * v.A + first) * v.line();
    }
};

template <bool WHOLE>
__device__ __forceinline__ Lanes get(const real* from, const Part& part, const real* end) {
    return WHOLE ? load_lanes(from) : load_part(from, part, end);
}

template <bool WHOLE>
__device__ __forceinline__ void put(real* to, const Lanes& a, const Part& part) {
    if (WHOLE) store_lanes(to, a);
    else store_part(to, a, part, to);
}

// Has the columns of a strip done by task.take<PACKS, WHOLE>(column), as many packs at a time as there are.
template <class Task>
__device__ __forceinline__ void each_column(const View& v, const Strip& s, const Task& task) {
    const int line = v.line(), last = min(line, (s.strip + 1) * WIDEST * LANES);
    for (int j = s.strip * WIDEST * LANES; j < last;) {
        if constexpr (WIDEST == 4) {
            if (j + 4 * LANES <= last) { task.template take<4, true>(j), j += 4 * LANES; continue; }
            if (j + 2 * LANES <= last) { task.template take<2, true>(j), j += 2 * LANES; continue; }
        }
        if (Part(line, j).whole) task.template take<1, true>(j);
        else task.template take<1, false>(j);
        j += LANES;
    }
}

// The moments of some rows of columns. A chunk at a time: its mean, then the squares around that; chunks are joined
// as in norm.cu, where nothing cancels either.
template <int PACKS, bool WHOLE>
COMPILED_ONCE Pairs<PACKS> column_moments(const real* x, const real* end, int line, int rows, int column) {
    const Part part(line, column);
    Pairs<PACKS> all;
    UNROLLED for (int i = 0; i < PACKS; i++) all.one[i] = all.two[i] = all_lanes(0);
    for (int first = 0; first < rows; first += CHUNK) {
        const int count = min(CHUNK, rows - first);
        const real* from = x + first * line;
        Lanes mean[PACKS], squares[PACKS];
        UNROLLED for (int i = 0; i < PACKS; i++) mean[i] = squares[i] = all_lanes(0);
        for (int r = 0; r < count; r++)
            UNROLLED for (int i = 0; i < PACKS; i++)
                mean[i] = add(mean[i], get<WHOLE>(from + r * line + i * LANES, part, end));
        UNROLLED for (int i = 0; i < PACKS; i++) mean[i] = scale(mean[i], real(1) / count);
        for (int r = 0; r < count; r++)
            UNROLLED for (int i = 0; i < PACKS; i++) {
                const Lanes off = subtract(get<WHOLE>(from + r * line + i * LANES, part, end), mean[i]);
                multiply_add(squares[i], off, off);
            }
        const real share = real(count) / (first + count);
        UNROLLED for (int i = 0; i < PACKS; i++) {
            const Lanes off = subtract(mean[i], all.one[i]);
            multiply_add(all.one[i], share, off);
            multiply_add(squares[i], scale(off, share * first), off);
            all.two[i] = add(all.two[i], squares[i]);
        }
    }
    return all;
}

// What the sums and the gradient of columns are made of.
struct Columns {
    const real *grad, *x, *end_grad, *end_x;
    int line, rows;
};

template <int PACKS, bool WHOLE>
COMPILED_ONCE Pairs<PACKS> column_sums(const Columns& c, const Pairs<PACKS>& known, int column) {
    const Part part(c.line, column);
    Pairs<PACKS> sum;
    UNROLLED for (int i = 0; i < PACKS; i++) sum.one[i] = sum.two[i] = all_lanes(0);
    for (int r = 0; r < c.rows; r++)
        UNROLLED for (int i = 0; i < PACKS; i++) {
            const int at = r * c.line + i * LANES;
            const Lanes g = get<WHOLE>(c.grad + at, part, c.end_grad);
            sum.one[i] = add(sum.one[i], g);
            multiply_add(sum.two[i], g, subtract(get<WHOLE>(c.x + at, part, c.end_x), known.one[i]));
        }
    UNROLLED for (int i = 0; i < PACKS; i++) sum.two[i] = multiply(sum.two[i], known.two[i]);
    return sum;
}

// The statistics of columns: numbers (N, B), of which P neighbouring columns have one.
template <int PACKS, bool WHOLE>
__device__ __forceinline__ void statistics(Lanes* to, const View& v, const real* numbers, int n, int column) {
    const Part part(v.line(), column);
    numbers += n * v.B;
    UNROLLED for (int i = 0; i < PACKS; i++) {
        const int j = column + i * LANES;
        if (v.P == 1) to[i] = get<WHOLE>(numbers + j, part, numbers + v.B);
        else to[i] = lanes_of([&](int e) { return numbers[min(j + e, v.line() - 1) / v.P]; });
    }
}

// ------------------------------------------------------------------------------------------------------- Rows

// The cell t: `count` neighbours from `place` on, of run number t / parts.
struct Row {
    int place, count, statistic;
    int packed;  // of them, those that are moved in packs: on a GPU these must be aligned
    __device__ Row(const View& v, int t) {
        const int run = t / v.parts, first = t % v.parts * v.length, row = run / (v.P / v.run);
        place = run * v.run + first;
        count = min(v.length, v.run - first);
        statistic = row / v.B / v.A * v.B + row % v.B;
#ifdef MINIDL_NATIVE
        packed = count / LANES * LANES;
#else
        packed = v.run % LANES == 0 ? count / LANES * LANES : 0;
#endif
    }
    __device__ int first_weight(const View& v) const { return place % v.P; }  // of those that lie along the sum
};

// Calls packs(i, slot) for the packs at i, with slots that take turns, and ones(i) for the numbers that are left.
constexpr int SLOTS = 4;

template <class Packs, class Ones>
__device__ __forceinline__ void along(const Row& row, Packs packs, Ones ones) {
    int i = 0;
    for (; i + SLOTS * LANES <= row.packed; i += SLOTS * LANES)
        UNROLLED for (int slot = 0; slot < SLOTS; slot++) packs(i + slot * LANES, slot);
    for (; i < row.packed; i += LANES) packs(i, 0);
    for (; i < row.count; i++) ones(i);
}

// Sums in slots, so that one addition need not wait for the last one.
struct Sum {
    Lanes slots[SLOTS];
    real rest;
    __device__ __forceinline__ Sum() : rest(0) {
        UNROLLED for (int slot = 0; slot < SLOTS; slot++) slots[slot] = all_lanes(0);
    }
    __device__ __forceinline__ real all() const {
        return total(add(add(slots[0], slots[1]), add(slots[2], slots[3]))) + rest;
    }
};

COMPILED_ONCE Pair row_moments(const real* all, const Row& row) {
    const real* x = all + row.place;
    Sum sum, squares;
    along(row, [&](int i, int slot) { sum.slots[slot] = add(sum.slots[slot], load_lanes(x + i)); },
          [&](int i) { sum.rest += x[i]; });
    const real mean = sum.all() / row.count;
    along(row, [&](int i, int slot) {
        const Lanes off = subtract(load_lanes(x + i), all_lanes(mean));
        multiply_add(squares.slots[slot], off, off);
    }, [&](int i) { squares.rest += (x[i] - mean) * (x[i] - mean); });
    return {mean, squares.all()};
}

// weight: null where all of the row has one.
COMPILED_ONCE Pair row_sums(const Row& row, const real* grad, const real* x, const real* weight, real mean,
                            real inverse) {
    Sum shift, stretch;
    along(row, [&](int i, int slot) {
        const Lanes g = weight ? multiply(load_lanes(grad + i), load_lanes(weight + i)) : load_lanes(grad + i);
        shift.slots[slot] = add(shift.slots[slot], g);
        multiply_add(stretch.slots[slot], g, subtract(load_lanes(x + i), all_lanes(mean)));
    }, [&](int i) {
        const real g = weight ? grad[i] * weight[i] : grad[i];
        shift.rest += g;
        stretch.rest += g * (x[i] - mean);
    });
    return {shift.all(), stretch.all() * inverse};
}

// ---------------------------------------------------------------------------------------------------- Joining

// Calls body(cell, count) for each cell of statistic b of image n, with the count of its values, in their order.
template <class Body>
__device__ __forceinline__ void each_cell(const View& v, int t, Body body) {
    const int X = v.columns ? v.parts : v.A, Y = v.columns ? v.P : v.P / v.run * v.parts;
    const int axis = v.columns ? v.A : v.run, n = t / v.B, b = t % v.B;
    for (int i = 0; i < X; i++)
        for (int j = 0; j < Y; j++) {
            const int part = v.columns ? i : j % v.parts;
            body(((n * X + i) * v.B + b) * Y + j, min(v.length, axis - part * v.length));
        }
}

// The weight of a cell.
__device__ __forceinline__ real weight_of(const View& v, const Turns& turns, const real* weight, int cell) {
    return weight[v.columns ? cell % v.line() : turn_of(turns, cell / v.parts * v.run)];
}

// ------------------------------------------------------------------------------- The kernels of normalize

// Keeps the numbers of a strip's cells in partial, (2, cells).
template <int PACKS, bool WHOLE>
__device__ __forceinline__ void keep(real* partial, const View& v, const Strip& s, int column,
                                     const Pairs<PACKS>& found) {
    const Part part(v.line(), column);
    partial += (s.n * v.parts + s.part) * v.line() + column;
    UNROLLED for (int i = 0; i < PACKS; i++) {
        put<WHOLE>(partial + i * LANES, found.one[i], part);
        put<WHOLE>(partial + v.cells() + i * LANES, found.two[i], part);
    }
}

struct MomentsOfColumns {
    const View& v;
    const Strip& s;
    const real* x;
    real* partial;

    template <int PACKS, bool WHOLE>
    __device__ __forceinline__ void take(int j) const {
        const Pairs<PACKS> found = column_moments<PACKS, WHOLE>(x + s.place + j, x + v.size(), v.line(), s.rows, j);
        keep<PACKS, WHOLE>(partial, v, s, j, found);
    }
};

extern "C" __global__ void __launch_bounds__(256, 2) normalize_packs_cells(
    const real* __restrict__ x, real* __restrict__ partial, Cut cut) {
    const View v(cut);
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= v.threads()) return;
    if (v.columns) {
        const Strip s(v, t);
        return each_column(v, s, MomentsOfColumns{v, s, x, partial});
    }
    const Row row(v, t);
    const Pair found = row_moments(x, row);
    partial[t] = found.one, partial[v.cells() + t] = found.two;
}

extern "C" __global__ void __launch_bounds__(256, 2) normalize_packs_join(
    const real* __restrict__ partial, real* __restrict__ mean, real* __restrict__ inverse, Cut cut, real eps) {
    const View v(cut);
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= v.statistics()) return;
    real sum = 0, squares = 0;
    each_cell(v, t, [&](int cell, int count) { sum += count * partial[cell]; });
    const real all = sum / v.values();
    each_cell(v, t, [&](int cell, int count) {
        const real off = partial[cell] - all;
        squares += partial[v.cells() + cell] + count * (off * off);
    });
    mean[t] = all, inverse[t] = 1 / sqrt(squares / v.values() + eps);
}

struct Norm {
    const real *x, *weight, *bias;
    real *y, *mean, *inverse;
    Turns turns;
    int single;  // whether a cell is all of a statistic, which nobody has found yet
    real eps;
};

struct NormalizedColumns {
    const View& v;
    const Strip& s;
    const Norm& f;

    template <int PACKS, bool WHOLE>
    __device__ __forceinline__ void take(int j) const {
        const int line = v.line();
        const Part part(line, j);
        const real *from = f.x + s.place + j, *end = f.x + v.size();
        real* to = f.y + s.place + j;
        Lanes mean[PACKS], slope[PACKS], bias[PACKS];
        if (f.single) {
            const Pairs<PACKS> found = column_moments<PACKS, WHOLE>(from, end, line, s.rows, j);
            UNROLLED for (int i = 0; i < PACKS; i++) {
                mean[i] = found.one[i];
                slope[i] = lanes_of([&](int e) { return 1 / sqrt(lane(found.two[i], e) / v.A + f.eps); });
                put<WHOLE>(f.mean + s.n * line + j + i * LANES, mean[i], part);
                put<WHOLE>(f.inverse + s.n * line + j + i * LANES, slope[i], part);
            }
        } else {
            statistics<PACKS, WHOLE>(mean, v, f.mean, s.n, j);
            statistics<PACKS, WHOLE>(slope, v, f.inverse, s.n, j);
        }
        UNROLLED for (int i = 0; i < PACKS; i++) {
            slope[i] = multiply(slope[i], get<WHOLE>(f.weight + j + i * LANES, part, f.weight + line));
            bias[i] = get<WHOLE>(f.bias + j + i * LANES, part, f.bias + line);
        }
        for (int r = 0; r < s.rows; r++)
            UNROLLED for (int i = 0; i < PACKS; i++) {
                const int at = r * line + i * LANES;
                Lanes result = bias[i];
                multiply_add(result, subtract(get<WHOLE>(from + at, part, end), mean[i]), slope[i]);
                put<WHOLE>(to + at, result, part);
            }
    }
};

__device__ __forceinline__ void write_row(const View& v, const Row& row, const Norm& f) {
    const real mean = f.mean[row.statistic], inverse = f.inverse[row.statistic];
    const real *x = f.x + row.place, *weight = f.weight + row.first_weight(v), *bias = f.bias + row.first_weight(v);
    real* y = f.y + row.place;
    if (v.along)
        return along(row, [&](int i, int) {
            Lanes result = load_lanes(bias + i);
            multiply_add(result, scale(subtract(load_lanes(x + i), all_lanes(mean)), inverse), load_lanes(weight + i));
            store_lanes(y + i, result);
        }, [&](int i) { y[i] = (x[i] - mean) * inverse * weight[i] + bias[i]; });
    const int turn = turn_of(f.turns, row.place);
    const real slope = inverse * f.weight[turn], shift = f.bias[turn];
    along(row, [&](int i, int) {
        Lanes result = all_lanes(shift);
        multiply_add(result, slope, subtract(load_lanes(x + i), all_lanes(mean)));
        store_lanes(y + i, result);
    }, [&](int i) { y[i] = (x[i] - mean) * slope + shift; });
}

// Changes: several threads share a statistic, each with packs of neighbours. First they find the moments of cells
// (normalize_packs_cells), then one of them joins these (normalize_packs_join); this writes y.
extern "C" __global__ void __launch_bounds__(256, 2) normalize_v2_packs(
    const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ bias, real* __restrict__ y,
    real* __restrict__ mean, real* __restrict__ inverse, Cut cut, Turns turns, int single, real eps) {
    const View v(cut);
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= v.threads()) return;
    if (v.columns) {
        const Strip s(v, t);
        return each_column(v, s, NormalizedColumns{v, s, {x, weight, bias, y, mean, inverse, turns, single, eps}});
    }
    const Row row(v, t);
    if (single) {
        const Pair found = row_moments(x, row);
        mean[row.statistic] = found.one, inverse[row.statistic] = 1 / sqrt(found.two / row.count + eps);
    }
    write_row(v, row, {x, weight, bias, y, mean, inverse, turns, single, eps});
}

// ---------------------------------------------------------------------- The kernels of normalize_adjoint

struct Known {
    const real *grad, *x, *mean, *inverse, *weight;
    Turns turns;

    __device__ Columns columns(const View& v, const Strip& s, int j) const {
        return {grad + s.place + j, x + s.place + j, grad + v.size(), x + v.size(), v.line(), s.rows};
    }
    __device__ Pair sums(const View& v, const Row& row) const {
        return row_sums(row, grad + row.place, x + row.place, v.along ? weight + row.first_weight(v) : nullptr,
                        mean[row.statistic], inverse[row.statistic]);
    }
};

struct SumsOfColumns {
    const View& v;
    const Strip& s;
    const Known& f;
    real* partial;

    template <int PACKS, bool WHOLE>
    __device__ __forceinline__ void take(int j) const {
        Pairs<PACKS> known;
        statistics<PACKS, WHOLE>(known.one, v, f.mean, s.n, j);
        statistics<PACKS, WHOLE>(known.two, v, f.inverse, s.n, j);
        keep<PACKS, WHOLE>(partial, v, s, j, column_sums<PACKS, WHOLE>(f.columns(v, s, j), known, j));
    }
};

extern "C" __global__ void __launch_bounds__(256, 2) normalize_adjoint_packs_cells(
    const real* __restrict__ grad, const real* __restrict__ x, const real* __restrict__ mean,
    const real* __restrict__ inverse, const real* __restrict__ weight, real* __restrict__ partial, Cut cut,
    Turns turns) {
    const View v(cut);
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= v.threads()) return;
    const Known known = {grad, x, mean, inverse, weight, turns};
    if (v.columns) {
        const Strip s(v, t);
        return each_column(v, s, SumsOfColumns{v, s, known, partial});
    }
    const Pair found = known.sums(v, Row(v, t));
    partial[t] = found.one, partial[v.cells() + t] = found.two;
}

// sums: (2, statistics), of what is weighted.
extern "C" __global__ void __launch_bounds__(256, 2) normalize_adjoint_packs_join(
    const real* __restrict__ partial, const real* __restrict__ weight, real* __restrict__ sums, Cut cut,
    Turns turns) {
    const View v(cut);
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= v.statistics()) return;
    real shift = 0, stretch = 0;
    each_cell(v, t, [&](int cell, int) {
        const real w = weight_of(v, turns, weight, cell);
        shift += w * partial[cell];
        stretch += w * partial[v.cells() + cell];
    });
    sums[t] = shift, sums[v.statistics() + t] = stretch;
}

struct GradientOfColumns {
    const View& v;
    const Strip& s;
    const Known& f;
    real *sums, *grad_x;
    int single;

    template <int PACKS, bool WHOLE>
    __device__ __forceinline__ void take(int j) const {
        const int line = v.line();
        const Part part(line, j);
        const Columns c = f.columns(v, s, j);
        Pairs<PACKS> known, sum;
        Lanes slope[PACKS];
        statistics<PACKS, WHOLE>(known.one, v, f.mean, s.n, j);
        statistics<PACKS, WHOLE>(known.two, v, f.inverse, s.n, j);
        UNROLLED for (int i = 0; i < PACKS; i++) slope[i] = get<WHOLE>(f.weight + j + i * LANES, part, f.weight + line);
        if (single) {
            sum = column_sums<PACKS, WHOLE>(c, known, j);
            keep<PACKS, WHOLE>(sums, v, s, j, sum);
            UNROLLED for (int i = 0; i < PACKS; i++)
                sum.one[i] = multiply(sum.one[i], slope[i]), sum.two[i] = multiply(sum.two[i], slope[i]);
        } else {
            statistics<PACKS, WHOLE>(sum.one, v, sums, s.n, j);
            statistics<PACKS, WHOLE>(sum.two, v, sums + v.statistics(), s.n, j);
        }
        // grad_x = grad * slope + (x - mean) * tilt + level
        Lanes tilt[PACKS], level[PACKS];
        UNROLLED for (int i = 0; i < PACKS; i++) {
            const Lanes share = scale(known.two[i], real(-1) / v.values());
            slope[i] = multiply(slope[i], known.two[i]);
            level[i] = multiply(sum.one[i], share);
            tilt[i] = multiply(multiply(sum.two[i], share), known.two[i]);
        }
        real* to = grad_x + s.place + j;
        for (int r = 0; r < s.rows; r++)
            UNROLLED for (int i = 0; i < PACKS; i++) {
                const int at = r * line + i * LANES;
                Lanes result = level[i];
                multiply_add(result, get<WHOLE>(c.grad + at, part, c.end_grad), slope[i]);
                multiply_add(result, subtract(get<WHOLE>(c.x + at, part, c.end_x), known.one[i]), tilt[i]);
                put<WHOLE>(to + at, result, part);
            }
    }
};

__device__ __forceinline__ void write_gradient(const View& v, const Row& row, const Known& f, const Pair& sum,
                                               real* grad_x) {
    const real mean = f.mean[row.statistic], inverse = f.inverse[row.statistic];
    const real level = -sum.one / v.values() * inverse, tilt = -sum.two / v.values() * inverse * inverse;
    const real *grad = f.grad + row.place, *x = f.x + row.place, *weight = f.weight + row.first_weight(v);
    const real slope = v.along ? inverse : inverse * f.weight[turn_of(f.turns, row.place)];
    real* to = grad_x + row.place;
    along(row, [&](int i, int) {
        Lanes result = all_lanes(level);
        multiply_add(result, tilt, subtract(load_lanes(x + i), all_lanes(mean)));
        if (v.along) multiply_add(result, scale(load_lanes(grad + i), slope), load_lanes(weight + i));
        else multiply_add(result, slope, load_lanes(grad + i));
        store_lanes(to + i, result);
    }, [&](int i) {
        const real g = v.along ? grad[i] * weight[i] : grad[i];
        to[i] = g * slope + (x[i] - mean) * tilt + level;
    });
}

// Changes: several threads share a statistic: sums of cells (normalize_adjoint_packs_cells), which are joined
// (normalize_adjoint_packs_join); then this writes the gradient. sums: those of statistics; with `single`, they are
// found here, and kept as the cells'.
extern "C" __global__ void __launch_bounds__(256, 2) normalize_adjoint_v2_packs(
    const real* __restrict__ grad, const real* __restrict__ x, const real* __restrict__ mean,
    const real* __restrict__ inverse, const real* __restrict__ weight, real* __restrict__ sums,
    real* __restrict__ grad_x, Cut cut, Turns turns, int single) {
    const View v(cut);
    const int t = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= v.threads()) return;
    const Known known = {grad, x, mean, inverse, weight, turns};
    if (v.columns) {
        const Strip s(v, t);
        return each_column(v, s, GradientOfColumns{v, s, known, sums, grad_x, single});
    }
    const Row row(v, t);
    if (!single) return write_gradient(v, row, known, {sums[row.statistic], sums[v.statistics() + row.statistic]}, grad_x);
    const Pair found = known.sums(v, row);
    const real w = v.along ? 1 : weight_of(v, turns, weight, t);  // along: they have been weighted one by one
    sums[t] = found.one, sums[v.cells() + t] = found.two;
    write_gradient(v, row, known, {found.one * w, found.two * w}, grad_x);
}

// The same for layers, whose weights lie along the sum, with their gradients: each thread takes `each` rows, and adds
// up what these have for each weight and bias, in partial, (2, threads, P).
extern "C" __global__ void __launch_bounds__(256, 1) normalize_adjoint_packs_layers(
    const real* __restrict__ grad, const real* __restrict__ x, const real* __restrict__ mean,
    const real* __restrict__ inverse, const real* __restrict__ weight, real* __restrict__ partial,
    real* __restrict__ grad_x, Cut cut, Turns turns, int each) {
    const View v(cut);
    const int t = blockIdx.x * blockDim.x + threadIdx.x, threads = ceil_div(v.B, each);
    if (t >= threads) return;
    const Known known = {grad, x, mean, inverse, weight, turns};
    real *bias_sum = partial + t * v.P, *weight_sum = partial + (threads + t) * v.P;
    for (int b = t * each; b < min(v.B, (t + 1) * each); b++) {
        const Row row(v, b);
        const bool begun = b > t * each;
        const real *arrived = grad + row.place, *values = x + row.place;
        write_gradient(v, row, known, known.sums(v, row), grad_x);
        along(row, [&](int i, int) {
            const Lanes g = load_lanes(arrived + i);
            Lanes sum = begun ? load_lanes(weight_sum + i) : all_lanes(0);
            multiply_add(sum, scale(subtract(load_lanes(values + i), all_lanes(mean[b])), inverse[b]), g);
            store_lanes(weight_sum + i, sum);
            store_lanes(bias_sum + i, begun ? add(load_lanes(bias_sum + i), g) : g);
        }, [&](int i) {
            const real product = arrived[i] * ((values[i] - mean[b]) * inverse[b]);
            weight_sum[i] = begun ? weight_sum[i] + product : product;
            bias_sum[i] = begun ? bias_sum[i] + arrived[i] : arrived[i];
        });
    }
}
