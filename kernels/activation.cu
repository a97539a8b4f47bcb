// Rectifiers, and their derivative: ReLU, and with another slope than 0 below 0, leaky ReLU.
//
//     rectify             y[i] = x[i]           where x[i] >= 0       a NaN stays one
//                                slope * x[i]   elsewhere
//     rectify_adjoint     grad_x[i] = grad[i]           where x[i] > 0
//                                     slope * grad[i]   elsewhere
//
// of S numbers, whatever their axes. With a slope of 0, y may stand for x in the second: it is above 0 where x is.
//
// rung          idea it adds                                       measured
// v1_naive      one thread per number                              not yet
// v2_packs      a thread takes packs of neighbours                 not yet
#include "each.cuh"

// Without a slope, x below 0 becomes 0 even where it is infinite, and a gradient there, too.
__device__ __forceinline__ real relu(real x) { return x < 0 ? 0 : x; }
__device__ __forceinline__ real leaky(real x, real slope) { return x < 0 ? slope * x : x; }
__device__ __forceinline__ real relu_adjoint(real grad, real x) { return x > 0 ? grad : 0; }
__device__ __forceinline__ real leaky_adjoint(real grad, real x, real slope) { return x > 0 ? grad : slope * grad; }

extern "C" __global__ void __launch_bounds__(256) rectify_v1_naive(
    const real* __restrict__ x, real* __restrict__ y, real slope, int S) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < S) y[i] = slope == 0 ? relu(x[i]) : leaky(x[i], slope);
}

// Changes: a thread takes `each` neighbours, a pack at a time.
extern "C" __global__ void __launch_bounds__(256) rectify_v2_packs(
    const real* __restrict__ x, real* __restrict__ y, real slope, int S, int each) {
    const Stretch mine(blockIdx.x * blockDim.x + threadIdx.x, each, S);
    if (slope == 0)
        mine.walk([&](int i) { store_lanes(y + i, each_lane([](real a) { return relu(a); }, load_lanes(x + i))); },
                  [&](int i) { y[i] = relu(x[i]); });
    else
        mine.walk([&](int i) {
            store_lanes(y + i, each_lane([&](real a) { return leaky(a, slope); }, load_lanes(x + i)));
        }, [&](int i) { y[i] = leaky(x[i], slope); });
}

extern "C" __global__ void __launch_bounds__(256) rectify_adjoint_v1_naive(
    const real* __restrict__ grad, const real* __restrict__ x, real* __restrict__ grad_x, real slope, int S) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < S) grad_x[i] = slope == 0 ? relu_adjoint(grad[i], x[i]) : leaky_adjoint(grad[i], x[i], slope);
}

// Changes: a thread takes `each` neighbours, a pack at a time.
extern "C" __global__ void __launch_bounds__(256) rectify_adjoint_v2_packs(
    const real* __restrict__ grad, const real* __restrict__ x, real* __restrict__ grad_x, real slope, int S,
    int each) {
    const Stretch mine(blockIdx.x * blockDim.x + threadIdx.x, each, S);
    if (slope == 0)
        mine.walk([&](int i) {
            const Lanes g = load_lanes(grad + i), at = load_lanes(x + i);
            store_lanes(grad_x + i, each_lane([](real b, real a) { return relu_adjoint(b, a); }, g, at));
        }, [&](int i) { grad_x[i] = relu_adjoint(grad[i], x[i]); });
    else
        mine.walk([&](int i) {
            const Lanes g = load_lanes(grad + i), at = load_lanes(x + i);
            store_lanes(grad_x + i, each_lane([&](real b, real a) { return leaky_adjoint(b, a, slope); }, g, at));
        }, [&](int i) { grad_x[i] = leaky_adjoint(grad[i], x[i], slope); });
}
