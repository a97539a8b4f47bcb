// CUDA's words for kernels whose threads never meet, so that a launch is a plain loop over them.
//
// The build includes this ahead of the .cu file. A thread that waits for another, or shares memory with it, does
// not compile: what needs that is run by the emulator (kernels/emulator).
#pragma once
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#define MINIDL_NATIVE 1
#define __global__ __attribute__((always_inline)) inline
#define __device__
#define __host__
#define __forceinline__ __attribute__((always_inline)) inline
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __restrict__ __restrict

// The bytes of a register of several numbers, on the CPU for which this is compiled.
#if defined(__AVX512F__)
#define VECTOR 64
#elif defined(__AVX__)
#define VECTOR 32
#else
#define VECTOR 16
#endif

struct dim3 { unsigned x, y, z; };
static thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

using std::abs; using std::exp; using std::expm1; using std::fabs; using std::floor; using std::fma;
using std::isnan; using std::log; using std::log1p; using std::pow; using std::sqrt; using std::tanh;

template <class A, class B> constexpr auto min(A a, B b) -> decltype(a + b) { return b < a ? b : a; }
template <class A, class B> constexpr auto max(A a, B b) -> decltype(a + b) { return a < b ? b : a; }

// Threads of a native kernel do not meet.
void __syncthreads() = delete;
void __syncwarp(unsigned = 0) = delete;

// ------------------------------------------------------------------------------------ Calling a kernel

namespace native {

// A launch as Python packs it: this, and behind it the arguments in their order, each at a multiple of 8 bytes.
struct Launch {
    dim3 grid, block;
    long long blocks, threads;  // of the grid; of the CPU
};

template <class T> using Value = std::remove_const_t<std::remove_reference_t<T>>;
template <class T> constexpr size_t room = (sizeof(T) + 7) / 8 * 8;

// Takes the arguments off one by one, then calls `body` with all of them.
template <class... Taken, class Body>
__forceinline__ void unpack(void (*)(), const char*, Body body, const Taken&... taken) { body(taken...); }

template <class Next, class... Others, class Body, class... Taken>
__forceinline__ void unpack(void (*)(Next, Others...), const char* from, Body body, const Taken&... taken) {
    Value<Next> value;
    memcpy(&value, from, sizeof value);
    unpack(static_cast<void (*)(Others...)>(nullptr), from + room<Value<Next>>, body, taken..., value);
}

// Computes blocks first to last - 1, one thread after another.
template <class Body>
__forceinline__ void each(const Launch& launch, long long first, long long last, Body body) {
    const dim3 grid = launch.grid, block = launch.block;
    gridDim = grid, blockDim = block;
    for (long long b = first; b < last; b++) {
        blockIdx = {unsigned(b % grid.x), unsigned(b / grid.x % grid.y), unsigned(b / grid.x / grid.y)};
        for (unsigned z = 0; z < block.z; z++)
            for (unsigned y = 0; y < block.y; y++)
                for (unsigned x = 0; x < block.x; x++) threadIdx = {x, y, z}, body();
    }
}

}  // namespace native

#define EXPORTED __attribute__((visibility("default")))

extern "C" EXPORTED const int minidl_vector = VECTOR;

// One for each kernel, at the end of the file.
#define MINIDL_KERNEL(name)                                                                              \
    extern "C" EXPORTED void minidl_call_##name(const native::Launch* launch, long long first, long long last) { \
        decltype(&minidl_kernel_##name) type = nullptr;                                                  \
        native::unpack(type, reinterpret_cast<const char*>(launch + 1), [&](const auto&... values) {     \
            native::each(*launch, first, last, [&] { minidl_kernel_##name(values...); });                \
        });                                                                                              \
    }
