// Kernels whose figures can be worked out by hand.

extern "C" __global__ void coalesced(const float* x, float* y) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = x[i];
}

extern "C" __global__ void strided(const float* x, float* y, unsigned stride) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = x[i * stride];
}

extern "C" __global__ void broadcast(const float* x, float* y) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = x[blockIdx.x * 0];
}

extern "C" __global__ void wide(const float4* x, float4* y) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = x[i];
}

// Writes and reads shared memory once each, `stride` words apart.
extern "C" __global__ void banks(const float* x, float* y, unsigned stride) {
  __shared__ float values[1024];
  values[threadIdx.x * stride] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = values[(31 - threadIdx.x) * stride];
}

// The same with 16 bytes a lane.
extern "C" __global__ void wide_banks(const float4* x, float4* y, unsigned stride) {
  __shared__ float4 values[256];
  values[threadIdx.x * stride] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = values[(31 - threadIdx.x) * stride];
}

// The same with 8 bytes a lane.
extern "C" __global__ void middle_banks(const float2* x, float2* y, unsigned stride) {
  __shared__ float2 values[512];
  values[threadIdx.x * stride] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = values[(31 - threadIdx.x) * stride];
}

extern "C" __global__ void one_word(const float* x, float* y) {
  __shared__ float value;
  if (threadIdx.x == 0) {
    value = x[0];
  }
  __syncthreads();
  y[threadIdx.x] = value;
}

extern "C" __global__ void atomics(int* x) {
  __shared__ int sum;
  if (threadIdx.x == 0) {
    sum = 0;
  }
  __syncthreads();
  if (threadIdx.x < 40) {
    atomicAdd(&sum, static_cast<int>(threadIdx.x));
  }
  __syncthreads();
  if (threadIdx.x < 3) {
    atomicAdd(&x[threadIdx.x], sum);
  }
}

// A loop with one fused multiply-add a round.
extern "C" __global__ void loop(float* y, float a, int rounds) {
  float v = threadIdx.x;
#pragma unroll 1
  for (int i = 0; i < rounds; ++i) {
    v = fmaf(v, a, 1.0f);
  }
  y[threadIdx.x] = v;
}

__device__ __noinline__ void store(float* y, float value) { *y = value; }

// Two branches: the lanes of a warp part at the first, all go one way at the second.
extern "C" __global__ void branches(float* y, int limit) {
  if (threadIdx.x % 2 == 0) {
    store(y + threadIdx.x, 1.0f);
  }
  if (limit > 0) {
    store(y + threadIdx.x, 2.0f);
  }
}

// Three groups of 16 bytes a thread: two are on their way while the block meets, then the third joins the second.
extern "C" __global__ void copies(const int4* x, int4* y) {
  __shared__ int4 values[3][128];
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(&values[i][threadIdx.x]));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(x + i * 128 + threadIdx.x) : "memory");
    asm volatile("cp.async.commit_group;" ::: "memory");
    if (i == 1) {
      __syncthreads();
      asm volatile("cp.async.wait_group 1;" ::: "memory");
    }
  }
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncthreads();
  y[threadIdx.x] = values[2][127 - threadIdx.x];
}

// 48 KiB of shared memory.
extern "C" __global__ void large(float* y) {
  __shared__ float values[12288];
  values[threadIdx.x * 256] = 1.0f;
  __syncthreads();
  y[threadIdx.x] = values[(31 - threadIdx.x) * 256];
}
