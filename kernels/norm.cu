// Normalising: mean 0 and variance 1 over some axes of x, and the derivative of it.
//
// x is seen as (A, B, P), with one mean and one variance for each b, over all a and p:
//
//     batch norm      (N, C, H W)             one statistic per channel
//     instance norm   (1, N C, H W)           per image and channel
//     layer norm      (1, N, C H W)           per image
//     group norm      (1, N groups, ...)      per image and group of channels
//
//     normalize            mean[b] = sum over a, p of x[a, b, p] / M            M = A * P
//                          squares[b] = sum over a, p of (x[a, b, p] - mean[b])^2
//                          inverse[b] = 1 / sqrt(squares[b] / M + eps)
//                          y = hat * weight + bias             hat[a, b, p] = (x[a, b, p] - mean[b]) * inverse[b]
//
//     normalize_adjoint    g = grad * weight
//                          shift[b]   = sum over a, p of g[a, b, p] / M
//                          stretch[b] = sum over a, p of g[a, b, p] * hat[a, b, p] / M
//                          grad_x[a, b, p] = inverse[b]
//                                          * (g[a, b, p] - shift[b] - hat[a, b, p] * stretch[b])
//
// weight and bias are found by the place in memory (affine.cuh): per channel, or per element of a layer. hat is
// computed anew from x, as y alone does not tell it where a weight is 0.
//
// Why x is read twice for its statistics: sum(x^2) / M - mean^2 needs it once, but is a small difference of
// large numbers where the mean is large against the deviation. In float32, which has 24 bits, a mean of 4000
// deviations leaves nothing of the variance, which may even come out negative. Centred squares have no such
// trouble, and the second reading mostly comes from the cache.
//
// Sums are kept in `real`, in float32 for float32 arrays, as the reference does. From v3 on a thread adds few
// of the M numbers, and the rest is a tree (block_sum): roundings grow with those few, not with M.
// Each sum is made in an order that A, B and P decide: results are the same bit for bit on each run.
//
// Rung v2_packs is that of the CPU, too: norm_packs.cu. Those above need threads that meet.
//
// rung          idea it adds                                                      measured
// v1_naive      the formula, one thread per statistic                             not yet
// v3_block      one block per statistic                                           not yet
// v4_wide       16 bytes per load                                                 not yet
// v5_split      several blocks per statistic, whose results are put together      not yet
// v6_columns    P = 1: a warp reads 32 neighbouring statistics side by side       not yet
#include "affine.cuh"
#include "minidl.cuh"
#include "warp.cuh"

struct View {
    int A, B, P;
    __device__ int values() const { return A * P; }  // M, those of one statistic
};

// ------------------------------------------------------------------------------------------------- Teams
//
// A team is the threads that work on one statistic b. sum(v) gives each of them the sum over the team, and
// all threads of the block must call it.

// The whole block. The grid is flat: statistics fastest, then parts.
struct Block {
    typedef real Memory[32];
    real* memory;
    int b, part, rank, size;
    __device__ Block(Memory& shared, int B)
        : memory(shared), b(blockIdx.x % B), part(blockIdx.x / B), rank(threadIdx.x), size(blockDim.x) {}
    __device__ real sum(real v) const { return block_sum(v, memory); }
};

// 8 threads, one of each warp: the lanes of a warp belong to 32 teams. So the block has 32 columns, and
// where P = 1 those are neighbours in memory. Threads whose column lies past the end have no work.
struct Columns {
    typedef real Memory[8 * 32];
    real* memory;
    int b, part, rank, size;
    __device__ Columns(Memory& shared, int B) : memory(shared), rank(threadIdx.x / 32), size(8) {
        const int tiles = ceil_div(B, 32);
        b = blockIdx.x % tiles * 32 + threadIdx.x % 32;
        part = blockIdx.x / tiles;
    }
    __device__ real sum(real v) const {
        const int column = threadIdx.x % 32;
        __syncthreads();  // the numbers of the previous sum have been read
        memory[rank * 32 + column] = v;
        __syncthreads();
        real total = 0;
        for (int r = 0; r < size; r++) total += memory[r * 32 + column];
        return total;
    }
};

// -------------------------------------------------------------------------------------- Walking along x

