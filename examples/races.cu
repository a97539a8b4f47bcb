// Sums of neighbours, with and without what orders their threads. Read with examples/05_races.py.
//
// Each block adds up 256 numbers by halves: 128 threads add the upper half to the lower one, then 64 do, ...

constexpr int SIZE = 256;

// Right: a barrier before each step, so that every sum it reads is there.
extern "C" __global__ void sums(const float* __restrict__ x, float* __restrict__ y) {
    __shared__ float partial[SIZE];
    partial[threadIdx.x] = x[blockIdx.x * SIZE + threadIdx.x];
    for (int half = SIZE / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    }
    if (threadIdx.x == 0) y[blockIdx.x] = partial[0];
}

// The barrier is missing: a thread may read its neighbour's number before the neighbour has written it.
extern "C" __global__ void sums_without_a_barrier(const float* __restrict__ x, float* __restrict__ y) {
    __shared__ float partial[SIZE];
    partial[threadIdx.x] = x[blockIdx.x * SIZE + threadIdx.x];
    for (int half = SIZE / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    }
    if (threadIdx.x == 0) y[blockIdx.x] = partial[0];
}

// The barrier is where only half of the threads come by: these wait for the others for ever.
extern "C" __global__ void sums_with_a_barrier_for_some(const float* __restrict__ x, float* __restrict__ y) {
    __shared__ float partial[SIZE];
    partial[threadIdx.x] = x[blockIdx.x * SIZE + threadIdx.x];
    for (int half = SIZE / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            __syncthreads();
            partial[threadIdx.x] += partial[threadIdx.x + half];
        }
    }
    if (threadIdx.x == 0) y[blockIdx.x] = partial[0];
}

// Off by one: the last thread reads an element that the array does not have, and that nobody wrote.
extern "C" __global__ void sums_of_one_too_many(const float* __restrict__ x, float* __restrict__ y) {
    __shared__ float partial[SIZE];
    partial[threadIdx.x] = x[blockIdx.x * SIZE + threadIdx.x + 1];
    for (int half = SIZE / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    }
    if (threadIdx.x == 0) y[blockIdx.x] = partial[0];
}

// Half of the shared memory was never written.
extern "C" __global__ void sums_of_what_nobody_wrote(const float* __restrict__ x, float* __restrict__ y) {
    __shared__ float partial[SIZE];
    if (threadIdx.x < SIZE / 2) partial[threadIdx.x] = x[blockIdx.x * SIZE + threadIdx.x];
    for (int half = SIZE / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    }
    if (threadIdx.x == 0) y[blockIdx.x] = partial[0];
}

// All blocks add to one number, without telling each other: the sum of one gets lost in the other's.
extern "C" __global__ void sum_of_all_blocks(const float* __restrict__ x, float* __restrict__ y) {
    __shared__ float partial[SIZE];
    partial[threadIdx.x] = x[blockIdx.x * SIZE + threadIdx.x];
    for (int half = SIZE / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    }
    if (threadIdx.x == 0) y[0] += partial[0];
}
