// Sums over warps and blocks.

__device__ float warp_sum(float v) {
  for (int offset = 16; offset > 0; offset /= 2) {
    v += __shfl_down_sync(~0u, v, offset);
  }
  return v;
}

extern "C" __global__ void warps(const float* x, float* sums) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  float sum = warp_sum(x[i]);
  if (threadIdx.x % 32 == 0) {
    sums[i / 32] = sum;
  }
}

// One value a warp through shared memory.
extern "C" __global__ void blocks(const float* x, float* sums, unsigned n) {
  __shared__ float partial[32];
  float sum = 0;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    sum += x[i];
  }
  sum = warp_sum(sum);
  unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (lane == 0) {
    partial[warp] = sum;
  }
  __syncthreads();
  if (warp == 0) {
    sum = warp_sum(lane < blockDim.x / 32 ? partial[lane] : 0.0f);
    if (lane == 0) {
      sums[blockIdx.x] = sum;
    }
  }
}

// A tree in shared memory, with a barrier a level.
extern "C" __global__ void tree(const int* x, int* greatest) {
  __shared__ int values[256];
  values[threadIdx.x] = x[blockIdx.x * 256 + threadIdx.x];
  for (unsigned half = 128; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      values[threadIdx.x] = max(values[threadIdx.x], values[threadIdx.x + half]);
    }
  }
  if (threadIdx.x == 0) {
    greatest[blockIdx.x] = values[0];
  }
}

// Votes: how many lanes hold a positive value, whether any or all do, and a barrier that counts.
extern "C" __global__ void votes(const int* x, int* out) {
  bool positive = x[threadIdx.x] > 0;
  unsigned ballot = __ballot_sync(~0u, positive);
  int in_block = __syncthreads_count(positive);
  int any = __any_sync(~0u, positive), all = __all_sync(~0u, positive);
  if (threadIdx.x % 32 == 0) {
    int* mine = out + threadIdx.x / 32 * 5;
    mine[0] = __popc(ballot);
    mine[1] = __ffs(ballot);
    mine[2] = any;
    mine[3] = all;
    mine[4] = in_block;
  }
}
