// One formula for each number of an array: its threads take stretches of neighbours, in packs.
//
// The formula is a function of numbers, so what one reads in the first rung is what runs in the second.
#pragma once
#include "packs.cuh"

// The pack of formula(a, b, ...) of the numbers of some packs.
template <class Formula, class... Packs>
__device__ __forceinline__ Lanes each_lane(Formula formula, const Packs&... packs) {
    Lanes result;
#ifdef MINIDL_NATIVE
    for (int e = 0; e < LANES; e++) result[e] = formula(packs[e]...);
#else
    UNROLLED for (int e = 0; e < LANES; e++) result.v[e] = formula(packs.v[e]...);
#endif
    return result;
}

// What thread t takes of S numbers: `each` neighbours, a whole number of packs, or what is left of them.
struct Stretch {
    int first, last;
    __device__ __forceinline__ Stretch(int t, int each, int S) : first(t * each), last(min(S, first + each)) {}

    // Calls packs(i) for the whole packs at i, then ones(i) for the numbers that are left.
    template <class Packs, class Ones>
    __device__ __forceinline__ void walk(Packs packs, Ones ones) const {
        int i = first;
        for (; i + LANES <= last; i += LANES) packs(i);
        for (; i < last; i++) ones(i);
    }
};
