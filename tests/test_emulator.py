"""The emulator does what CUDA does: indices, waiting, warps, memory. It says what goes wrong."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from minidl.compute import threads
from minidl.cuda import compiler as compiler_module
from minidl.cuda.emulator import building
from minidl.cuda.launch import launch
from minidl.cuda.source import kernels_of
from minidl.errors import DeviceError, KernelError

ALL = 0xFFFFFFFF


def run(text, name, grid, block, shared=0, **arguments):
    launch(kernels_of(text)[name], grid, block, shared, **arguments)


def line_of(text, marker):
    """The number of the only line of a text that has this comment."""
    found = [i for i, line in enumerate(text.splitlines(), 1) if line.endswith(f"// {marker}")]
    assert len(found) == 1, marker
    return found[0]


def failure(text, name, grid, block, **arguments):
    """The message of a launch that fails, and the proof that the next launch works."""
    with pytest.raises(KernelError) as caught:
        run(text, name, grid, block, **arguments)
    x = np.zeros(64, np.int32)
    run(text, "fine", 2, 32, x=x)
    assert (x == np.arange(64) % 32 + 1).all()
    return str(caught.value)


# --- threads, blocks, barriers ---

THREADS = """
extern "C" __global__ void indices(int* out) {
    int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    int threads = blockDim.x * blockDim.y * blockDim.z;
    int* here = out + (block * threads + thread) * 6;
    here[0] = blockIdx.x, here[1] = blockIdx.y, here[2] = blockIdx.z;
    here[3] = threadIdx.x, here[4] = threadIdx.y, here[5] = threadIdx.z;
}

extern "C" __global__ void dimensions(int* out) {
    out[0] = gridDim.x, out[1] = gridDim.y, out[2] = gridDim.z;
    out[3] = blockDim.x, out[4] = blockDim.y, out[5] = blockDim.z, out[6] = warpSize;
}

// Thread 0 passes a number on to its neighbour, who passes it on, ...: one barrier for each.
extern "C" __global__ void passed_on(int* x, int n) {
    __shared__ int hands[256];
    hands[threadIdx.x] = threadIdx.x == 0 ? 7 : 0;
    for (int turn = 1; turn < n; turn++) {
        __syncthreads();
        if (threadIdx.x == turn) hands[turn] = hands[turn - 1] + 1;
    }
    x[blockIdx.x * n + threadIdx.x] = hands[threadIdx.x];
}

// More numbers alive across each barrier than the registers that a call preserves.
extern "C" __global__ void many_values(const double* x, double* y, int turns) {
    double a = x[0], b = x[1], c = x[2], d = x[3];
    long long i = threadIdx.x, j = i * 3, k = i * 5, l = i * 7, m = i * 11, n = i * 13, o = i * 17;
    for (int t = 0; t < turns; t++) {
        __syncthreads();
        a += b * t, b += c, c += d, d += i;
        i += j & 7, j += k & 7, k += l & 7, l += m & 7, m += n & 7, n += o & 7, o += 1;
    }
    double* here = y + threadIdx.x * 11;
    here[0] = a, here[1] = b, here[2] = c, here[3] = d, here[4] = i, here[5] = j;
    here[6] = k, here[7] = l, here[8] = m, here[9] = n, here[10] = o;
}

