// Softmax and its logarithm, and the derivative of both.
//
// Memory is seen as (N, C, P), with one softmax over c for each n and p, called a row:
//
//     softmax            y[c] = exp(x[c] - m) / s        m = max over c of x[c]
//     ... its logarithm  y[c] = x[c] - m - log(s)        s = sum over c of exp(x[c] - m)
//     softmax_adjoint    grad_x[c] = y[c] * (grad[c] - sum over c of grad[c] * y[c])
//     ... logarithm's    grad_x[c] = grad[c] - exp(y[c]) * sum over c of grad[c]
//
// Without m, exp(x) could be infinite. Channels last, and for the last axis of a matrix, P = 1.
//
// Packs lie as memory does: abreast, LANES rows side by side, where P > 1; else along a row. On a CPU, whose packs are
// long, rows of fewer than LANES numbers are turned about in registers and then lie abreast.
//
// rung          idea it adds                                       measured
// v1_naive      one thread per row                                 not yet
// v2_packs      a thread takes packs of rows, or of a row          not yet
// v3_warp       P = 1: a warp shares a row                         not yet
#include "exponential.cuh"
#include "parts.cuh"
#include "turn.cuh"

struct Rows {
    int N, C, P;
};

// Where the first number of a row is; the next one is P further.
__device__ __forceinline__ int first_of(const Rows& rows, int row) {
    return row / rows.P * rows.C * rows.P + row % rows.P;
}

extern "C" __global__ void __launch_bounds__(256, 4) softmax_v1_naive(
    const real* __restrict__ x, real* __restrict__ y, Rows rows, int logarithmic) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows.N * rows.P) return;
    const int first = first_of(rows, row), last = first + rows.C * rows.P;
    real most = x[first], sum = 0;
    for (int c = first; c < last; c += rows.P) most = x[c] > most ? x[c] : most;
    for (int c = first; c < last; c += rows.P) sum += exp(x[c] - most);
    for (int c = first; c < last; c += rows.P)
        y[c] = logarithmic ? x[c] - most - log(sum) : exp(x[c] - most) / sum;
}

extern "C" __global__ void __launch_bounds__(256, 4) softmax_adjoint_v1_naive(
    const real* __restrict__ grad, const real* __restrict__ y, real* __restrict__ grad_x, Rows rows,
    int logarithmic) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows.N * rows.P) return;
    const int first = first_of(rows, row), last = first + rows.C * rows.P;
    real sum = 0;
    for (int c = first; c < last; c += rows.P) sum += logarithmic ? grad[c] : grad[c] * y[c];
    for (int c = first; c < last; c += rows.P)
        grad_x[c] = logarithmic ? grad[c] - exp(y[c]) * sum : y[c] * (grad[c] - sum);
}

// ------------------------------------------------------------------------------------------------------- Packs

// A pack of rows side by side: the next number of each is `step` further.
struct Abreast {
    int step;
    Part part;

    __device__ __forceinline__ Lanes get(const real* from, int c) const {
        return load_part(from + c * step, part, from + c * step);
    }
    __device__ __forceinline__ void put(real* to, int c, const Lanes& a) const {
        store_part(to + c * step, a, part, to + c * step);
    }
};

// One row, in packs; what is missing of the last one is `rest`.
struct Along {
    __device__ __forceinline__ static Lanes get(const real* row, int C, int c, real rest) {
        if (Part(C, c).whole) return load_lanes(row + c);
        return lanes_of([&](int e) { return c + e < C ? row[c + e] : rest; });
    }
    __device__ __forceinline__ static void put(real* row, int C, int c, const Lanes& a) {
        store_part(row + c, a, Part(C, c), row + c);
    }
};

// y may be x: what is read again has not been written.
__device__ __forceinline__ void soften(const Abreast& pack, real* y, const real* x, int C, int logarithmic) {
    Lanes most = pack.get(x, 0), sum = all_lanes(0);
    for (int c = 1; c < C; c++) most = larger(most, pack.get(x, c));
    for (int c = 0; c < C; c++) {
        const Lanes share = exponential(subtract(pack.get(x, c), most));
        if (!logarithmic) pack.put(y, c, share);
        sum = add(sum, share);
    }
    const Lanes by = logarithmic ? logarithm(sum) : divide(all_lanes(1), sum);
    for (int c = 0; c < C; c++)
        pack.put(y, c, logarithmic ? subtract(subtract(pack.get(x, c), most), by) : multiply(pack.get(y, c), by));
}

