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

// The tracing build calls watch.cpp at each load and store. Functions with more to say of an access (its line, that
// it is of 16 bytes, or atomic) say it by SEEN, and are passed over themselves.
#ifdef MINIDL_WATCHED
#define SEEN(address, size, access) ::emulator::watch_access(address, size, ::emulator::access, line)
#ifdef __clang__  // by the first word alone it would still report atomics
#define UNSEEN __attribute__((no_sanitize("thread"), disable_sanitizer_instrumentation, noinline))
#else
#define UNSEEN __attribute__((no_sanitize("thread"), noinline))
#endif
#else
#define SEEN(address, size, access) (void)line
#define UNSEEN
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

// `extern __shared__ T name[];` becomes `T(*name) = minidl_dynamic_shared();`
struct DynamicShared {
    template <class T> operator T*() const { return reinterpret_cast<T*>(::emulator::dynamic_shared); }
};
inline DynamicShared minidl_dynamic_shared() { return {}; }

namespace emulator {

// A __shared__ variable, between two pieces of memory that are nobody's: an access a little beyond it does no harm,
// and is seen.
template <class T, size_t ALIGNMENT>
struct Guarded {
#ifndef MINIDL_ASAN  // which has room of its own around every variable
    alignas(128) char before[SHARED_ROOM];
#endif
    alignas(ALIGNMENT > 16 ? ALIGNMENT : 16) alignas(T) T value;
#ifndef MINIDL_ASAN
    char behind[SHARED_ROOM];
#endif
};

struct FileShared {  // one that is declared outside of functions
    FileShared(const volatile void* address, size_t size, const char* name) {
        note_file_shared(const_cast<void*>(address), size, name);
    }
};

}  // namespace emulator

// Behind each declaration of a __shared__ variable.
#define MINIDL_SHARED(variable, room)                                                                   \
    do {                                                                                                \
        static int serial;                                                                              \
        ::emulator::note_shared(const_cast<void*>(static_cast<const volatile void*>(&variable)),        \
                                sizeof variable, #variable, room, serial);                              \
    } while (0);

#include "warp.hpp"
#include "atomics.hpp"
#include "instructions.hpp"

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
        ::emulator::call(&minidl_kernel_##name, values);                                       \
    }
