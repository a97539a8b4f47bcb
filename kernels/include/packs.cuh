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
__device__ __forceinline__ Lanes multiply(const Lanes& a, const Lanes& b) { return a * b; }
__device__ __forceinline__ Lanes divide(const Lanes& a, const Lanes& b) { return a / b; }
__device__ __forceinline__ Lanes larger(const Lanes& a, const Lanes& b) { return a > b ? a : b; }
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
__device__ __forceinline__ Lanes multiply(const Lanes& a, const Lanes& b) {
    Lanes product;
    UNROLLED for (int e = 0; e < LANES; e++) product.v[e] = a.v[e] * b.v[e];
    return product;
}
__device__ __forceinline__ Lanes divide(const Lanes& a, const Lanes& b) {
    Lanes quotient;
    UNROLLED for (int e = 0; e < LANES; e++) quotient.v[e] = a.v[e] / b.v[e];
    return quotient;
}
__device__ __forceinline__ Lanes larger(const Lanes& a, const Lanes& b) {
    Lanes most;
    UNROLLED for (int e = 0; e < LANES; e++) most.v[e] = a.v[e] > b.v[e] ? a.v[e] : b.v[e];
    return most;
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

// The first `count` numbers of a pack; those behind them are zeros, or left alone. Natively, as loops that the compiler
// makes a load and a store with a mask of.
#ifdef MINIDL_NATIVE
__device__ __forceinline__ Lanes load_some_lanes(const real* __restrict__ from, int count) {
    __align__(VECTOR) real pack[LANES];
    _Pragma("GCC unroll 1") for (int e = 0; e < LANES; e++) pack[e] = e < count ? from[e] : 0;
    return load_lanes(pack);
}
__device__ __forceinline__ void store_some_lanes(real* __restrict__ to, const Lanes& a, int count) {
    __align__(VECTOR) real pack[LANES];
    store_lanes(pack, a);
    _Pragma("GCC unroll 1") for (int e = 0; e < LANES; e++) if (e < count) to[e] = pack[e];
}
#else
__device__ __forceinline__ Lanes load_some_lanes(const real* from, int count) {
    Lanes a;
    UNROLLED for (int e = 0; e < LANES; e++) a.v[e] = e < count ? from[e] : 0;
    return a;
}
__device__ __forceinline__ void store_some_lanes(real* to, const Lanes& a, int count) {
    UNROLLED for (int e = 0; e < LANES; e++) if (e < count) to[e] = a.v[e];
}
#endif

template <int P>
__device__ __forceinline__ Numbers<P> load_some(const real* from, int count) {
    Numbers<P> a;
    UNROLLED for (int i = 0; i < P / LANES; i++) a.lanes[i] = load_some_lanes(from + i * LANES, count - i * LANES);
    return a;
}

template <int P>
__device__ __forceinline__ void store_some(real* to, const Numbers<P>& a, int count) {
    UNROLLED for (int i = 0; i < P / LANES; i++) store_some_lanes(to + i * LANES, a.lanes[i], count - i * LANES);
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

// A pack whose numbers are value(0), value(1), ...
template <class Value>
__device__ __forceinline__ Lanes lanes_of(Value value) {
    Lanes a;
#ifdef MINIDL_NATIVE
    for (int e = 0; e < LANES; e++) a[e] = value(e);
#else
    UNROLLED for (int e = 0; e < LANES; e++) a.v[e] = value(e);
#endif
    return a;
}

// A pack folded in half, by fold(a, b) of its halves, until one number is left.
#ifdef MINIDL_NATIVE
template <int BYTES, class Fold>
__device__ __forceinline__ real folded(const void* numbers, Fold fold) {
    if constexpr (BYTES == sizeof(real)) return *static_cast<const real*>(numbers);
    else {
        typedef real Half __attribute__((vector_size(BYTES / 2)));
        Half low, high;
        memcpy(&low, numbers, BYTES / 2), memcpy(&high, static_cast<const char*>(numbers) + BYTES / 2, BYTES / 2);
        low = fold(low, high);
        return folded<BYTES / 2>(&low, fold);
    }
}
template <class Fold>
__device__ __forceinline__ real folded(const Lanes& a, Fold fold) { return folded<VECTOR>(&a, fold); }
#else
template <class Fold>
__device__ __forceinline__ real folded(const Lanes& a, Fold fold) {
    real part[LANES];
    UNROLLED for (int e = 0; e < LANES; e++) part[e] = a.v[e];
    UNROLLED for (int half = LANES / 2; half > 0; half /= 2)
        UNROLLED for (int e = 0; e < half; e++) part[e] = fold(part[e], part[e + half]);
    return part[0];
}
#endif

__device__ __forceinline__ real total(const Lanes& a) {
    return folded(a, [](const auto& low, const auto& high) { return low + high; });
}