// Calls body(at) for this thread's share of values first to last - 1 of the team's statistic, in groups of
// W that lie together: at, ..., at + W - 1. Value k is that of a = k / P, p = k % P; the next group of a
// thread is a fixed step on, so a and p are counted on and never divided for. The number of rounds is known
// before the first, so that the compiler can start the loads of several at once.
template <int W, class Team, class Body>
__device__ void for_each(const View& x, const Team& team, int first, int last, Body body) {
    constexpr int AT_ONCE = W == 1 ? 4 : 2;
    if (team.b >= x.B) return;
    const int groups = x.P / W, step_a = team.size / groups, step_p = team.size % groups;
    const int k = first / W + team.rank, rounds = (last / W - k + team.size - 1) / team.size;
    int a = k / groups, p = k % groups;
#pragma unroll AT_ONCE
    for (int round = 0; round < rounds; round++) {
        body(((a * x.B + team.b) * groups + p) * W);
        a += step_a;
        p += step_p;
        if (p >= groups) p -= groups, a++;
    }
}

template <int W>
struct Group {
    real v[W];
};

template <int W>
__device__ Group<W> load(const real* from) {
    Group<W> group;
    if constexpr (W == 1) {
        group.v[0] = *from;
    } else {
        const Pack pack = load_pack(from);
#pragma unroll
        for (int e = 0; e < W; e++) group.v[e] = pack.v[e];
    }
    return group;
}

template <int W>
__device__ void store(real* to, const Group<W>& group) {
    if constexpr (W == 1) {
        *to = group.v[0];
    } else {
        Pack pack;
#pragma unroll
        for (int e = 0; e < W; e++) pack.v[e] = group.v[e];
        store_pack(to, pack);
    }
}

// -------------------------------------------------------------------------------------------- Statistics

// Of x: its mean, and the sum of its centred squares. Of a gradient: its sum, and that of grad * y.
struct Pair {
    real one, two;
};

// What the derivative is computed from.
struct Known {
    const real *grad, *x, *mean, *inverse, *weight;
    Turns turns;
    __device__ real mean_of(const View& view, int b) const { return b < view.B ? mean[b] : real(0); }
    __device__ real inverse_of(const View& view, int b) const { return b < view.B ? inverse[b] : real(0); }
};

template <int W, class Team>
__device__ Pair moments(const real* x, const View& view, const Team& team, int first, int last) {
    real sum = 0, squares = 0;
    for_each<W>(view, team, first, last, [&](int at) {
        const Group<W> values = load<W>(x + at);
#pragma unroll
        for (int e = 0; e < W; e++) sum += values.v[e];
    });
    const real mean = team.sum(sum) / (last - first);
    for_each<W>(view, team, first, last, [&](int at) {
        const Group<W> values = load<W>(x + at);
#pragma unroll
        for (int e = 0; e < W; e++) {
            const real centred = values.v[e] - mean;
            squares += centred * centred;
        }
    });
    return {mean, team.sum(squares)};
}

template <int W, class Team>
__device__ Pair sums(const Known& known, const View& view, const Team& team, int first, int last) {
    const real mean = known.mean_of(view, team.b), inverse = known.inverse_of(view, team.b);
    real shift = 0, stretch = 0;
    for_each<W>(view, team, first, last, [&](int at) {
        const Group<W> grad = load<W>(known.grad + at), x = load<W>(known.x + at);
#pragma unroll
        for (int e = 0; e < W; e++) {
            const real g = grad.v[e] * known.weight[turn_of(known.turns, at + e)];
            shift += g;
            stretch += g * ((x.v[e] - mean) * inverse);
        }
    });
    return {team.sum(shift), team.sum(stretch)};
}

// Values of a statistic that are one block's: `length` from part * length on, fewer in the last part.
struct Part {
    int first, last;
    __device__ Part(const View& view, int part, int length)
        : first(part * length), last(min(view.values(), part * length + length)) {}
    __device__ int count() const { return last - first; }
};

// partial: (2, parts, B).
template <class Team>
__device__ void keep(real* partial, const Pair& pair, const View& view, const Team& team, int parts) {
    if (team.rank > 0 || team.b >= view.B) return;
    partial[team.part * view.B + team.b] = pair.one;
    partial[(parts + team.part) * view.B + team.b] = pair.two;
}

// The moments of all from those of the parts (Chan, Golub & LeVeque 1979, "Updating formulae and a pairwise
// algorithm for computing sample variances"): the mean of the means, each weighted by its count, and
//
//     squares = sum over parts of   squares[part] + count[part] * (mean[part] - mean)^2
//
// in which nothing cancels. Each block does this anew, in the same order: it is a handful of numbers.
template <class Team>
__device__ Pair all_moments(const real* partial, const View& view, const Team& team, int parts, int length) {
    const int own_parts = team.b < view.B ? parts : 0;
    real sum = 0, squares = 0;
    for (int k = team.rank; k < own_parts; k += team.size)
        sum += Part(view, k, length).count() * partial[k * view.B + team.b];
    const real mean = team.sum(sum) / view.values();
    for (int k = team.rank; k < own_parts; k += team.size) {
        const real off = partial[k * view.B + team.b] - mean;
        squares += partial[(parts + k) * view.B + team.b] + Part(view, k, length).count() * (off * off);
    }
    return {mean, team.sum(squares)};
}

