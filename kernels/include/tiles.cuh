// Tiles of sums, some rows times some packs, that a thread keeps in registers.
#pragma once
#include "packs.cuh"

constexpr int WIDEST = 2 + VECTOR / 64 * 2;   // packs of a row, at most
constexpr int SUMS = 6 * WIDEST;              // packs of a tile: as many as there are registers for
constexpr int TALLEST = 6 + VECTOR / 32 * 3;  // rows, at most

// The rows of a tile that is so many packs wide.
__host__ __device__ constexpr int rows_of(int packs) { return SUMS / packs < TALLEST ? SUMS / packs : TALLEST; }
