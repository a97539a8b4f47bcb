// What the functions in kernels/include ask for, where a GPU has an instruction: packs of 16 bytes, asynchronous
// copies, tensor cores. Part of cuda.hpp.
#pragma once
#include "cuda.hpp"
#include "warp.hpp"

// 16 bytes at once.
template <class Pack>
UNSEEN Pack minidl_load_pack(const void* from, int line) {
    SEEN(from, 16, READ);
    if (reinterpret_cast<uintptr_t>(from) % 16)
        ::emulator::fail("line %d reads 16 bytes at an address that is no multiple of 16", line);
    return *static_cast<const Pack*>(from);
}

template <class Pack>
UNSEEN void minidl_store_pack(void* to, const Pack& values, int line) {
    SEEN(to, 16, WRITE);
    if (reinterpret_cast<uintptr_t>(to) % 16)
        ::emulator::fail("line %d writes 16 bytes at an address that is no multiple of 16", line);
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

inline double as_tf32(float v) { return v != v ? v : bits_as<float>(bits_as<unsigned>(v) & 0xffffe000u); }

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
