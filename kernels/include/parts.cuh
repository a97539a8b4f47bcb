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
    int e = 0;
    for (; e + LANES <= count; e += LANES) store_lanes(to + e, load_lanes(from + e));
    const Part part(count, e);
    if (e < count) store_part(to + e, load_part(from + e, part, from_end), part, to_end);
#else
    for (int e = 0; e < count; e++) to[e] = from[e];
#endif
}

// Packs that a thread takes side by side: four natively, as many lines of the cache; one on a GPU.
constexpr int WIDEST = 1 + (VECTOR / 32 + 1) / 2 * 3;

// How many of them, and whether they are whole.
template <int COUNT, bool WHOLE>
struct Width {
    static constexpr int packs = COUNT;
    static constexpr bool whole = WHOLE;
    __device__ __forceinline__ static Lanes get(const real* from, const Part& part, const real* end) {
        return WHOLE ? load_lanes(from) : load_part(from, part, end);
    }
    __device__ __forceinline__ static void put(real* to, const Lanes& a, const Part& part, const real* end) {
        if (WHOLE) store_lanes(to, a);
        else store_part(to, a, part, end);
    }
};

// Has the numbers `first` to `last` - 1 of a run done by take(width, c), from c on, as many packs as there are.
template <class Take>
__device__ __forceinline__ void each_width(int first, int last, int S, Take take) {
    for (int c = first; c < last;) {
        if constexpr (WIDEST == 4) {
            if (c + 4 * LANES <= last) { take(Width<4, true>(), c), c += 4 * LANES; continue; }
            if (c + 2 * LANES <= last) { take(Width<2, true>(), c), c += 2 * LANES; continue; }
        }
        if (Part(S, c).whole) take(Width<1, true>(), c);
        else take(Width<1, false>(), c);
        c += LANES;
    }
}