extern "C" __global__ void __launch_bounds__(128) bounded(int* x) { x[threadIdx.x] = 1; }
"""


def test_threads_and_blocks_know_their_indices_in_three_dimensions():
    grid, block = (2, 3, 4), (5, 3, 2)
    out = np.zeros((4, 3, 2, 2, 3, 5, 6), np.int32)
    run(THREADS, "indices", grid, block, out=out)
    expected = np.stack(np.meshgrid(*map(np.arange, out.shape[:-1]), indexing="ij"), -1)
    assert (out == expected[..., [2, 1, 0, 5, 4, 3]]).all()


def test_threads_know_the_dimensions_of_grid_and_block():
    out = np.zeros(7, np.int32)
    run(THREADS, "dimensions", (2, 3, 4), (5, 6, 7), out=out)
    assert out.tolist() == [2, 3, 4, 5, 6, 7, 32]


@pytest.mark.parametrize("n", [1, 2, 33, 256])
def test_barriers_order_what_threads_write(n):
    x = np.zeros((3, n), np.int32)
    run(THREADS, "passed_on", 3, n, x=x, n=n)
    assert (x == 7 + np.arange(n)).all()


def values_by_hand(x, threads, turns):
    expected = np.empty((threads, 11))
    for thread in range(threads):
        (a, b, c, d), whole = x, [thread * p for p in (1, 3, 5, 7, 11, 13, 17)]
        for t in range(turns):
            a += b * t
            b, c, d = b + c, c + d, d + whole[0]
            for p in range(6):
                whole[p] += whole[p + 1] & 7
            whole[6] += 1
        expected[thread] = a, b, c, d, *whole
    return expected


def test_a_change_of_stacks_keeps_all_live_values():
    x, y = np.array([0.5, 1.25, -2.0, 3.0]), np.zeros((40, 11))
    run(THREADS, "many_values", 1, 40, x=x, y=y, turns=9)
    assert (y == values_by_hand(x, 40, 9)).all()


def test_a_block_may_be_as_large_as_launch_bounds_say():
    x = np.zeros(128, np.int32)
    run(THREADS, "bounded", 1, 128, x=x)
    assert x.all()


def test_the_systems_own_change_of_stacks_gives_the_same(monkeypatch):
    plain = building.MODES["plain"]
    flags = (*plain.flags, "-DMINIDL_UCONTEXT")
    monkeypatch.setitem(building.MODES, "plain", replace(plain, flags=flags))
    text = THREADS + "\n// with ucontext"
    x, y = np.array([0.5, 1.25, -2.0, 3.0]), np.zeros((40, 11))
    run(text, "many_values", 1, 40, x=x, y=y, turns=9)
    assert (y == values_by_hand(x, 40, 9)).all()
    x = np.zeros((3, 64), np.int32)
    run(text, "passed_on", 3, 64, x=x, n=64)
    assert (x == 7 + np.arange(64)).all()


# --- warps ---

WARPS = """
constexpr unsigned ALL = 0xffffffffu;

template <class T> __device__ void shuffles(const T* x, T* y, int by, int width) {
    T v = x[threadIdx.x];
    y[threadIdx.x] = __shfl_sync(ALL, v, by, width);
    y[threadIdx.x + 32] = __shfl_xor_sync(ALL, v, by, width);
    y[threadIdx.x + 64] = __shfl_up_sync(ALL, v, by, width);
    y[threadIdx.x + 96] = __shfl_down_sync(ALL, v, by, width);
}
extern "C" __global__ void shuffles_int(const int* x, int* y, int by, int width) {
    shuffles(x, y, by, width);
}
extern "C" __global__ void shuffles_float(const float* x, float* y, int by, int width) {
    shuffles(x, y, by, width);
}
extern "C" __global__ void shuffles_double(const double* x, double* y, int by, int width) {
    shuffles(x, y, by, width);
}

extern "C" __global__ void votes(const int* x, unsigned* y) {
    int v = x[threadIdx.x];
    unsigned* here = y + threadIdx.x * 6;
    here[0] = __ballot_sync(ALL, v > 3);
    here[1] = __any_sync(ALL, v > 3), here[2] = __all_sync(ALL, v > 3);
    here[3] = __any_sync(ALL, v > 99), here[4] = __all_sync(ALL, v < 99);
    here[5] = __match_any_sync(ALL, v);
}

extern "C" __global__ void reductions(const unsigned* x, unsigned* y, unsigned mask) {
    if (!(mask >> threadIdx.x & 1)) return;
    unsigned v = x[threadIdx.x], * here = y + threadIdx.x * 6;
    here[0] = __reduce_add_sync(mask, v), here[1] = __reduce_min_sync(mask, v);
    here[2] = __reduce_max_sync(mask, v), here[3] = __reduce_and_sync(mask, v);
    here[4] = __reduce_or_sync(mask, v), here[5] = __reduce_xor_sync(mask, v);
}

