// Products of matrices by packs of columns, for threads that never meet.
//
//     result[row, column] = sum over step of  left[row, step] * right[step, column]
//
// A thread takes some packs of columns side by side and some rows below each other. It copies a piece of the right
// matrix, these columns for some steps, into memory of its own, where packs lie one behind the other whatever the
// matrix lies like. That piece stays in the nearest cache while the rows pass, a few at a time, whose sums are in
// registers:
//
//     for each piece:   copy it
//         for each few rows:   for each step:   load the packs of the piece;   each row:  sum += left[row, step] * packs
//                              result += sum
//
// Adding up in pieces also keeps long sums exact. Their order depends on the number of steps alone.
#pragma once
#include "tiles.cuh"
#include "turn.cuh"

#ifdef MINIDL_NATIVE
constexpr int DEEP = 64;         // steps of a piece, at most: a multiple of any machine's LANES
constexpr bool ANYWHERE = true;  // whether packs may begin at any number
#else
constexpr int DEEP = 16;
constexpr bool ANYWHERE = false;
#endif

// A matrix as it is stored. It has an outer index (a row of the result for the left one, a column for the right one)
// and an inner index, the step of the sum; one of them has neighbours in memory.
struct Matrix {
    const real* array;
    int outers, to_outer, to_step;  // how many; from one to the next

    __device__ const real* at(int outer, int step) const { return array + outer * to_outer + step * to_step; }
};

// The n-th of several that lie one behind the other. `by_steps`: the outer indices of a step are neighbours in memory,
// otherwise the steps of an outer index are.
__device__ inline Matrix matrix(const real* array, int n, int outers, int steps, bool by_steps) {
    array += (int64)n * outers * steps;
    if (by_steps) return {array, outers, 1, outers};
    return {array, outers, steps, 1};
}

struct Product {
    Matrix left, right;
    real* result;
    int steps;
};

// Copies columns from `column` on, steps `first` and following, into packs; zeros behind the last column.
template <int P>
COMPILED_ONCE void copy_piece(const Matrix& right, int column, int first, int steps, real* piece) {
    const int count = right.outers - column;
    const real* from = right.at(column, first);
    if (right.to_outer == 1) {
        for (int step = 0; step < steps; step++)
            store_numbers(piece + step * P, load_some<P>(from + step * right.to_step, count));
        return;
    }
    for (int c = 0; c < P; c += LANES)
        for (int step = 0; step < steps; step += LANES) {
            Lanes block[LANES];
            if (ANYWHERE && c + LANES <= count && step + LANES <= steps) {
                UNROLLED for (int e = 0; e < LANES; e++) block[e] = load_lanes(from + (c + e) * right.to_outer + step);
            } else {
                UNROLLED for (int e = 0; e < LANES; e++)
                    block[e] = load_some_lanes(from + (c + e) * right.to_outer + step, c + e < count ? steps - step : 0);
            }
            turn(block);
            UNROLLED for (int e = 0; e < LANES; e++) store_lanes(piece + (step + e) * P + c, block[e]);
        }
}

// Packs of the right matrix for some steps of the sum, `line` numbers from one step to the next.
struct Piece {
    const real* packs;
    int line, first, steps;
};

// Adds what a piece gives to M rows of the result after M others, or begins them with it.
template <int M, int PACKS>
COMPILED_ONCE void add_rows(const Product& p, const Piece& piece, int first_row, int last_row, int column) {
    constexpr int P = PACKS * LANES;
    const int columns = p.right.outers, count = columns - column, step = p.left.to_step, end = piece.steps * step;
    const bool whole = count >= P && (ANYWHERE || columns % LANES == 0);
    for (int row = first_row; row < last_row; row += M) {
        const real* from[M];  // behind the last row the last one again, in vain
        Numbers<P> sum[M];
        UNROLLED for (int m = 0; m < M; m++) {
            from[m] = p.left.at(min(row + m, last_row - 1), piece.first);
            sum[m] = numbers<P>(0);
        }
        const real* packs = piece.packs;
        for (int at = 0; at < end; at += step, packs += piece.line) {
            const Numbers<P> b = load_numbers<P>(packs);
            UNROLLED for (int m = 0; m < M; m++) multiply_add(sum[m], from[m][at], b);
        }
        real* to = p.result + row * columns + column;
        UNROLLED for (int m = 0; m < M; m++, to += columns) {
            if (row + m >= last_row) break;
            if (whole) {
                if (piece.first) add_to(sum[m], load_numbers<P>(to));
                store_numbers(to, sum[m]);
            } else {
                if (piece.first) add_to(sum[m], load_some<P>(to, count));
                store_some(to, sum[m], count);
            }
        }
    }
}

template <int PACKS>
__device__ __forceinline__ void multiply(const Product& p, int row, int last, int column) {
    constexpr int P = PACKS * LANES, M = rows_of(PACKS), HALF = (M + 1) / 2;
    // Rows that pass but once would not make up for a copy.
    const bool copied = !ANYWHERE || last - row > M || p.right.to_outer > 1 || p.right.outers - column < P;
    const int halves = (last - row) % M, whole = 0 < halves && halves <= HALF ? last - halves : last;
    __align__(64) real copy[DEEP * P];
    for (int first = 0; first < p.steps; first += DEEP) {
        const int steps = min(DEEP, p.steps - first);
        if (copied) copy_piece<P>(p.right, column, first, steps, copy);
        const Piece piece = {copied ? copy : p.right.at(column, first), copied ? P : p.right.to_step, first, steps};
        add_rows<M, PACKS>(p, piece, row, whole, column);
        add_rows<HALF, PACKS>(p, piece, whole, last, column);
    }
}

// What a thread computes: of the n-th product, some rows and some packs of columns, at most `widest`; these are dealt
// out evenly, and threads with the same rows are neighbours.
struct Share {
    int n, row, last, pack, packs;

    __device__ Share(int t, int rows, int columns, int each, int widest) {
        const int ranges = ceil_div(rows, each), all = ceil_div(columns, LANES), panels = ceil_div(all, widest);
        const int panel = t % panels;
        row = t / panels % ranges * each, n = t / panels / ranges;
        pack = (int64)all * panel / panels, packs = (int64)all * (panel + 1) / panels - pack;
        last = min(row + each, rows);
    }
};

__device__ __forceinline__ void multiply(const Product& p, const Share& s) {
    const int column = s.pack * LANES;
    if (s.row >= s.last) return;
    if (s.packs == 1) return multiply<1>(p, s.row, s.last, column);
    if (s.packs == 2) return multiply<2>(p, s.row, s.last, column);
    if constexpr (WIDEST > 2) {
        if (s.packs == 3) return multiply<3>(p, s.row, s.last, column);
        multiply<WIDEST>(p, s.row, s.last, column);
    }
}
