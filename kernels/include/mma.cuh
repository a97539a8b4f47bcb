// Tensor cores, as small functions: on a GPU one PTX instruction each, on the emulator the
// same exchange between the lanes of a warp, spelt out.
//
// Numbers per lane, with g = lane / 4 and t = lane % 4 (PTX ISA, "Matrix fragments for mma.m16n8k8"):
//
//     A, 16 x 8    a[0] = A[g][t]   a[1] = A[g + 8][t]   a[2] = A[g][t + 4]   a[3] = A[g + 8][t + 4]
//     B,  8 x 8    b[0] = B[t][g]   b[1] = B[t + 4][g]
//     D, 16 x 8    d[0] = D[g][2t]  d[1] = D[g][2t + 1]  d[2] = D[g + 8][2t]  d[3] = D[g + 8][2t + 1]
#pragma once
#include "minidl.cuh"

// d += A B. Of each float in a and b the tensor core reads the upper 19 bits (TF32): the rest is cut off.
__device__ inline void mma_tf32(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
#ifdef MINIDL_EMULATED
    minidl_mma_tf32(d, a, b);
#elif BEFORE_SM_80
    __trap();
#else
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
          "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#endif
}

// The nearest TF32 number: rounded, where cutting off would lose up to a whole last place.
__device__ inline float round_tf32(float v) {
#ifdef MINIDL_EMULATED
    return v != v ? v : __uint_as_float((__float_as_uint(v) + 0x1000u) & 0xffffe000u);
#elif BEFORE_SM_80
    __trap();
    return v;
#else
    unsigned r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(v));
    return __uint_as_float(r);
#endif
}

// Four 8 x 4 matrices of floats from shared memory at once. Lane 8 q + r points to row r of matrix q (16 bytes,
// aligned); afterwards v[q] of lane (g, t) is element [g][t] of matrix q.
__device__ inline void load_matrices(float (&v)[4], const float* row, int line = __builtin_LINE()) {
#ifdef MINIDL_EMULATED
    minidl_load_matrices(v, row, line);
#elif BEFORE_SM_80
    __trap();
#else
    const unsigned address = (unsigned)__cvta_generic_to_shared(row);
    unsigned r[4];
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
    for (int q = 0; q < 4; q++) v[q] = __uint_as_float(r[q]);
#endif
}