// The lower lanes of a warp and the upper ones go ways of their own, and meet in different order.
extern "C" __global__ void apart(int* y) {
    int lane = threadIdx.x, sum = lane;
    if (lane < 12) {
        for (int i = 0; i < 5; i++) sum = __reduce_add_sync(0x00000fffu, sum) % 1000 + lane;
    } else {
        for (int i = 0; i < 3; i++) sum = __reduce_max_sync(0xfffff000u, sum) - lane;
        __syncwarp(0xfffff000u);
    }
    y[lane] = sum;
    y[lane + 32] = __activemask();
    __syncwarp();
}

// Each lane hands its number to the next one, by shared memory.
extern "C" __global__ void neighbours(const int* x, int* y) {
    __shared__ int hands[64];
    for (int turn = 0; turn < 3; turn++) {
        hands[threadIdx.x] = x[threadIdx.x] + turn;
        __syncwarp();
        y[threadIdx.x + turn * 64] = hands[threadIdx.x / 32 * 32 + (threadIdx.x + 1) % 32];
        __syncwarp();
    }
}

// A last warp of fewer than 32 lanes.
extern "C" __global__ void partial_warp(int* y) { y[threadIdx.x] = __reduce_add_sync(ALL, 1); }
"""


@pytest.mark.parametrize("dtype, name", [("i4", "int"), ("f4", "float"), ("f8", "double")])
@pytest.mark.parametrize("by, width", [(0, 32), (1, 32), (16, 32), (3, 8), (31, 16), (1, 4)])
def test_shuffles_move_values_between_lanes(dtype, name, by, width):
    x = np.random.default_rng(by).normal(0, 1e6, 32).astype(dtype)
    y = np.zeros((4, 32), dtype)
    run(WARPS, f"shuffles_{name}", 1, 32, x=x, y=y, by=by, width=width)
    lane = np.arange(32)
    first = lane // width * width
    asked = [
        first + by % width,
        np.where((lane ^ by) < first + width, lane ^ by, lane),
        np.where(lane - by >= first, lane - by, lane),
        np.where(lane + by < first + width, lane + by, lane),
    ]
    assert (y == x[np.stack(asked)]).all()


def test_votes_and_matches_see_all_lanes():
    x = np.arange(32, dtype=np.int32) % 7
    y = np.zeros((32, 6), np.uint32)
    run(WARPS, "votes", 1, 32, x=x, y=y)
    ballot = sum(1 << lane for lane in range(32) if x[lane] > 3)
    assert (y[:, :5] == [ballot, 1, 0, 0, 1]).all()
    assert y[:, 5].tolist() == [sum(1 << o for o in range(32) if x[o] == v) for v in x]


@pytest.mark.parametrize("mask", [ALL, 0x0F0F00F1, 1 << 31])
def test_reductions_fold_the_lanes_of_the_mask(mask):
    x = np.random.default_rng(0).integers(0, 2**20, 32, np.uint32)
    y = np.zeros((32, 6), np.uint32)
    run(WARPS, "reductions", 1, 32, x=x, y=y, mask=mask)
    inside = [lane for lane in range(32) if mask >> lane & 1]
    folds = (np.add, np.minimum, np.maximum, np.bitwise_and, np.bitwise_or, np.bitwise_xor)
    assert (y[inside] == [fold.reduce(x[inside]) for fold in folds]).all()
    assert not np.delete(y, inside, axis=0).any()


def test_lanes_of_different_masks_meet_apart():
    y = np.zeros(64, np.int32)
    run(WARPS, "apart", 1, 32, y=y)
    lane = np.arange(32)
    low, high = lane[:12].copy(), lane[12:].copy()
    for _ in range(5):
        low = low.sum() % 1000 + lane[:12]
    for _ in range(3):
        high = high.max() - lane[12:]
    assert y[:32].tolist() == [*low, *high]
    assert (y[32:] == -1).all()


def test_lanes_wait_for_each_other_at_syncwarp():
    x, y = np.arange(64, dtype=np.int32) ** 2, np.zeros((3, 64), np.int32)
    run(WARPS, "neighbours", 1, 64, x=x, y=y)
    following = np.roll(x.reshape(2, 32), -1, axis=1).reshape(64)
    assert (y == following + np.arange(3)[:, None]).all()


def test_a_mask_means_the_lanes_that_a_small_block_has():
    y = np.zeros(37, np.int32)
    run(WARPS, "partial_warp", 1, 37, y=y)
    assert y.tolist() == [32] * 32 + [5] * 5


# --- memory ---

MEMORY = """
#include "async.cuh"

