// Places that come as data, such as where the largest pixel of a window is.
#pragma once
#include "minidl.cuh"

// As in NumPy, a negative index counts from the end. (Of a window that lies in the padding
// altogether, the index is -1.)
__device__ inline int place_of(int64 index, int places) { return int(index < 0 ? index + places : index); }
