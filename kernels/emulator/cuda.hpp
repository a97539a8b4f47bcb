// CUDA's words for a C++ compiler: what a .cu file may use without saying where it comes from.
//
// The build includes this ahead of the .cu file. A block's threads are fibers (runtime.hpp), so what makes a
// thread wait, or talk to others, is a call; the rest of CUDA is C++.
#pragma once
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>

#include "runtime.hpp"

#ifndef __has_feature
#define __has_feature(x) 0
#endif

#define MINIDL_EMULATED 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __constant__
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

// Where a call stands in the .cu file: as last arguments of a function, the line and file of its caller.
#define CALLER int line = __builtin_LINE(), const char* file = __builtin_FILE()

// Functions that the tracing build must not look into: they tell it themselves what they touch.
#ifdef __clang__  // by the first word alone it would still report atomics
#define UNSEEN __attribute__((no_sanitize("thread"), disable_sanitizer_instrumentation, noinline))
#else
#define UNSEEN __attribute__((no_sanitize("thread"), noinline))
#endif

// ------------------------------------------------------------------------------------------ Vector types

#define VECTOR(T, name)                                                    \
    struct name##1 { T x; };                                               \
    struct alignas(2 * sizeof(T)) name##2 { T x, y; };                     \
    struct name##3 { T x, y, z; };                                         \
    struct alignas(sizeof(T) > 4 ? 16 : 4 * sizeof(T)) name##4 { T x, y, z, w; }; \
    inline name##1 make_##name##1(T x) { return {x}; }                     \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }             \
    inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }     \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
VECTOR(int, int)
VECTOR(unsigned, uint)
VECTOR(float, float)
VECTOR(double, double)
VECTOR(short, short)
VECTOR(unsigned char, uchar)
VECTOR(long long, longlong)
#undef VECTOR

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define threadIdx (::emulator::current->index)
#define blockIdx (::emulator::block_index)
#define blockDim (::emulator::block_size)
#define gridDim (::emulator::grid_size)
constexpr int warpSize = 32;

// --------------------------------------------------------------------------------------------- Functions

using std::abs; using std::acos; using std::asin; using std::atan; using std::atan2; using std::cbrt;
using std::ceil; using std::copysign; using std::cos; using std::cosh; using std::erf; using std::erfc;
using std::exp; using std::exp2; using std::expm1; using std::fabs; using std::floor; using std::fma;
using std::fmax; using std::fmin; using std::fmod; using std::hypot; using std::isfinite; using std::isinf;
using std::isnan; using std::ldexp; using std::lgamma; using std::log; using std::log10; using std::log1p;
using std::log2; using std::lround; using std::nearbyint; using std::pow; using std::rint; using std::round;
using std::signbit; using std::sin; using std::sinh; using std::sqrt; using std::tan; using std::tanh;
using std::tgamma; using std::trunc;

