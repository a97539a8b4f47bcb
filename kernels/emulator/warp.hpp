// Waiting for the block's other threads, and exchanging numbers with the lanes of a warp. Part of cuda.hpp.
#pragma once
#include "cuda.hpp"

inline void __syncthreads(CALLER) { ::emulator::barrier(line, file); }

inline void __syncwarp(unsigned mask = 0xffffffffu, CALLER) {
    ::emulator::meet("__syncwarp", mask, nullptr, 0, nullptr, true, line, file);
}

inline unsigned __activemask(CALLER) { return ::emulator::lanes_together(line, file); }

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
