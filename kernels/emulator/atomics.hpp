// Atomic functions. Blocks run on several cores, so these must be atomic here too. Part of cuda.hpp.
#pragma once
#include "cuda.hpp"

template <class T, class Change>
UNSEEN T minidl_atomic(T* at, Change change, int line) {
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