__device__ __forceinline__ void soften(const Along& pack, real* y, const real* x, int C, int logarithmic) {
    Lanes highest = all_lanes(x[0]), sums = all_lanes(0);
    for (int c = 0; c < C; c += LANES) highest = larger(highest, pack.get(x, C, c, x[0]));
    const real most = folded(highest, [](const auto& a, const auto& b) { return a > b ? a : b; });
    const real least = most - 1000;  // its share is 0
    for (int c = 0; c < C; c += LANES) {
        const Lanes share = exponential(subtract(pack.get(x, C, c, least), all_lanes(most)));
        if (!logarithmic) pack.put(y, C, c, share);
        sums = add(sums, share);
    }
    const real sum = total(sums), by = logarithmic ? log(sum) : 1 / sum;
    for (int c = 0; c < C; c += LANES) {
        if (logarithmic) pack.put(y, C, c, subtract(subtract(pack.get(x, C, c, 0), all_lanes(most)), all_lanes(by)));
        else pack.put(y, C, c, scale(pack.get(y, C, c, 0), by));
    }
}

// The gradient of a pack of numbers; sum: of their rows.
__device__ __forceinline__ Lanes gradient(const Lanes& grad, const Lanes& y, const Lanes& sum, int logarithmic) {
    return logarithmic ? subtract(grad, multiply(exponential(y), sum)) : multiply(y, subtract(grad, sum));
}

// grad_x may be grad.
__device__ __forceinline__ void go_back(const Abreast& pack, real* grad_x, const real* grad, const real* y, int C,
                                        int logarithmic) {
    Lanes sum = all_lanes(0);
    for (int c = 0; c < C; c++)
        if (logarithmic) sum = add(sum, pack.get(grad, c));
        else multiply_add(sum, pack.get(grad, c), pack.get(y, c));
    for (int c = 0; c < C; c++) pack.put(grad_x, c, gradient(pack.get(grad, c), pack.get(y, c), sum, logarithmic));
}

__device__ __forceinline__ void go_back(const Along& pack, real* grad_x, const real* grad, const real* y, int C,
                                        int logarithmic) {
    Lanes sums = all_lanes(0);
    for (int c = 0; c < C; c += LANES)
        if (logarithmic) sums = add(sums, pack.get(grad, C, c, 0));
        else multiply_add(sums, pack.get(grad, C, c, 0), pack.get(y, C, c, 0));
    const Lanes sum = all_lanes(total(sums));
    for (int c = 0; c < C; c += LANES)
        pack.put(grad_x, C, c, gradient(pack.get(grad, C, c, 0), pack.get(y, C, c, 0), sum, logarithmic));
}

#ifdef MINIDL_NATIVE
// Rows of fewer than LANES numbers, one behind the other in memory: turned, they lie abreast.
struct Turned {
    Lanes numbers[LANES];
    int C, count;  // of a row's numbers, and of the rows there are

    // What lies behind the rows may be read, up to `end`.
    __forceinline__ Turned(const real* from, int C, int count, const real* end) : C(C), count(count) {
        if (C == 2 && count == LANES) {
            part(load_lanes(from), load_lanes(from + LANES), std::make_index_sequence<LANES>());
            return;
        }
        if (end - from >= LANES * C + LANES) for (int e = 0; e < LANES; e++) numbers[e] = load_lanes(from + e * C);
        else for (int e = 0; e < count; e++) numbers[e] = load_part(from + e * C, Part(C, 0), end);
        turn(numbers);
    }

    // Pairs from their numbers one by one.
    template <size_t... E>
    __forceinline__ void part(const Lanes& low, const Lanes& high, std::index_sequence<E...>) {
        numbers[0] = __builtin_shufflevector(low, high, 2 * E...);
        numbers[1] = __builtin_shufflevector(low, high, (2 * E + 1)...);
    }

    real* begin() { return reinterpret_cast<real*>(numbers); }

    // What lies behind the rows may be written, up to `end`, where the same thread writes it again.
    __forceinline__ void store(real* to, const real* end) {
        if (C == 2 && count == LANES) {
            Lanes low, high;
            shuffle(low, high, numbers[0], numbers[1], std::make_index_sequence<LANES>());
            return store_lanes(to, low), store_lanes(to + LANES, high);
        }
        turn(numbers);
        if (end - to >= LANES * C + LANES) for (int e = 0; e < LANES; e++) store_lanes(to + e * C, numbers[e]);
        else for (int e = 0; e < count; e++) store_part(to + e * C, numbers[e], Part(C, 0), end);
    }
};

