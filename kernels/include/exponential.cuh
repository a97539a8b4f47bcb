// exp and log of packs. A GPU has them; on a CPU the library takes one number at a time, and this all of a register.
#pragma once
#include "packs.cuh"

#ifdef MINIDL_NATIVE

typedef decltype(Lanes{} < Lanes{}) Bits;  // as many whole numbers as a pack has lanes

// exp(x) = 2^n exp(r) with |r| <= log(2) / 2, and a polynomial for exp(r); off by 2 units of the last place at most.
// The coefficients are those of Moshier's Cephes library, expf.
__device__ __forceinline__ Lanes exponential(const Lanes& given) {
    if constexpr (sizeof(real) == 8) return lanes_of([&](int e) { return exp(given[e]); });
    const real rounder = 12582912;  // 1.5 * 2^23: what is added to it is rounded to a whole number, in its last bits
    Lanes x = given < real(-105) ? all_lanes(-105) : given;  // not max: a NaN stays one
    x = x > real(89) ? all_lanes(89) : x;
    const Lanes rounded = x * real(1.44269504088896341) + rounder, n = rounded - rounder;
    const Lanes r = (x - n * real(0.693359375)) + n * real(2.12194440e-4);
    Lanes sum = r * real(1.9875691500e-4) + real(1.3981999507e-3);
    sum = sum * r + real(8.3334519073e-3);
    sum = sum * r + real(4.1665795894e-2);
    sum = sum * r + real(1.6666665459e-1);
    sum = sum * r + real(5.0000001201e-1);
    sum = sum * (r * r) + r + real(1);
    const Bits power = (Bits)rounded - (Bits)all_lanes(rounder), half = power >> 1;  // two steps: one could overflow
    return sum * (Lanes)((half + 127) << 23) * (Lanes)((power - half + 127) << 23);
}

// log(x) = e log(2) + log(1 + m) with sqrt(1/2) <= 1 + m < sqrt(2), of numbers from 1e-37 to 1e38; as in Cephes' logf.
__device__ __forceinline__ Lanes logarithm(const Lanes& x) {
    if constexpr (sizeof(real) == 8) return lanes_of([&](int e) { return log(x[e]); });
    const Bits bits = (Bits)x, root = (Bits)all_lanes(0.707106781186547524);
    const Bits exponent = (bits - root) >> 23;  // of x / sqrt(1/2)
    const Lanes m = (Lanes)(bits - (exponent << 23)) - real(1), e = __builtin_convertvector(exponent, Lanes);
    // Even and odd powers by themselves: one need not wait for the other.
    const Lanes square = m * m;
    Lanes even = square * real(7.0376836292e-2) + real(1.1676998740e-1), odd = square * real(-1.1514610310e-1) - real(1.2420140846e-1);
    even = even * square + real(1.4249322787e-1), odd = odd * square - real(1.6668057665e-1);
    even = even * square + real(2.0000714765e-1), odd = odd * square - real(2.4999993993e-1);
    even = even * square + real(3.3333331174e-1);
    const Lanes sum = even + odd * m;
    const Lanes small = sum * m * square - e * real(2.12194440e-4) - square * real(0.5);
    const Lanes found = m + small + e * real(0.693359375);
    return x == x ? found : x;
}

#else
__device__ __forceinline__ Lanes exponential(const Lanes& x) { return lanes_of([&](int e) { return exp(x.v[e]); }); }
__device__ __forceinline__ Lanes logarithm(const Lanes& x) { return lanes_of([&](int e) { return log(x.v[e]); }); }
#endif