extern "C" __global__ void atomics(int* counts, float* sum, double* total, int* smallest,
                                   int* largest, unsigned* bits, unsigned long long* long_sum) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(&counts[i % 3], 1);
    atomicAdd(sum, 1.0f), atomicAdd(total, 0.5);
    atomicMin(smallest, -i), atomicMax(largest, i);
    const unsigned bit = 1u << i % 20;
    atomicOr(bits, bit), atomicXor(bits + 1, bit), atomicAnd(bits + 2, ~bit);
    atomicAdd(long_sum, 1ull << 33);
}

extern "C" __global__ void tickets(int* taken, int* next, int* lock, int* held) {
    taken[atomicAdd(next, 1)] = blockIdx.x + 1;
    while (atomicCAS(lock, 0, 1) != 0) {}
    held[0] += 1;
    atomicExch(lock, 0);
}

extern "C" __global__ void unwritten(float* y, int* z) {
    __shared__ float numbers[4], pair[2][3];
    extern __shared__ float more[];
    if (threadIdx.x == 0) {
        for (int i = 0; i < 4; i++) y[i] = numbers[i];
        for (int i = 0; i < 6; i++) y[4 + i] = pair[i / 3][i % 3], pair[i / 3][i % 3] = 1;
        for (int i = 0; i < 4; i++) y[10 + i] = more[i], more[i] = 1;
        for (int i = 0; i < 4; i++) numbers[i] = 1;
    }
}

extern "C" __global__ void dynamic(const double* x, double* y) {
    extern __shared__ double room[];
    int* after = (int*)(room + blockDim.x);
    room[threadIdx.x] = x[threadIdx.x], after[threadIdx.x] = threadIdx.x;
    __syncthreads();
    int other = blockDim.x - 1 - threadIdx.x;
    y[threadIdx.x] = room[other] + after[other];
}

// What is copied is there after the wait, and not before. Lane 1 brings zeros.
extern "C" __global__ void copied(const float* x, float* y) {
    __shared__ __align__(16) float first[8], second[8];
    const int lane = threadIdx.x;
    if (lane < 2) {
        copy_async(first + 4 * lane, x + 4 * lane, lane == 0);
        commit_copies();
        copy_async(second + 4 * lane, x + 8 + 4 * lane, true);
        commit_copies();
    }
    __syncthreads();
    y[lane] = first[lane], y[8 + lane] = second[lane];
    __syncthreads();
    wait_copies<1>();
    __syncthreads();
    y[16 + lane] = first[lane], y[24 + lane] = second[lane];
    __syncthreads();
    wait_copies<0>();
    __syncthreads();
    y[32 + lane] = first[lane], y[40 + lane] = second[lane];
}

