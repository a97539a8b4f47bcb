// A square of numbers in registers, turned about: rows become columns.
#pragma once
#include "packs.cuh"

// Natively in rounds that shuffle pairs of packs like cards; in each of them, all numbers go half of the way on.
#ifdef MINIDL_NATIVE
template <size_t... E>
__device__ __forceinline__ void shuffle(Lanes& a, Lanes& b, const Lanes& low, const Lanes& high, std::index_sequence<E...>) {
    a = __builtin_shufflevector(low, high, (E / 2 + E % 2 * LANES)...);
    b = __builtin_shufflevector(low, high, (LANES / 2 + E / 2 + E % 2 * LANES)...);
}
__device__ __forceinline__ void turn(Lanes (&rows)[LANES]) {
    for (int round = 1; round < LANES; round *= 2) {
        Lanes old[LANES];
        UNROLLED for (int e = 0; e < LANES; e++) old[e] = rows[e];
        UNROLLED for (int e = 0; e < LANES / 2; e++)
            shuffle(rows[2 * e], rows[2 * e + 1], old[e], old[e + LANES / 2], std::make_index_sequence<LANES>());
    }
}
#else
__device__ __forceinline__ void turn(Lanes (&rows)[LANES]) {
    UNROLLED for (int e = 0; e < LANES; e++)
        UNROLLED for (int f = 0; f < e; f++) {
            const real other = rows[e].v[f];
            rows[e].v[f] = rows[f].v[e], rows[f].v[e] = other;
        }
}
#endif
