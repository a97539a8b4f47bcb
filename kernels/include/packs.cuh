// Packs: several neighbouring numbers that one thread takes together.
//
// A thread with one number to compute is quick on a GPU, where 32 of them go in step. A CPU has no such threads; it
// has registers of several numbers. A thread that takes a pack of neighbours is quick on both: the place of the
// pack is found once, and what is done to its numbers is done to all of them at a time.
//
//     machine               VECTOR (bytes)    a pack of floats
//     a GPU, the emulator         16          4, which are read at once
//     SSE, NEON                   16          4
//     AVX2                        32          8
//     AVX-512                     64          16
#pragma once
#include "minidl.cuh"

#ifndef VECTOR
#define VECTOR 16
#endif

constexpr int LANES = VECTOR / sizeof(real);  // of a pack

// Before a loop of a fixed length whose counter is an index into registers; and before one that shall stay a loop.
#ifdef __CUDACC__
#define UNROLLED _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#define ROLLED
#endif

// Before a large function that several kernels call: natively it is compiled once, on a GPU into each of them.
#ifdef MINIDL_NATIVE
#define COMPILED_ONCE __noinline__ static
#else
#define COMPILED_ONCE __device__ __forceinline__
#endif

// P numbers, a multiple of LANES, in registers.
#ifdef MINIDL_NATIVE
typedef real Lanes __attribute__((vector_size(VECTOR), aligned(sizeof(real)), may_alias));
#else
typedef Pack Lanes;
#endif

template <int P>
struct Numbers {
    static_assert(P % LANES == 0, "a whole number of packs");
    Lanes lanes[P / LANES];
};

#ifdef MINIDL_NATIVE
__device__ __forceinline__ Lanes load_lanes(const real* from) { return *reinterpret_cast<const Lanes*>(from); }
__device__ __forceinline__ void store_lanes(real* to, const Lanes& a) { *reinterpret_cast<Lanes*>(to) = a; }
__device__ __forceinline__ Lanes all_lanes(real a) { return a - Lanes{}; }
__device__ __forceinline__ real lane(const Lanes& a, int e) { return a[e]; }
__device__ __forceinline__ Lanes add(const Lanes& a, const Lanes& b) { return a + b; }
__device__ __forceinline__ Lanes subtract(const Lanes& a, const Lanes& b) { return a - b; }
__device__ __forceinline__ Lanes scale(const Lanes& a, real by) { return a * by; }
__device__ __forceinline__ void multiply_add(Lanes& sum, real a, const Lanes& b) { sum += a * b; }
__device__ __forceinline__ void multiply_add(Lanes& sum, const Lanes& a, const Lanes& b) { sum += a * b; }
#else
__device__ __forceinline__ Lanes load_lanes(const real* from, int line = __builtin_LINE()) { return load_pack(from, line); }
__device__ __forceinline__ void store_lanes(real* to, const Lanes& a, int line = __builtin_LINE()) { store_pack(to, a, line); }
__device__ __forceinline__ real lane(const Lanes& a, int e) { return a.v[e]; }
__device__ __forceinline__ Lanes all_lanes(real a) {
    Lanes all;
    UNROLLED for (int e = 0; e < LANES; e++) all.v[e] = a;
    return all;
}
__device__ __forceinline__ Lanes add(const Lanes& a, const Lanes& b) {
    Lanes sum;
    UNROLLED for (int e = 0; e < LANES; e++) sum.v[e] = a.v[e] + b.v[e];
    return sum;
}
__device__ __forceinline__ Lanes subtract(const Lanes& a, const Lanes& b) {
    Lanes difference;
    UNROLLED for (int e = 0; e < LANES; e++) difference.v[e] = a.v[e] - b.v[e];
    return difference;
}
__device__ __forceinline__ Lanes scale(const Lanes& a, real by) {
    Lanes scaled;
    UNROLLED for (int e = 0; e < LANES; e++) scaled.v[e] = a.v[e] * by;
    return scaled;
}
__device__ __forceinline__ void multiply_add(Lanes& sum, real a, const Lanes& b) {
    UNROLLED for (int e = 0; e < LANES; e++) sum.v[e] += a * b.v[e];
}
__device__ __forceinline__ void multiply_add(Lanes& sum, const Lanes& a, const Lanes& b) {
    UNROLLED for (int e = 0; e < LANES; e++) sum.v[e] += a.v[e] * b.v[e];
}
#endif

// P numbers from neighbouring places; on a GPU the address is a multiple of 16 bytes.
template <int P>
__device__ __forceinline__ Numbers<P> load_numbers(const real* from) {
    Numbers<P> a;
    UNROLLED for (int i = 0; i < P / LANES; i++) a.lanes[i] = load_lanes(from + i * LANES);
    return a;
}

template <int P>
__device__ __forceinline__ void store_numbers(real* to, const Numbers<P>& a) {
    UNROLLED for (int i = 0; i < P / LANES; i++) store_lanes(to + i * LANES, a.lanes[i]);
}

// The first `count` of them, one by one.
template <int P>
__device__ __forceinline__ void store_some(real* to, const Numbers<P>& a, int count) {
    UNROLLED for (int i = 0; i < P / LANES; i++)
        UNROLLED for (int e = 0; e < LANES; e++)
            if (i * LANES + e < count) to[i * LANES + e] = lane(a.lanes[i], e);
}

template <int P>
__device__ __forceinline__ Numbers<P> numbers(real a) {
    Numbers<P> all;
    UNROLLED for (int i = 0; i < P / LANES; i++) all.lanes[i] = all_lanes(a);
    return all;
}

template <int P>
__device__ __forceinline__ void multiply_add(Numbers<P>& sum, real a, const Numbers<P>& b) {
    UNROLLED for (int i = 0; i < P / LANES; i++) multiply_add(sum.lanes[i], a, b.lanes[i]);
}

template <int P>
__device__ __forceinline__ void add_to(Numbers<P>& sum, const Numbers<P>& a) {
    UNROLLED for (int i = 0; i < P / LANES; i++) sum.lanes[i] = add(sum.lanes[i], a.lanes[i]);
}

// The sum of a pack, folded in half until one number is left.
#ifdef MINIDL_NATIVE
template <int BYTES>
__device__ __forceinline__ real folded(const void* numbers) {
    if constexpr (BYTES == sizeof(real)) return *static_cast<const real*>(numbers);
    else {
        typedef real Half __attribute__((vector_size(BYTES / 2)));
        Half low, high;
        memcpy(&low, numbers, BYTES / 2), memcpy(&high, static_cast<const char*>(numbers) + BYTES / 2, BYTES / 2);
        low += high;
        return folded<BYTES / 2>(&low);
    }
}
__device__ __forceinline__ real total(const Lanes& a) { return folded<VECTOR>(&a); }
#else
__device__ __forceinline__ real total(const Lanes& a) {
    real part[LANES];
    UNROLLED for (int e = 0; e < LANES; e++) part[e] = a.v[e];
    UNROLLED for (int half = LANES / 2; half > 0; half /= 2)
        UNROLLED for (int e = 0; e < half; e++) part[e] += part[e + half];
    return part[0];
}
#endif