extern "C" __global__ void vectors(const float* x, float* y) {
    float4 v = reinterpret_cast<const float4*>(x)[threadIdx.x];
    float2 w = make_float2(v.x + v.y, v.z + v.w);
    reinterpret_cast<float2*>(y)[threadIdx.x] = w;
    Pack pack = load_pack(x + threadIdx.x * PACK);
    for (int p = 0; p < PACK; p++) pack.v[p] = -pack.v[p];
    store_pack(y + 2 * blockDim.x + threadIdx.x * PACK, pack);
    int3 sizes = make_int3(sizeof(float3), sizeof(float4), alignof(float4));
    if (threadIdx.x == 0) y[0] += sizes.x * 1000 + sizes.y * 10 + (sizes.z == 16);
}
"""


def test_atomics_count_every_thread_of_every_block(monkeypatch):
    monkeypatch.setattr(threads, "count", lambda: 2)
    n = 64 * 128
    i = np.arange(n)
    outputs = {
        "counts": np.zeros(3, np.int32), "sum": np.zeros(1, np.float32), "total": np.zeros(1),
        "smallest": np.zeros(1, np.int32), "largest": np.zeros(1, np.int32),
        "bits": np.array([0, 0, ALL], np.uint32), "long_sum": np.zeros(1, np.uint64),
    }
    run(MEMORY, "atomics", 64, 128, **outputs)
    assert outputs["counts"].tolist() == np.bincount(i % 3).tolist()
    assert outputs["sum"] == n and outputs["total"] == n / 2
    assert outputs["smallest"] == 1 - n and outputs["largest"] == n - 1
    odd = sum(1 << b for b in range(20) if (i % 20 == b).sum() % 2)
    assert outputs["bits"].tolist() == [2**20 - 1, odd, ALL - (2**20 - 1)]
    assert outputs["long_sum"] == n << 33


def test_blocks_on_two_cores_share_tickets_and_locks(monkeypatch):
    monkeypatch.setattr(threads, "count", lambda: 2)
    n = 5000
    taken, (next_, lock, held) = np.zeros(n, np.int32), np.zeros((3, 1), np.int32)
    run(MEMORY, "tickets", n, 1, taken=taken, next=next_, lock=lock, held=held)
    assert sorted(taken) == list(range(1, n + 1))
    assert (next_[0], lock[0], held[0]) == (n, 0, n)


def test_shared_memory_is_nan_at_the_start_of_every_block():
    y, z = np.zeros(14, np.float32), np.zeros(1, np.int32)
    for _ in range(2):  # the second launch finds the first one's numbers if nobody clears them
        y[:] = 0
        run(MEMORY, "unwritten", 3, 2, shared=16, y=y, z=z)
        assert np.isnan(y).all()


def test_dynamic_shared_memory_is_as_large_as_the_launch_says():
    x, y = np.arange(70.0) / 8, np.zeros(70)
    run(MEMORY, "dynamic", 2, 70, shared=70 * 12, x=x, y=y)
    assert (y == x[::-1] + np.arange(70)[::-1]).all()


def test_copies_arrive_when_they_are_waited_for_and_not_before():
    x, y = np.arange(1, 17, dtype=np.float32), np.zeros((3, 2, 8), np.float32)
    run(MEMORY, "copied", 1, 8, x=x, y=y)
    assert np.isnan(y[0]).all() and np.isnan(y[1, 1]).all()
    first = [1, 2, 3, 4, 0, 0, 0, 0]
    assert y[1, 0].tolist() == first and y[2].tolist() == [first, x[8:].tolist()]


def test_vector_types_have_the_sizes_of_cuda():
    x, y = np.arange(32, dtype=np.float32), np.zeros(16 + 32, np.float32)
    run(MEMORY, "vectors", 1, 8, x=x, y=y)
    sums = x.reshape(16, 2).sum(1)
    sums[0] += 12 * 1000 + 16 * 10 + 1
    assert y.tolist() == [*sums, *-x]


# --- tensor cores and mathematics ---

MATHS = """
#include "mma.cuh"
#include "warp.cuh"

extern "C" __global__ void product(const float* a, const float* b, float* d) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    float x[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + t + 4], a[(g + 8) * 8 + t + 4]};
    float y[2] = {b[t * 8 + g], b[(t + 4) * 8 + g]};
    float z[4];
    for (int e = 0; e < 4; e++) z[e] = d[(g + e / 2 * 8) * 8 + 2 * t + e % 2];
    mma_tf32(z, x, y);
    for (int e = 0; e < 4; e++) d[(g + e / 2 * 8) * 8 + 2 * t + e % 2] = z[e];
}