// Has the rows done abreast; the result takes the place of the first array.
template <class Work, class... Others>
__forceinline__ void turned_about(Work work, real* to, const real* end, Turned&& first, Others&&... others) {
    work(Abreast{LANES, Part(LANES, 0)}, first.begin(), first.begin(), others.begin()...);
    first.store(to, end);
}
#endif

// Has all that thread t takes of the rows done by work(pack, to, from...): `each` packs abreast, or `each` rows.
template <class Work, class... From>
__device__ __forceinline__ void each_pack(const Rows& rows, int t, int each, Work work, real* to, const From*... from) {
    const int N = rows.N, C = rows.C, P = rows.P;
    if (P > 1) {
        const int shares = ceil_div(P, each * LANES), first = t / shares * C * P;
        if (t >= N * shares) return;
        const Share share(t % shares, P, each);
        for (int p = share.first; p < share.last; p += LANES)
            work(Abreast{P, Part(P, p)}, to + first + p, from + first + p...);
        return;
    }
#ifdef MINIDL_NATIVE
    if (C < LANES) {
        const Share share(t, N, each);
        for (int n = share.first; n < share.last; n += LANES)
            turned_about(work, to + n * C, to + share.last * C,
                         Turned(from + n * C, C, min(LANES, N - n), from + N * C)...);
        return;
    }
#endif
    for (int n = t * each; n < min(N, (t + 1) * each); n++) work(Along(), to + n * C, from + n * C...);
}

// Changes: a thread takes packs of rows, or of a row.
extern "C" __global__ void __launch_bounds__(256, 4) softmax_v2_packs(
    const real* __restrict__ x, real* __restrict__ y, Rows rows, int logarithmic, int each) {
    each_pack(rows, blockIdx.x * blockDim.x + threadIdx.x, each,
              [&](const auto& pack, real* to, const real* from) { soften(pack, to, from, rows.C, logarithmic); }, y, x);
}

// Changes: a thread takes packs of rows, or of a row.
extern "C" __global__ void __launch_bounds__(256, 3) softmax_adjoint_v2_packs(
    const real* __restrict__ grad, const real* __restrict__ y, real* __restrict__ grad_x, Rows rows, int logarithmic,
    int each) {
    each_pack(rows, blockIdx.x * blockDim.x + threadIdx.x, each,
              [&](const auto& pack, real* to, const real* arrived, const real* out) {
                  go_back(pack, to, arrived, out, rows.C, logarithmic);
              }, grad_x, grad, y);
}

// -------------------------------------------------------------------------------------------------------- Warp
//
// Its 32 lanes take every 32nd number each, then fold what they found in half, five times.

// Changes: 32 threads share a row, whose numbers they read side by side.
extern "C" __global__ void __launch_bounds__(256, 4) softmax_v3_warp(
    const real* __restrict__ x, real* __restrict__ y, Rows rows, int logarithmic) {
    const int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, C = rows.C;
    if (row >= rows.N) return;
    const int first = row * C + threadIdx.x % 32, last = (row + 1) * C;
    real most = x[row * C], sum = 0;
    for (int c = first; c < last; c += 32) most = x[c] > most ? x[c] : most;
    for (int step = 16; step > 0; step /= 2) {
        const real other = __shfl_xor_sync(0xffffffffu, most, step);
        most = other > most ? other : most;
    }
    for (int c = first; c < last; c += 32) sum += exp(x[c] - most);
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    for (int c = first; c < last; c += 32)
        y[c] = logarithmic ? x[c] - most - log(sum) : exp(x[c] - most) / sum;
}

// Changes: 32 threads share a row, whose numbers they read side by side.
extern "C" __global__ void __launch_bounds__(256, 4) softmax_adjoint_v3_warp(
    const real* __restrict__ grad, const real* __restrict__ y, real* __restrict__ grad_x, Rows rows,
    int logarithmic) {
    const int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, C = rows.C;
    if (row >= rows.N) return;
    const int first = row * C + threadIdx.x % 32, last = (row + 1) * C;
    real sum = 0;
    for (int c = first; c < last; c += 32) sum += logarithmic ? grad[c] : grad[c] * y[c];
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    for (int c = first; c < last; c += 32)
        grad_x[c] = logarithmic ? grad[c] - exp(y[c]) * sum : y[c] * (grad[c] - sum);
}