template <class A, class B> constexpr auto min(A a, B b) -> decltype(a + b) { return b < a ? b : a; }
template <class A, class B> constexpr auto max(A a, B b) -> decltype(a + b) { return a < b ? b : a; }
inline float min(float a, float b) { return fminf(a, b); }  // of a number and a NaN: the number
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline float rsqrtf(float v) { return 1 / sqrtf(v); }
inline float rsqrt(float v) { return 1 / sqrtf(v); }
inline double rsqrt(double v) { return 1 / sqrt(v); }
inline float __expf(float v) { return expf(v); }
inline float __logf(float v) { return logf(v); }
inline float __sinf(float v) { return sinf(v); }
inline float __cosf(float v) { return cosf(v); }
inline float __powf(float a, float b) { return powf(a, b); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float v) { return fminf(fmaxf(v, 0), 1); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline int __float2int_rn(float v) { return int(rintf(v)); }
inline int __float2int_rd(float v) { return int(floorf(v)); }
inline int __float2int_rz(float v) { return int(v); }

template <class To, class From> To bits_as(From v) {
    static_assert(sizeof(To) == sizeof(From), "");
    To to;
    memcpy(&to, &v, sizeof to);
    return to;
}
inline unsigned __float_as_uint(float v) { return bits_as<unsigned>(v); }
inline int __float_as_int(float v) { return bits_as<int>(v); }
inline float __uint_as_float(unsigned v) { return bits_as<float>(v); }
inline float __int_as_float(int v) { return bits_as<float>(v); }
inline long long __double_as_longlong(double v) { return bits_as<long long>(v); }
inline double __longlong_as_double(long long v) { return bits_as<double>(v); }

inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __clz(int v) { return v ? __builtin_clz(v) : 32; }
inline int __clzll(long long v) { return v ? __builtin_clzll(v) : 64; }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __ffsll(long long v) { return __builtin_ffsll(v); }
inline unsigned __brev(unsigned v) {
    unsigned turned = 0;
    for (int bit = 0; bit < 32; bit++) turned = turned << 1 | (v >> bit & 1);
    return turned;
}
inline int __mulhi(int a, int b) { return int((long long)a * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
#define __ldg(from) (*(from))  // no function: it would be an access in this file

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __nanosleep(unsigned) {}

[[noreturn]] inline void __trap(CALLER) { ::emulator::fail("__trap() at %s:%d", ::emulator::name_of(file), line); }
#undef assert
#define assert(what) \
    ((what) ? void()      \
            : ::emulator::fail("assertion failed at %s:%d: %s", ::emulator::name_of(__FILE__), __LINE__, #what))

// ------------------------------------------------------------------------------------------ Shared memory

// `extern __shared__ T name[];` becomes `T* name = minidl_dynamic_shared();`
struct DynamicShared {
    template <class T> operator T*() const { return reinterpret_cast<T*>(::emulator::dynamic_shared); }
};
inline DynamicShared minidl_dynamic_shared() { return {}; }

// Behind each declaration of a __shared__ variable.
#define MINIDL_SHARED(variable)                                                            \
    do {                                                                                   \
        static int serial;                                                                 \
        ::emulator::note_shared(&variable, sizeof variable, #variable, serial);            \
    } while (0);

// ------------------------------------------------------------------------- Waiting, and talking in a warp

inline void __syncthreads(CALLER) { ::emulator::barrier(line, file); }

inline void __syncwarp(unsigned mask = 0xffffffffu, CALLER) {
    ::emulator::meet("__syncwarp", mask, nullptr, 0, nullptr, true, line, file);
}

inline unsigned __activemask() { return ::emulator::lanes_alive(); }

namespace emulator {

// A meeting in which each lane brings an In and takes an Out away: compute(in, out, lanes), where in and out
// are looked up by lane. It must not touch those of other lanes, which may be in another meeting.
template <class In, class Out, void (*COMPUTE)(const In* (&in)[32], Out* (&out)[32], unsigned lanes)>
Out exchange(const char* what, unsigned mask, const In& mine, int line, const char* file) {
    static_assert(sizeof(In) <= Warp::ROOM && sizeof(Out) <= Warp::ROOM, "more than a lane can bring");
    const auto compute = [](Warp& warp, unsigned lanes) {
        const In* in[32];
        Out* out[32];
        for (int lane = 0; lane < 32; lane++) {
            in[lane] = reinterpret_cast<const In*>(warp.in[lane]);
            out[lane] = reinterpret_cast<Out*>(warp.out[lane]);
        }
        COMPUTE(in, out, lanes);
    };
    return *static_cast<Out*>(meet(what, mask, &mine, sizeof mine, compute, false, line, file));
}

template <class T> struct Sent { T value; int from; };  // from: the lane that is asked for its value
template <class T> struct Got { T value; bool found; };

template <class T>
void shuffle(const Sent<T>* (&in)[32], Got<T>* (&out)[32], unsigned lanes) {
    for (unsigned left = lanes; left; left &= left - 1) {
        const int lane = __builtin_ctz(left), from = in[lane]->from;
        out[lane]->found = lanes >> from & 1;
        if (out[lane]->found) out[lane]->value = in[from]->value;
    }
}

template <class T>
T shuffled(const char* what, unsigned mask, T v, int from, int line, const char* file) {
    const Got<T> got = exchange<Sent<T>, Got<T>, shuffle<T>>(what, mask, {v, from}, line, file);
    if (!got.found)
        fail("asks lane %d of its warp for a value in %s at %s:%d, but that lane does not take part", from, what,
             name_of(file), line);
    return got.value;
}

inline void vote(const unsigned* (&in)[32], unsigned* (&out)[32], unsigned lanes) {
    unsigned votes = 0;
    for (unsigned left = lanes; left; left &= left - 1) votes |= (*in[__builtin_ctz(left)] != 0) * (left & -left);
    for (unsigned left = lanes; left; left &= left - 1) *out[__builtin_ctz(left)] = votes;
}

template <class T>
void match(const T* (&in)[32], unsigned* (&out)[32], unsigned lanes) {
    for (unsigned left = lanes; left; left &= left - 1) {
        const int lane = __builtin_ctz(left);
        *out[lane] = 0;
        for (int other = 0; other < 32; other++)
            if (lanes >> other & 1 && *in[lane] == *in[other]) *out[lane] |= 1u << other;
    }
}

template <class T, class Fold>
void fold(const T* (&in)[32], T* (&out)[32], unsigned lanes) {
    T total = *in[__builtin_ctz(lanes)];
    for (unsigned left = lanes & (lanes - 1); left; left &= left - 1) total = Fold()(total, *in[__builtin_ctz(left)]);
    for (unsigned left = lanes; left; left &= left - 1) *out[__builtin_ctz(left)] = total;
}

}  // namespace emulator

// Warps may be cut into segments of `width` lanes, a power of two, that keep to themselves.
template <class T> T __shfl_sync(unsigned mask, T v, int from, int width = 32, CALLER) {
    const int lane = ::emulator::current->lane;
    return ::emulator::shuffled("__shfl_sync", mask, v, (lane & -width) + (from & (width - 1)), line, file);
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int flip, int width = 32, CALLER) {
    const int lane = ::emulator::current->lane, from = lane ^ flip;
    const bool above = from >= (lane & -width) + width;
    return ::emulator::shuffled("__shfl_xor_sync", mask, v, above ? lane : from, line, file);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, CALLER) {
    const int lane = ::emulator::current->lane, from = lane - int(by);
    return ::emulator::shuffled("__shfl_up_sync", mask, v, from < (lane & -width) ? lane : from, line, file);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, CALLER) {
    const int lane = ::emulator::current->lane, from = lane + int(by);
    return ::emulator::shuffled("__shfl_down_sync", mask, v, from >= (lane & -width) + width ? lane : from, line, file);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, CALLER) {
    return ::emulator::exchange<unsigned, unsigned, ::emulator::vote>("__ballot_sync", mask, predicate != 0, line, file);
}
inline int __any_sync(unsigned mask, int predicate, CALLER) {
    return ::emulator::exchange<unsigned, unsigned, ::emulator::vote>("__any_sync", mask, predicate != 0, line, file) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CALLER) {
    return !::emulator::exchange<unsigned, unsigned, ::emulator::vote>("__all_sync", mask, predicate == 0, line, file);
}
template <class T> unsigned __match_any_sync(unsigned mask, T v, CALLER) {
    return ::emulator::exchange<T, unsigned, ::emulator::match<T>>("__match_any_sync", mask, v, line, file);
}

#define REDUCTION(name, expression)                                                                        \
    namespace emulator {                                                                                   \
    struct Fold_##name { template <class T> T operator()(T a, T b) const { return expression; } };          \
    }                                                                                                      \
    template <class T> T __reduce_##name##_sync(unsigned mask, T v, CALLER) {                               \
        return ::emulator::exchange<T, T, ::emulator::fold<T, ::emulator::Fold_##name>>(                    \
            "__reduce_" #name "_sync", mask, v, line, file);                                               \
    }
REDUCTION(add, a + b)
REDUCTION(min, b < a ? b : a)
REDUCTION(max, a < b ? b : a)
REDUCTION(and, a & b)
REDUCTION(or, a | b)
REDUCTION(xor, a ^ b)
#undef REDUCTION

// -------------------------------------------------------------------------------------------- Atomics
//
// Blocks run on several cores, so these must be atomic here too.

#ifdef MINIDL_WATCHED
#define SEEN(address, size, access) ::emulator::watch_access(address, size, ::emulator::access, line)
#define ATOMIC_FUNCTION UNSEEN
#else
#define SEEN(address, size, access) (void)line
#define ATOMIC_FUNCTION inline
#endif

template <class T, class Change>
ATOMIC_FUNCTION T minidl_atomic(T* at, Change change, int line) {
    SEEN(at, sizeof(T), ATOMIC);
    T old, changed;
    __atomic_load(at, &old, __ATOMIC_RELAXED);
    do changed = change(old);
    while (!__atomic_compare_exchange(at, &old, &changed, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}

#define ATOMIC(name, T, expression)                                                                   \
    inline T atomic##name(T* at, T v, int line = __builtin_LINE()) {                                  \
        return minidl_atomic(at, [=](T old) -> T { return expression; }, line);                       \
    }
#define ATOMICS(T)                        \
    ATOMIC(Add, T, old + v)               \
    ATOMIC(Exch, T, v)                    \
    ATOMIC(Min, T, v < old ? v : old)     \
    ATOMIC(Max, T, old < v ? v : old)
#define BITWISE(T)                                                                                            \
    ATOMIC(Sub, T, old - v)                                                                                   \
    ATOMIC(And, T, old & v)                                                                                   \
    ATOMIC(Or, T, old | v)                                                                                    \
    ATOMIC(Xor, T, old ^ v)                                                                                   \
    inline T atomicCAS(T* at, T expected, T v, int line = __builtin_LINE()) {                                 \
        return minidl_atomic(at, [=](T old) -> T { return old == expected ? v : old; }, line);                \
    }
ATOMICS(int) ATOMICS(unsigned) ATOMICS(unsigned long long) ATOMICS(float) ATOMICS(double)
BITWISE(int) BITWISE(unsigned) BITWISE(unsigned long long)
#undef ATOMIC
#undef ATOMICS
#undef BITWISE

// ---------------------------------------------------------- What the functions in kernels/include ask for

// 16 bytes at once.
template <class Pack>
#ifdef MINIDL_WATCHED
UNSEEN
#endif
Pack minidl_load_pack(const void* from, int line) {
    SEEN(from, 16, READ);
    if (reinterpret_cast<uintptr_t>(from) % 16) ::emulator::fail("line %d reads 16 bytes at an address that is no multiple of 16", line);
    return *static_cast<const Pack*>(from);
}

template <class Pack>
#ifdef MINIDL_WATCHED
UNSEEN
#endif
void minidl_store_pack(void* to, const Pack& values, int line) {
    SEEN(to, 16, WRITE);
    if (reinterpret_cast<uintptr_t>(to) % 16) ::emulator::fail("line %d writes 16 bytes at an address that is no multiple of 16", line);
    *static_cast<Pack*>(to) = values;
}

// cp.async: made when it is waited for, and not before, so that a missing wait shows.
inline void minidl_copy_async(void* to, const void* from, bool inside, int line) {
    SEEN(to, 16, STARTED);
    if (reinterpret_cast<uintptr_t>(to) % 16 || (inside && reinterpret_cast<uintptr_t>(from) % 16))
        ::emulator::fail("line %d copies 16 bytes at an address that is no multiple of 16", line);
    ::emulator::current->copies.push_back({to, from, inside, ::emulator::current->group, line});
}

inline void minidl_commit_copies() { ::emulator::current->group++; }

// Until at most n groups are on their way.
inline void minidl_wait_copies(int n) {
    ::emulator::Thread& self = *::emulator::current;
    size_t done = 0;
    while (done < self.copies.size() && self.copies[done].group < self.group - n) {
        const ::emulator::Copy& copy = self.copies[done++];
        const float4 values = copy.inside ? minidl_load_pack<float4>(copy.from, copy.line) : float4{};
        minidl_store_pack(copy.to, values, copy.line);
    }
    self.copies.erase(self.copies.begin(), self.copies.begin() + done);
}

// Tensor cores; see mma.cuh for which lane holds what.
namespace emulator {

struct Fragments { float a[4], b[2], d[4]; };
struct Result { float d[4]; };

inline double as_tf32(float v) { return bits_as<float>(bits_as<unsigned>(v) & 0xffffe000u); }

// The tensor core rounds its sums towards zero.
inline float towards_zero(double v) {
    const float nearest = float(v);
    return fabs(double(nearest)) > fabs(v) && !std::isinf(v) ? std::nextafterf(nearest, 0) : nearest;
}

inline void multiply_tf32(const Fragments* (&in)[32], Result* (&out)[32], unsigned lanes) {
    if (lanes != 0xffffffffu) fail("mma needs all 32 lanes of the warp");
    double a[16][8], b[8][8];
    for (int lane = 0; lane < 32; lane++) {
        const int g = lane / 4, t = lane % 4;
        const Fragments& f = *in[lane];
        a[g][t] = as_tf32(f.a[0]), a[g + 8][t] = as_tf32(f.a[1]);
        a[g][t + 4] = as_tf32(f.a[2]), a[g + 8][t + 4] = as_tf32(f.a[3]);
        b[t][g] = as_tf32(f.b[0]), b[t + 4][g] = as_tf32(f.b[1]);
    }
    for (int lane = 0; lane < 32; lane++)
        for (int e = 0; e < 4; e++) {
            const int row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
            double sum = in[lane]->d[e];
            for (int k = 0; k < 8; k++) sum += a[row][k] * b[k][column];
            out[lane]->d[e] = towards_zero(sum);
        }
}

struct Row { float v[4]; };

inline void hand_out_rows(const Row* (&in)[32], Row* (&out)[32], unsigned lanes) {
    if (lanes != 0xffffffffu) fail("ldmatrix needs all 32 lanes of the warp");
    for (int lane = 0; lane < 32; lane++)
        for (int q = 0; q < 4; q++) out[lane]->v[q] = in[8 * q + lane / 4]->v[lane % 4];
}

}  // namespace emulator

inline void minidl_mma_tf32(float (&d)[4], const float (&a)[4], const float (&b)[2], CALLER) {
    using namespace emulator;
    const Fragments mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {d[0], d[1], d[2], d[3]}};
    const Result result = exchange<Fragments, Result, multiply_tf32>("mma", 0xffffffffu, mine, line, file);
    memcpy(d, result.d, sizeof d);
}

inline void minidl_load_matrices(float (&v)[4], const float* row, int line) {
    using namespace emulator;
    const Row mine = minidl_load_pack<Row>(row, line);
    const Row result = exchange<Row, Row, hand_out_rows>("ldmatrix", 0xffffffffu, mine, line, "");
    memcpy(v, result.v, sizeof v);
}

// ------------------------------------------------------------------------------------ Calling a kernel

namespace emulator {

template <class... Parameters, size_t... I>
void call(void (*function)(Parameters...), void** values, std::index_sequence<I...>) {
    function(*static_cast<std::remove_const_t<std::remove_reference_t<Parameters>>*>(values[I])...);
}

template <class... Parameters>
void call(void (*function)(Parameters...), void** values) {
    call(function, values, std::index_sequence_for<Parameters...>());
}

}  // namespace emulator

#ifdef __clang__
#define EXPORTED __attribute__((visibility("default")))
#else  // the second word: even where the compiler is told that this file is all there is (-fwhole-program)
#define EXPORTED __attribute__((visibility("default"), externally_visible))
#endif

// One for each kernel, at the end of the file: takes the arguments by address, in the order of the parameters.
#define MINIDL_KERNEL(name)                                                                    \
    extern "C" EXPORTED void minidl_call_##name(void** values) {                               \
        ::emulator::call(&name, values);                                                       \
    }
