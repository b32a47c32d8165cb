// Atomic operations on shared and global memory.

extern "C" __global__ void histogram(const unsigned char* x, unsigned* bins, unsigned n) {
  __shared__ unsigned mine[256];
  for (unsigned i = threadIdx.x; i < 256; i += blockDim.x) {
    mine[i] = 0;
  }
  __syncthreads();
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    atomicAdd(&mine[x[i]], 1u);
  }
  __syncthreads();
  for (unsigned i = threadIdx.x; i < 256; i += blockDim.x) {
    atomicAdd(&bins[i], mine[i]);
  }
}

// Sums, extremes and bits of i over all threads, in one place each.
extern "C" __global__ void everything(int* out, unsigned long long* wide, float* real) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(&out[0], i);
  atomicSub(&out[1], i);
  atomicMin(&out[2], -i);
  atomicMax(&out[3], i);
  atomicAnd(&out[4], ~(1 << (i % 7)));
  atomicOr(&out[5], 1 << (i % 20));
  atomicXor(&out[6], i);
  atomicInc(reinterpret_cast<unsigned*>(&out[7]), 9);
  atomicDec(reinterpret_cast<unsigned*>(&out[8]), 9);
  atomicAdd(wide, 1ull << 33);
  atomicAdd(real, 0.25f);
}

// A product by compare-and-swap, which has no atomic operation of its own.
extern "C" __global__ void product(unsigned* out, unsigned factor) {
  unsigned seen = *const_cast<volatile unsigned*>(out), expected;
  do {
    expected = seen;
    seen = atomicCAS(out, expected, expected * factor);
  } while (seen != expected);
}

// What atomics answer: each thread draws another number.
extern "C" __global__ void tickets(unsigned* next, unsigned* drawn) {
  unsigned ticket = atomicAdd(next, 1u);
  drawn[ticket] = blockIdx.x * blockDim.x + threadIdx.x;
}
