// Kernels with one fault each, and the same without: addresses and contents.

extern "C" __global__ void outside(float* x, int n) {
  if (threadIdx.x <= n) {
    x[threadIdx.x] = 1.0f;  // outside: one element too far
  }
}

extern "C" __global__ void inside(float* x, int n) {
  if (threadIdx.x < n) {
    x[threadIdx.x] = 1.0f;
  }
}

extern "C" __global__ void outside_shared(float* out, int at) {
  __shared__ float values[64];
  values[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x + at];  // outside_shared: behind the block's memory
}

extern "C" __global__ void misaligned(const char* bytes, float2* out, int shift) {
  const char* p = bytes + threadIdx.x * 8 + shift;
  out[threadIdx.x] = *reinterpret_cast<const float2*>(p);  // misaligned: by the shift
}

// Freed or not, as the host has it.
extern "C" __global__ void increment(int* x) {
  x[threadIdx.x] += 1;  // increment
}

extern "C" __global__ void copy(const int* from, int* to) {
  to[threadIdx.x] = from[threadIdx.x];  // copy
}

// Writes all of the array but `missing` elements.
extern "C" __global__ void read_shared(int* out, int missing) {
  __shared__ int values[64];
  if (threadIdx.x + missing < 64) {
    values[threadIdx.x] = threadIdx.x;
  }
  __syncthreads();
  out[threadIdx.x] = values[63 - threadIdx.x];  // read_shared
}

extern "C" __global__ void stop(const int* x) {
  if (x[threadIdx.x] != 0) {
    __trap();  // stop
  }
}
