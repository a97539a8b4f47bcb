// What AddressSanitizer must report: each kernel is right for `by` = 0, and reads or writes too far otherwise.

extern "C" __global__ void of_an_argument(const float* x, float* y, int by) {
    y[threadIdx.x] = x[threadIdx.x + by];  // reads x
}

extern "C" __global__ void of_an_output(const float* x, float* y, int by) {
    y[threadIdx.x + by] = x[threadIdx.x];  // writes y
}

extern "C" __global__ void of_a_shared_array(const float* x, float* y, int by) {
    __shared__ float row[32];
    row[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = row[threadIdx.x + by];  // reads row
}

template <int SIZE>
__device__ float from_row(const float* x, int by) {
    __shared__ float templated[SIZE];
    templated[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    return templated[threadIdx.x + by];  // reads templated
}

extern "C" __global__ void of_a_templates_array(const float* x, float* y, int by) {
    y[threadIdx.x] = from_row<32>(x, by);
}

extern "C" __global__ void of_dynamic_memory(const float* x, float* y, int by) {
    extern __shared__ float room[];
    room[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = room[threadIdx.x + by];  // reads room
}

extern "C" __global__ void of_registers(const float* x, float* y, int by) {
    float own[4] = {x[0], x[1], x[2], x[3]};
    y[threadIdx.x] = own[3 + by];  // reads own
}