template <class Team>
__device__ Pair all_sums(const real* partial, const View& view, const Team& team, int parts) {
    const int own_parts = team.b < view.B ? parts : 0;
    real shift = 0, stretch = 0;
    for (int k = team.rank; k < own_parts; k += team.size) {
        shift += partial[k * view.B + team.b];
        stretch += partial[(parts + k) * view.B + team.b];
    }
    return {team.sum(shift), team.sum(stretch)};
}

// --------------------------------------------------------------------------------------- Writing results

// What y is made of, and where it goes.
struct Output {
    const real *x, *weight, *bias;
    real *y, *mean, *inverse;
    Turns turns;
    real eps;
};

template <int W, class Team>
__device__ void write_y(const Output& to, const Pair& moments, const View& view, const Team& team, int first,
                        int last) {
    const real mean = moments.one, inverse = 1 / sqrt(moments.two / view.values() + to.eps);
    if (team.part == 0 && team.rank == 0 && team.b < view.B) to.mean[team.b] = mean, to.inverse[team.b] = inverse;
    for_each<W>(view, team, first, last, [&](int at) {
        Group<W> values = load<W>(to.x + at);
#pragma unroll
        for (int e = 0; e < W; e++) {
            const int turn = turn_of(to.turns, at + e);
            values.v[e] = (values.v[e] - mean) * inverse * to.weight[turn] + to.bias[turn];
        }
        store<W>(to.y + at, values);
    });
}

template <int W, class Team>
__device__ void write_grad_x(const Known& known, real* grad_x, const Pair& sums, const View& view, const Team& team,
                             int first, int last) {
    const real shift = sums.one / view.values(), stretch = sums.two / view.values();
    const real mean = known.mean_of(view, team.b), inverse = known.inverse_of(view, team.b);
    for_each<W>(view, team, first, last, [&](int at) {
        Group<W> grad = load<W>(known.grad + at);
        const Group<W> x = load<W>(known.x + at);
#pragma unroll
        for (int e = 0; e < W; e++) {
            const real g = grad.v[e] * known.weight[turn_of(known.turns, at + e)];
            grad.v[e] = (g - shift - (x.v[e] - mean) * inverse * stretch) * inverse;
        }
        store<W>(grad_x + at, grad);
    });
}

// ------------------------------------------------------------------------------ The kernels of normalize

extern "C" __global__ void __launch_bounds__(256) normalize_v1_naive(
    const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ bias, real* __restrict__ y,
    real* __restrict__ mean, real* __restrict__ inverse, int A, int B, int P, Turns turns, real eps) {
    const int b = blockIdx.x * blockDim.x + threadIdx.x;
    if (b >= B) return;
    real sum = 0, squares = 0;
    for (int a = 0; a < A; a++)
        for (int p = 0; p < P; p++) sum += x[(a * B + b) * P + p];
    mean[b] = sum / (A * P);
    for (int a = 0; a < A; a++)
        for (int p = 0; p < P; p++) {
            const real centred = x[(a * B + b) * P + p] - mean[b];
            squares += centred * centred;
        }
    inverse[b] = 1 / sqrt(squares / (A * P) + eps);
    for (int a = 0; a < A; a++)
        for (int p = 0; p < P; p++) {
            const int at = (a * B + b) * P + p, turn = turn_of(turns, at);
            y[at] = (x[at] - mean[b]) * inverse[b] * weight[turn] + bias[turn];
        }
}

// Changes: a block works on one statistic, and its threads read side by side.
extern "C" __global__ void __launch_bounds__(256) normalize_v3_block(
    const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ bias, real* __restrict__ y,
    real* __restrict__ mean, real* __restrict__ inverse, int A, int B, int P, Turns turns, real eps) {
    __shared__ Block::Memory memory;
    const View view = {A, B, P};
    const Output to = {x, weight, bias, y, mean, inverse, turns, eps};
    const Block team(memory, B);
    const Pair pair = moments<1>(x, view, team, 0, A * P);
    write_y<1>(to, pair, view, team, 0, A * P);
}