extern "C" __global__ void loaded(const float* x, float* y) {
    __shared__ __align__(16) float rows[32][4];
    for (int i = 0; i < 4; i++) rows[threadIdx.x][i] = x[threadIdx.x * 4 + i];
    __syncwarp();
    float v[4];
    load_matrices(v, rows[threadIdx.x]);
    for (int q = 0; q < 4; q++) y[q * 32 + threadIdx.x] = v[q];
}

extern "C" __global__ void rounded(const float* x, float* y) {
    y[threadIdx.x] = round_tf32(x[threadIdx.x]);
}

extern "C" __global__ void summed(const double* x, double* y) {
    __shared__ double partial[32];
    y[threadIdx.x] = block_sum(x[threadIdx.x], partial);
}

extern "C" __global__ void functions(const float* x, double* y) {
    const float v = x[threadIdx.x];
    double* at = y + threadIdx.x * 16;
    at[0] = expf(v), at[1] = logf(v), at[2] = rsqrtf(v), at[3] = tanhf(v), at[4] = erff(v);
    at[5] = powf(v, 3), at[6] = fmaf(v, v, 1), at[7] = floorf(-v), at[8] = max(v, 2.0f);
    at[9] = min(v, __int_as_float(0x7fc00000));
    at[10] = __float2int_rn(v), at[11] = exp((double)v), at[12] = abs(-v), at[13] = fmodf(v, 0.7f);
    at[14] = __saturatef(v), at[15] = rsqrt((double)v);
}

extern "C" __global__ void bits(const unsigned* x, int* y) {
    const unsigned v = x[threadIdx.x];
    int* at = y + threadIdx.x * 6;
    at[0] = __popc(v), at[1] = __clz(v), at[2] = __ffs(v), at[3] = __brev(v);
    at[4] = __float_as_int(__uint_as_float(v)), at[5] = __umulhi(v, v);
}
"""


def truncated(x):
    """The upper 19 bits: what a tensor core reads of a float."""
    return (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)


def test_the_tensor_core_multiplies_the_upper_bits_of_floats():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(16, 8)).astype("f4"), rng.normal(size=(8, 8)).astype("f4")
    d = rng.normal(size=(16, 8)).astype("f4")
    exact = d + truncated(a) @ truncated(b)
    full = d + a.astype("f8") @ b.astype("f8")
    run(MATHS, "product", 1, 32, a=a, b=b, d=d)
    assert abs(d - exact).max() <= np.spacing(np.float32(abs(exact).max()))
    assert abs(full - exact).max() > 1e-4  # else this could not tell


def test_load_matrices_hands_out_rows_as_the_tensor_core_wants_them():
    x, y = np.arange(128, dtype=np.float32), np.zeros((4, 8, 4), np.float32)
    run(MATHS, "loaded", 1, 32, x=x, y=y)
    assert (y == x.reshape(4, 8, 4)).all()


def test_round_tf32_gives_the_nearest():
    x = np.random.default_rng(2).normal(size=32).astype("f4")
    y = np.zeros(32, np.float32)
    run(MATHS, "rounded", 1, 32, x=x, y=y)
    assert (truncated(y) == y).all()
    assert (abs(y.astype("f8") - x) <= 2.0 ** np.floor(np.log2(abs(x))) * 2.0**-11).all()


@pytest.mark.parametrize("n", [32, 96, 1024])
def test_a_block_adds_up_its_numbers(n):
    x, y = np.random.default_rng(3).normal(size=n), np.zeros(n)
    run(MATHS, "summed", 1, n, x=x, y=y)
    assert (y == y[0]).all() and math.isclose(y[0], math.fsum(x), abs_tol=1e-12)


def test_mathematical_functions_are_those_of_c():
    x, y = np.array([0.1, 0.5, 1.5, 3.25], np.float32), np.zeros((4, 16))
    run(MATHS, "functions", 1, 4, x=x, y=y)
    v = x.astype(np.float64)
    expected = [
        np.exp(v), np.log(v), v**-0.5, np.tanh(v), [math.erf(t) for t in v],
        v**3, v * v + 1, np.floor(-v), np.maximum(v, 2), v,
        np.rint(v), np.exp(v), v, np.fmod(x, np.float32(0.7)),
        np.minimum(v, 1), v**-0.5,
    ]
    np.testing.assert_allclose(y, np.transpose(expected), rtol=3e-7, atol=1e-7)


def test_functions_of_bits_are_those_of_cuda():
    x = np.array([0, 1, 0b1011000, 2**31, 0xDEADBEEF], np.uint32)
    y = np.zeros((5, 6), np.int32)
    run(MATHS, "bits", 1, 5, x=x, y=y)
    for v, row in zip(x.tolist(), y.view(np.uint32).tolist(), strict=True):
        written = f"{v:032b}"
        assert row == [
            v.bit_count(), 32 - v.bit_length(), (v & -v).bit_length(), int(written[::-1], 2),
            v, v * v >> 32,
        ]


# --- what goes wrong ---

FAILURES = """
#include "minidl.cuh"
constexpr unsigned ALL = 0xffffffffu;

