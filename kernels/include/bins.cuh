// Sums at places that are only known at run time, without atomics and in a fixed order.
//
//     sums[p] = sum of value(e) over the entries e with place(e) = p, in ascending order of e
//
// An entry with a negative place leads nowhere.
//
// Pixels are cut into bins of consecutive places. One warp owns a bin, keeps its sums in shared memory, and
// walks through the entries in their order, 32 at a time, one per lane. Lanes at the same place take turns,
// the lowest first. So every sum is made by one warp, entry after entry: the result is the same on each run,
// and, where values are not products, the same bit for bit as that of a loop over the entries.
//
// So that a bin need not read all entries, a first kernel notes the lowest and the highest place in each
// chunk of 128 entries; a bin reads the chunks whose range meets its own. Cost: an entry is read by as many
// bins as the range of its chunk covers. Where neighbouring entries lead to neighbouring places, these are
// a few, and time is linear but for the ranges: a bin looks at all of them, 4096 entries in one step of a
// warp. For places in random order each bin reads every entry: entries times bins, still exact.
#pragma once
#include "minidl.cuh"
#include "places.cuh"

constexpr int CHUNK = 128;
constexpr unsigned ALL_LANES = 0xffffffffu;

// The range of one chunk, found by one warp.
template <class Place>
__device__ void find_range(int chunk, int entries, Place place, int* lowest, int* highest) {
    const int lane = threadIdx.x % 32, end = min(entries, (chunk + 1) * CHUNK);
    int low = 0x7fffffff, high = -1;
    for (int e = chunk * CHUNK + lane; e < end; e += 32) {
        const int p = place(e);
        if (p >= 0) low = min(low, p), high = max(high, p);
    }
    for (int offset = 16; offset > 0; offset /= 2) {
        low = min(low, __shfl_xor_sync(ALL_LANES, low, offset));
        high = max(high, __shfl_xor_sync(ALL_LANES, high, offset));
    }
    if (lane == 0) *lowest = low, *highest = high;
}

// How many lower lanes of those in `same` are at the same place, 0 <= place < SIZE: where all bits agree.
template <int SIZE>
__device__ int turn_of(int place, unsigned same) {
#pragma unroll
    for (int bit = 1; bit < SIZE; bit *= 2) {
        const unsigned set = __ballot_sync(ALL_LANES, (place & bit) != 0);
        same &= (place & bit) != 0 ? set : ~set;
    }
    const unsigned lower = (1u << threadIdx.x % 32) - 1;
    return __popc(same & lower);
}

// Walks a warp through the entries that may lie in its bin, SIZE places (a power of two) from `first` on, and
// calls add(place - first, value(e)) for those that do. lowest and highest: the ranges of all chunks.
// A lane reads AHEAD entries before it adds the first, so that their ways through memory overlap.
template <int SIZE, int AHEAD, class Place, class Value, class Add>
__device__ void fill_bin(int first, int entries, const int* lowest, const int* highest, Place place,
                         Value value, Add add) {
    const int lane = threadIdx.x % 32, chunks = ceil_div(entries, CHUNK);
    for (int group = 0; group < chunks; group += 32) {
        const int chunk = group + lane;
        const bool meets = chunk < chunks && lowest[chunk] < first + SIZE && highest[chunk] >= first;
        for (unsigned left = __ballot_sync(ALL_LANES, meets); left != 0; left &= left - 1) {
            const int start = (group + __ffs(left) - 1) * CHUNK;
            for (int e = start + lane; e < start + CHUNK; e += AHEAD * 32) {
                int to[AHEAD];
                decltype(value(0)) values[AHEAD] = {};
#pragma unroll
                for (int a = 0; a < AHEAD; a++) {
                    to[a] = e + a * 32 < entries ? place(e + a * 32) - first : -1;
                    if (to[a] >= SIZE) to[a] = -1;
                }
#pragma unroll
                for (int a = 0; a < AHEAD; a++)
                    if (to[a] >= 0) values[a] = value(e + a * 32);
#pragma unroll
                for (int a = 0; a < AHEAD; a++) {
                    const bool inside = to[a] >= 0;
                    const unsigned lanes = __ballot_sync(ALL_LANES, inside);
                    if (lanes == 0) continue;
                    const int turn = turn_of<SIZE>(to[a], lanes);
                    for (int t = 0; __any_sync(ALL_LANES, inside && turn >= t); t++) {
                        if (inside && turn == t) add(to[a], values[a]);
                        __syncwarp();
                    }
                }
            }
        }
    }
}