// Changes: 16 bytes per load.
extern "C" __global__ void __launch_bounds__(256) normalize_v4_wide(
    const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ bias, real* __restrict__ y,
    real* __restrict__ mean, real* __restrict__ inverse, int A, int B, int P, Turns turns, real eps) {
    __shared__ Block::Memory memory;
    const View view = {A, B, P};
    const Output to = {x, weight, bias, y, mean, inverse, turns, eps};
    const Block team(memory, B);
    const Pair pair = moments<PACK>(x, view, team, 0, A * P);
    write_y<PACK>(to, pair, view, team, 0, A * P);
}

// Changes: several blocks share a statistic, so that few channels still fill the GPU. First, each block finds
// the moments of its part of the values ...
extern "C" __global__ void __launch_bounds__(256) normalize_moments(
    const real* __restrict__ x, real* __restrict__ partial, int A, int B, int P, int parts, int length) {
    __shared__ Block::Memory memory;
    const View view = {A, B, P};
    const Block team(memory, B);
    const Part mine(view, team.part, length);
    const Pair pair = P % PACK == 0 ? moments<PACK>(x, view, team, mine.first, mine.last)
                                    : moments<1>(x, view, team, mine.first, mine.last);
    keep(partial, pair, view, team, parts);
}

// ... then, knowing those of all parts, it normalises its own.
extern "C" __global__ void __launch_bounds__(256) normalize_v5_split(
    const real* __restrict__ x, const real* __restrict__ partial, const real* __restrict__ weight,
    const real* __restrict__ bias, real* __restrict__ y, real* __restrict__ mean, real* __restrict__ inverse, int A,
    int B, int P, int parts, int length, Turns turns, real eps) {
    __shared__ Block::Memory memory;
    const View view = {A, B, P};
    const Output to = {x, weight, bias, y, mean, inverse, turns, eps};
    const Block team(memory, B);
    const Part mine(view, team.part, length);
    const Pair pair = all_moments(partial, view, team, parts, length);
    if (P % PACK == 0) write_y<PACK>(to, pair, view, team, mine.first, mine.last);
    else write_y<1>(to, pair, view, team, mine.first, mine.last);
}

// Changes: a warp reads 32 statistics side by side; v5 would fetch 32 bytes for each 4 that it uses.
extern "C" __global__ void __launch_bounds__(256) normalize_column_moments(
    const real* __restrict__ x, real* __restrict__ partial, int A, int B, int parts, int length) {
    __shared__ Columns::Memory memory;
    const View view = {A, B, 1};
    const Columns team(memory, B);
    const Part mine(view, team.part, length);
    keep(partial, moments<1>(x, view, team, mine.first, mine.last), view, team, parts);
}

extern "C" __global__ void __launch_bounds__(256) normalize_v6_columns(
    const real* __restrict__ x, const real* __restrict__ partial, const real* __restrict__ weight,
    const real* __restrict__ bias, real* __restrict__ y, real* __restrict__ mean, real* __restrict__ inverse, int A,
    int B, int parts, int length, Turns turns, real eps) {
    __shared__ Columns::Memory memory;
    const View view = {A, B, 1};
    const Output to = {x, weight, bias, y, mean, inverse, turns, eps};
    const Columns team(memory, B);
    const Part mine(view, team.part, length);
    const Pair pair = all_moments(partial, view, team, parts, length);
    write_y<1>(to, pair, view, team, mine.first, mine.last);
}

// ---------------------------------------------------------------------- The kernels of normalize_adjoint

extern "C" __global__ void __launch_bounds__(256) normalize_adjoint_v1_naive(
    const real* __restrict__ grad, const real* __restrict__ x, const real* __restrict__ mean,
    const real* __restrict__ inverse, const real* __restrict__ weight, real* __restrict__ grad_x, int A, int B,
    int P, Turns turns) {
    const int b = blockIdx.x * blockDim.x + threadIdx.x;
    if (b >= B) return;
    real shift = 0, stretch = 0;
    for (int a = 0; a < A; a++)
        for (int p = 0; p < P; p++) {
            const int at = (a * B + b) * P + p;
            const real g = grad[at] * weight[turn_of(turns, at)];
            shift += g;
            stretch += g * ((x[at] - mean[b]) * inverse[b]);
        }
    shift /= A * P;
    stretch /= A * P;
    for (int a = 0; a < A; a++)
        for (int p = 0; p < P; p++) {
            const int at = (a * B + b) * P + p;
            const real g = grad[at] * weight[turn_of(turns, at)], hat = (x[at] - mean[b]) * inverse[b];
            grad_x[at] = (g - shift - hat * stretch) * inverse[b];
        }
}