extern "C" __global__ void fine(int* x) {
    __syncthreads();
    x[blockIdx.x * blockDim.x + threadIdx.x] = threadIdx.x + 1;
}

extern "C" __global__ void missed(int some) {
    if (blockIdx.x == 1 && threadIdx.x >= some) return;
    __syncthreads();  // missed by some
}

extern "C" __global__ void two_barriers() {
    if (threadIdx.x < 32)
        __syncthreads();  // the first
    else
        __syncthreads();  // the second
}

extern "C" __global__ void gone(int* y) {
    if (threadIdx.x >= 48) return;
    y[threadIdx.x] = __shfl_xor_sync(ALL, 1, 1);  // waits for the gone
}

extern "C" __global__ void left_out(int* y) {
    y[threadIdx.x] = __reduce_add_sync(0xfffffff7u, 1);  // without lane 3
}

extern "C" __global__ void asks_outside(int* y) {
    if (threadIdx.x < 8) y[threadIdx.x] = __shfl_down_sync(0xffu, 1, 4);  // lanes 8 to 11
}

extern "C" __global__ void two_ways(int* y) {
    if (threadIdx.x < 16)
        y[threadIdx.x] = __ballot_sync(ALL, 1);  // one way
    else
        y[threadIdx.x] = __ballot_sync(ALL, 1);  // the other way
}

extern "C" __global__ void asserts(int x) {
    if (blockIdx.x == 1 && threadIdx.y == 2) assert(x == 3);  // asserted
}

extern "C" __global__ void traps() {
    if (threadIdx.x == 5) __trap();  // trapped
}

