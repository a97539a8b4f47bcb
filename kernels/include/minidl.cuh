// The words that every kernel here uses.
#pragma once

// Every kernel says __launch_bounds__(256): blocks of 256 threads at most. A second number, where there is one, is
// how many blocks shall fit onto a multiprocessor at least. Left to itself the compiler aims at six there, and
// would rather keep a number in memory than do with five.

// The scalar type: each file is compiled once with -Dreal=float and once with -Dreal=double.
#ifndef real
#define real float
#endif

typedef long long int64;

// GPUs before sm_80 have neither TF32 nor asynchronous copies: files compile for them, and the rungs that need these
// are not chosen there (kernels/conv.py).
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define BEFORE_SM_80 1
#else
#define BEFORE_SM_80 0
#endif

// How an array of logical shape (N, C, H, W) must lie in memory. The compiler sees nothing;
// the launcher reads these words in a kernel's parameter list and arranges the array so.
#define NCHW  // as written: w is the fastest axis (also what is meant where nothing is said)
#define NHWC  // channels last: c is the fastest axis

// 16 bytes, read or written at once by one thread: four floats or two doubles.
constexpr int PACK = 16 / sizeof(real);
struct __align__(16) Pack {
    real v[PACK];
};

// The address must be a multiple of 16 bytes.
__device__ inline Pack load_pack(const real* from, int line = __builtin_LINE()) {
#ifdef MINIDL_EMULATED
    return minidl_load_pack<Pack>(from, line);
#else
    return *reinterpret_cast<const Pack*>(from);
#endif
}

__device__ inline void store_pack(real* to, const Pack& values, int line = __builtin_LINE()) {
#ifdef MINIDL_EMULATED
    minidl_store_pack<Pack>(to, values, line);
#else
    *reinterpret_cast<Pack*>(to) = values;
#endif
}

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