// Changes: a block works on one statistic, and its threads read side by side.
extern "C" __global__ void __launch_bounds__(256) normalize_adjoint_v3_block(
    const real* __restrict__ grad, const real* __restrict__ x, const real* __restrict__ mean,
    const real* __restrict__ inverse, const real* __restrict__ weight, real* __restrict__ grad_x, int A, int B,
    int P, Turns turns) {
    __shared__ Block::Memory memory;
    const View view = {A, B, P};
    const Known known = {grad, x, mean, inverse, weight, turns};
    const Block team(memory, B);
    const Pair pair = sums<1>(known, view, team, 0, A * P);
    write_grad_x<1>(known, grad_x, pair, view, team, 0, A * P);
}

// Changes: 16 bytes per load.
extern "C" __global__ void __launch_bounds__(256) normalize_adjoint_v4_wide(
    const real* __restrict__ grad, const real* __restrict__ x, const real* __restrict__ mean,
    const real* __restrict__ inverse, const real* __restrict__ weight, real* __restrict__ grad_x, int A, int B,
    int P, Turns turns) {
    __shared__ Block::Memory memory;
    const View view = {A, B, P};
    const Known known = {grad, x, mean, inverse, weight, turns};
    const Block team(memory, B);
    const Pair pair = sums<PACK>(known, view, team, 0, A * P);
    write_grad_x<PACK>(known, grad_x, pair, view, team, 0, A * P);
}

// Changes: several blocks share a statistic: each sums its part of the values ...
extern "C" __global__ void __launch_bounds__(256) normalize_adjoint_sums(
    const real* __restrict__ grad, const real* __restrict__ x, const real* __restrict__ mean,
    const real* __restrict__ inverse, const real* __restrict__ weight, real* __restrict__ partial, int A, int B,
    int P, int parts, int length, Turns turns) {
    __shared__ Block::Memory memory;
    const View view = {A, B, P};
    const Known known = {grad, x, mean, inverse, weight, turns};
    const Block team(memory, B);
    const Part mine(view, team.part, length);
    const Pair pair = P % PACK == 0 ? sums<PACK>(known, view, team, mine.first, mine.last)
                                    : sums<1>(known, view, team, mine.first, mine.last);
    keep(partial, pair, view, team, parts);
}

// ... then, knowing the sums of all parts, writes the gradient of its own.
extern "C" __global__ void __launch_bounds__(256) normalize_adjoint_v5_split(
    const real* __restrict__ grad, const real* __restrict__ x, const real* __restrict__ mean,
    const real* __restrict__ inverse, const real* __restrict__ weight, const real* __restrict__ partial,
    real* __restrict__ grad_x, int A, int B, int P, int parts, int length, Turns turns) {
    __shared__ Block::Memory memory;
    const View view = {A, B, P};
    const Known known = {grad, x, mean, inverse, weight, turns};
    const Block team(memory, B);
    const Part mine(view, team.part, length);
    const Pair pair = all_sums(partial, view, team, parts);
    if (P % PACK == 0) write_grad_x<PACK>(known, grad_x, pair, view, team, mine.first, mine.last);
    else write_grad_x<1>(known, grad_x, pair, view, team, mine.first, mine.last);
}

// Changes: a warp reads 32 statistics side by side.
extern "C" __global__ void __launch_bounds__(256) normalize_adjoint_column_sums(
    const real* __restrict__ grad, const real* __restrict__ x, const real* __restrict__ mean,
    const real* __restrict__ inverse, const real* __restrict__ weight, real* __restrict__ partial, int A, int B,
    int parts, int length, Turns turns) {
    __shared__ Columns::Memory memory;
    const View view = {A, B, 1};
    const Known known = {grad, x, mean, inverse, weight, turns};
    const Columns team(memory, B);
    const Part mine(view, team.part, length);
    keep(partial, sums<1>(known, view, team, mine.first, mine.last), view, team, parts);
}

extern "C" __global__ void __launch_bounds__(256, 4) normalize_adjoint_v6_columns(
    const real* __restrict__ grad, const real* __restrict__ x, const real* __restrict__ mean,
    const real* __restrict__ inverse, const real* __restrict__ weight, const real* __restrict__ partial,
    real* __restrict__ grad_x, int A, int B, int parts, int length, Turns turns) {
    __shared__ Columns::Memory memory;
    const View view = {A, B, 1};
    const Known known = {grad, x, mean, inverse, weight, turns};
    const Columns team(memory, B);
    const Part mine(view, team.part, length);
    const Pair pair = all_sums(partial, view, team, parts);
    write_grad_x<1>(known, grad_x, pair, view, team, mine.first, mine.last);
}
