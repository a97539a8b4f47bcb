// Steps of optimisers: one pass over a parameter p, its gradient, and what is remembered of earlier ones.
//
//     adam         g = grad + decay p          m = m + share_m (g - m)          v = keep_v v + share_v g g
//                  p = keep_p p - rate m / (sqrt(v) scale + eps)
//     momentum     g = grad + decay p          v = keep v + share g
//                  p = p - rate (ahead g + turn v)
//
// of S numbers, whatever their axes. The results may take the place of p, m and v.
//
// Adam's corrections of the means' start are in rate and scale; AdamW's decay is in keep_p. With Nesterov's momentum
// ahead is 1 and turn the momentum, else they are 0 and 1.
//
// rung          idea it adds                                       measured
// v1_naive      one thread per number                              not yet
// v2_packs      a thread takes packs of neighbours                 not yet
#include "each.cuh"

struct AdamRates {
    real decay, share_m, keep_v, share_v, keep_p, rate, scale, eps;
};

struct Adam : AdamRates {
    __device__ Adam(const AdamRates& rates) : AdamRates(rates) {}
    __device__ real gradient(real grad, real p) const { return grad + decay * p; }
    __device__ real mean(real m, real g) const { return m + share_m * (g - m); }
    __device__ real square(real v, real g) const { return keep_v * v + share_v * g * g; }
    __device__ real stepped(real p, real m, real v) const {
        return keep_p * p - rate * (m / (sqrt(v) * scale + eps));
    }
};

extern "C" __global__ void __launch_bounds__(256) adam_v1_naive(
    const real* p, const real* __restrict__ grad, const real* m, const real* v, real* new_p, real* new_m, real* new_v,
    AdamRates rates, int S) {
    const Adam f(rates);
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= S) return;
    const real g = f.gradient(grad[i], p[i]), mean = f.mean(m[i], g), square = f.square(v[i], g);
    new_p[i] = f.stepped(p[i], mean, square), new_m[i] = mean, new_v[i] = square;
}

// Changes: a thread takes `each` neighbours, a pack at a time.
extern "C" __global__ void __launch_bounds__(256) adam_v2_packs(
    const real* p, const real* __restrict__ grad, const real* m, const real* v, real* new_p, real* new_m, real* new_v,
    AdamRates rates, int S, int each) {
    const Adam f(rates);
    const Stretch mine(blockIdx.x * blockDim.x + threadIdx.x, each, S);
    mine.walk([&](int i) {
        const Lanes at = load_lanes(p + i);
        const Lanes g = each_lane([&](real a, real b) { return f.gradient(a, b); }, load_lanes(grad + i), at);
        const Lanes mean = each_lane([&](real a, real b) { return f.mean(a, b); }, load_lanes(m + i), g);
        const Lanes square = each_lane([&](real a, real b) { return f.square(a, b); }, load_lanes(v + i), g);
        store_lanes(new_m + i, mean);
        store_lanes(new_v + i, square);
        store_lanes(new_p + i, each_lane([&](real a, real b, real c) { return f.stepped(a, b, c); }, at, mean, square));
    }, [&](int i) {
        const real g = f.gradient(grad[i], p[i]), mean = f.mean(m[i], g), square = f.square(v[i], g);
        new_p[i] = f.stepped(p[i], mean, square), new_m[i] = mean, new_v[i] = square;
    });
}

struct MomentumRates {
    real decay, keep, share, rate, ahead, turn;
};

struct Momentum : MomentumRates {
    __device__ Momentum(const MomentumRates& rates) : MomentumRates(rates) {}
    __device__ real gradient(real grad, real p) const { return grad + decay * p; }
    __device__ real velocity(real v, real g) const { return keep * v + share * g; }
    __device__ real stepped(real p, real g, real v) const { return p - rate * (ahead * g + turn * v); }
};

extern "C" __global__ void __launch_bounds__(256) momentum_v1_naive(
    const real* p, const real* __restrict__ grad, const real* v, real* new_p, real* new_v, MomentumRates rates, int S) {
    const Momentum f(rates);
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= S) return;
    const real g = f.gradient(grad[i], p[i]), velocity = f.velocity(v[i], g);
    new_p[i] = f.stepped(p[i], g, velocity), new_v[i] = velocity;
}

// Changes: a thread takes `each` neighbours, a pack at a time.
extern "C" __global__ void __launch_bounds__(256) momentum_v2_packs(
    const real* p, const real* __restrict__ grad, const real* v, real* new_p, real* new_v, MomentumRates rates, int S,
    int each) {
    const Momentum f(rates);
    const Stretch mine(blockIdx.x * blockDim.x + threadIdx.x, each, S);
    mine.walk([&](int i) {
        const Lanes at = load_lanes(p + i);
        const Lanes g = each_lane([&](real a, real b) { return f.gradient(a, b); }, load_lanes(grad + i), at);
        const Lanes velocity = each_lane([&](real a, real b) { return f.velocity(a, b); }, load_lanes(v + i), g);
        store_lanes(new_v + i, velocity);
        store_lanes(new_p + i, each_lane([&](real a, real b, real c) { return f.stepped(a, b, c); }, at, g, velocity));
    }, [&](int i) {
        const real g = f.gradient(grad[i], p[i]), velocity = f.velocity(v[i], g);
        new_p[i] = f.stepped(p[i], g, velocity), new_v[i] = velocity;
    });
}
