// Parts of packs: what a thread takes of a run of S neighbours, which need not be a whole number of packs.
#pragma once
#include "packs.cuh"

// What thread t takes of the run: the numbers from `first` to `last` - 1, `many` packs of them.
struct Share {
    int first, last;
    __device__ __forceinline__ Share(int t, int S, int many)
        : first(t * many * LANES), last(min(S, first + many * LANES)) {}
};

// The numbers `first` to `first + LANES - 1` of the run, or those of them that there are.
struct Part {
    int count;
    bool whole;  // moved at once; on a GPU all of the run is cut into whole packs then, as they must be aligned

    __device__ Part(int S, int first) {
        count = min(LANES, S - first);
#ifdef MINIDL_NATIVE
        whole = count == LANES;
#else
        whole = S % LANES == 0;
#endif
    }
};

#ifdef MINIDL_NATIVE
// Natively what lies behind a part is moved as well, since that is quicker: it is read up to the array's end, and
// nobody uses it; it is written up to `end`, where the same thread writes it again, later.
__device__ __forceinline__ Lanes load_part(const real* from, const Part& part, const real* end) {
    if (part.whole || end - from >= LANES) return load_lanes(from);
    real v[LANES] = {};
    for (int e = 0; e < part.count; e++) v[e] = from[e];
    return load_lanes(v);
}

__device__ __forceinline__ void store_part(real* to, const Lanes& a, const Part& part, const real* end) {
    if (part.whole || end - to >= LANES) return store_lanes(to, a);
    real v[LANES];
    store_lanes(v, a);
    int done = 0;
    UNROLLED for (int size = LANES / 2; size > 0; size /= 2)  // halves, quarters, ...: each is one store
        if (part.count & size) memcpy(to + done, v + done, size * sizeof(real)), done += size;
}
#else
__device__ __forceinline__ Lanes load_part(const real* from, const Part& part, const real*, int line = __builtin_LINE()) {
    if (part.whole) return load_lanes(from, line);
    Lanes a;
    UNROLLED for (int e = 0; e < LANES; e++) a.v[e] = e < part.count ? from[e] : real(0);
    return a;
}

__device__ __forceinline__ void store_part(real* to, const Lanes& a, const Part& part, const real*,
                                           int line = __builtin_LINE()) {
    if (part.whole) return store_lanes(to, a, line);
    UNROLLED for (int e = 0; e < LANES; e++)
        if (e < part.count) to[e] = a.v[e];
}
#endif

// Copies neighbours, from any address to any: a GPU moves packs from and to aligned ones only.
__device__ __forceinline__ void copy(real* to, const real* from, int count, const real* to_end, const real* from_end) {
#ifdef MINIDL_NATIVE
    for (int e = 0; e < count; e += LANES) {
        const Part part(count, e);
        store_part(to + e, load_part(from + e, part, from_end), part, to_end);
    }
#else
    for (int e = 0; e < count; e++) to[e] = from[e];
#endif
}
