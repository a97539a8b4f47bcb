// Accesses whose cost is known. One warp, unless more is said.
struct __align__(16) Four { float v[4]; };

// Lane l takes the element l * step: 1, its neighbour's neighbour; 8, one in every sector.
extern "C" __global__ void steps(const float* x, float* y, int step) {
    y[threadIdx.x] = x[threadIdx.x * step];
}

// Columns of a matrix with rows of 32.
extern "C" __global__ void columns(const double* x, double* y) {
    for (int c = 0; c < 4; c++) y[c * 32 + threadIdx.x] = x[threadIdx.x * 32 + c];  // a column
}

extern "C" __global__ void packs(const float* x, float* y) {
    reinterpret_cast<Four*>(y)[threadIdx.x] = reinterpret_cast<const Four*>(x)[threadIdx.x];
}

// A tile turned in shared memory, by one warp. Rows of WIDTH words.
template <int WIDTH>
__device__ void turn(const float* x, float* y) {
    __shared__ float tile[32 * WIDTH];
    for (int r = 0; r < 32; r++) tile[r * WIDTH + threadIdx.x] = x[r * 32 + threadIdx.x];
    __syncwarp();
    for (int r = 0; r < 32; r++) y[r * 32 + threadIdx.x] = tile[threadIdx.x * WIDTH + r];  // down a column
}
extern "C" __global__ void turned(const float* x, float* y) { turn<32>(x, y); }
extern "C" __global__ void turned_padded(const float* x, float* y) { turn<33>(x, y); }

// 8 and 16 bytes a lane; and one number for all.
extern "C" __global__ void wide(const double* x, double* y) {
    __shared__ double pairs[64];
    __shared__ Four fours[32];
    const double v = x[threadIdx.x];
    pairs[threadIdx.x] = v;  // neighbours of 8 bytes
    pairs[threadIdx.x + 32] = 0;
    for (int i = 0; i < 4; i++) fours[threadIdx.x].v[i] = float(v);  // every fourth word
    __syncwarp();
    double sum = pairs[threadIdx.x * 2];  // every second of 8 bytes
    sum += pairs[5];  // one for all
    y[threadIdx.x] = sum;
    reinterpret_cast<Four*>(y)[threadIdx.x + 16] = fours[threadIdx.x];  // neighbours of 16 bytes
}

// Lane l comes by l + 1 times; those who are there ask together.
extern "C" __global__ void different_ways(const int* x, int* y) {
    int sum = 0;
    for (int k = 0; k <= threadIdx.x; k++) sum += x[k * 8];  // one for those who are there
    __syncwarp();
    y[threadIdx.x] = sum;
}

// The upper half of the lanes meets, after some of them have come by twice: from then on they ask together again.
extern "C" __global__ void halves(const int* x, int* y) {
    const int lane = threadIdx.x, rounds = lane < 16 ? 1 : 3;
    int sum = 0;
    for (int k = 0; k < rounds; k++) {
        if (k == 2) __syncwarp(0xffff0000u);
        if (k == 1 && lane < 24) continue;
        sum += x[k == 2 ? 0 : lane];  // by halves
    }
    __syncwarp();
    y[lane] = sum;
}

extern "C" __global__ void atomics(int* counts) {
    __shared__ int bins[32];
    bins[threadIdx.x] = 0;
    __syncwarp();
    atomicAdd(&bins[threadIdx.x % 4], 1);  // eight at one
    atomicAdd(&counts[threadIdx.x], 1);  // one each
}