extern "C" __global__ void unaligned(real* x) {
    store_pack(x + 1, load_pack(x));  // unaligned
}
"""


def place(marker):
    return f"text.cu:{line_of(FAILURES, marker)}"


def test_barrier_missed_by_some_threads_is_reported():
    text = failure(FAILURES, "missed", 3, 64, some=40)
    assert text.splitlines()[0] == (
        "missed: block (1, 0, 0) stands still: only 40 of its 64 threads reach the barrier at "
        + place("missed by some")
    )
    assert "24 threads have returned" in text and "threads 0 to 39 wait at the barrier" in text


def test_threads_at_two_different_barriers_are_reported():
    text = failure(FAILURES, "two_barriers", 1, 64)
    assert text.startswith("two_barriers: thread (32, 0, 0) of block (0, 0, 0): ")
    assert place("the first") in text and place("the second") in text


def test_lanes_that_wait_for_returned_lanes_are_reported():
    text = failure(FAILURES, "gone", 1, 64, y=np.zeros(64, np.int32))
    assert "block (0, 0, 0) stands still" in text
    assert (
        f"warp 1: lanes 0000ffff wait in __shfl_xor_sync at {place('waits for the gone')} "
        "for lanes ffff0000, of which ffff0000 have returned"
    ) in text


def test_a_lane_that_its_mask_leaves_out_is_reported():
    text = failure(FAILURES, "left_out", 1, 32, y=np.zeros(32, np.int32))
    assert "thread (3, 0, 0) of block (0, 0, 0): calls __reduce_add_sync at " in text
    assert place("without lane 3") in text and "mask, fffffff7, that leaves it out" in text


def test_a_shuffle_from_a_lane_that_takes_no_part_is_reported():
    text = failure(FAILURES, "asks_outside", 1, 32, y=np.zeros(32, np.int32))
    found = re.search(r"thread \((\d+), 0, 0\) of block \(0, 0, 0\): asks lane (\d+) ", text)
    assert found and int(found[2]) == int(found[1]) + 4 >= 8
    assert f"in __shfl_down_sync at {place('lanes 8 to 11')}" in text


def test_lanes_that_meet_at_two_places_are_reported():
    text = failure(FAILURES, "two_ways", 1, 32, y=np.zeros(32, np.int32))
    assert "thread (16, 0, 0) of block (0, 0, 0): comes to __ballot_sync at " in text
    assert "while lanes 0000ffff of its warp wait" in text
    assert place("one way") in text and place("the other way") in text


def test_a_failed_assertion_names_thread_and_line():
    text = failure(FAILURES, "asserts", (2, 2), (4, 3), x=4)
    assert "thread (0, 2, 0) of block (1, 0, 0): assertion failed" in text
    assert f"{place('asserted')}: x == 3" in text


def test_a_trap_names_thread_and_line():
    text = failure(FAILURES, "traps", 1, 8)
    assert f"thread (5, 0, 0) of block (0, 0, 0): __trap() at {place('trapped')}" in text


def test_sixteen_bytes_at_a_wrong_address_are_reported():
    text = failure(FAILURES, "unaligned", 1, 1, x=np.zeros(8, np.float32))
    assert f"line {line_of(FAILURES, 'unaligned')} writes 16 bytes" in text


def test_a_compile_error_quotes_the_line():
    text = 'extern "C" __global__ void wrong(int* x) {\n    x[0] = threadIdx.q;  // no axis\n}\n'
    with pytest.raises(KernelError) as caught:
        run(text, "wrong", 1, 1, x=np.zeros(1, np.int32))
    quoted = r"text.cu:2:\d+: error: .*\n +(?:\d+ \| +)?x\[0\] = threadIdx.q;  // no axis"
    assert re.search(quoted, str(caught.value))


# --- compilers ---


def test_a_machine_without_compiler_is_told_what_to_install(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(compiler_module.importlib.util, "find_spec", lambda name: None)
    building.compiler.cache_clear()
    try:
        with pytest.raises(DeviceError, match="no-such-compiler"):
            building.compiler()
    finally:
        building.compiler.cache_clear()


COMPILERS = {"clang++": ["clang++"], "zig": [sys.executable, "-m", "ziglang", "c++"]}


def _fails(command):
    return subprocess.run([*command, "--version"], capture_output=True).returncode != 0


# zig builds its C++ library first, once: a minute.
@pytest.mark.parametrize("name", ["clang++", pytest.param("zig", marks=pytest.mark.slow)])
def test_other_compilers_build_the_same(name, monkeypatch):
    command = COMPILERS[name]
    if not shutil.which(command[0]) or _fails(command):
        pytest.skip(f"{name} is not installed")
    monkeypatch.setattr(building, "compiler", lambda: tuple(command))
    text = WARPS + f"\n// by {name}"
    x, y = np.arange(64, dtype=np.int32) ** 2, np.zeros((3, 64), np.int32)
    run(text, "neighbours", 1, 64, x=x, y=y)
    following = np.roll(x.reshape(2, 32), -1, axis=1).reshape(64)
    assert (y == following + np.arange(3)[:, None]).all()
