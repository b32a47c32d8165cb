// Kernels with one fault each, and the same without: accesses that nothing orders.

// Lane 0 of each warp writes the same place.
extern "C" __global__ void two_writers(int* out) {
  __shared__ int value;
  if (threadIdx.x % 32 == 0) {
    value = threadIdx.x;  // two_writers
  }
  __syncthreads();
  out[threadIdx.x] = value;
}

extern "C" __global__ void one_writer(int* out) {
  __shared__ int value;
  if (threadIdx.x == 0) {
    value = threadIdx.x;
  }
  __syncthreads();
  out[threadIdx.x] = value;
}

extern "C" __global__ void reverse_unordered(const int* x, int* out) {
  __shared__ int values[64];
  values[threadIdx.x] = 0;
  __syncthreads();
  values[63 - threadIdx.x] = x[threadIdx.x];  // reverse_unordered: write
  out[threadIdx.x] = values[threadIdx.x];     // reverse_unordered: read
}

extern "C" __global__ void reverse_ordered(const int* x, int* out) {
  __shared__ int values[64];
  values[threadIdx.x] = 0;
  __syncthreads();
  values[63 - threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

// The last barrier of the loop is missing: a fast warp writes the next round's value while a slow one reads.
extern "C" __global__ void rounds_unordered(int* out) {
  __shared__ int value;
  int sum = 0;
  for (int i = 0; i < 4; ++i) {
    if (threadIdx.x == 0) {
      value = i;  // rounds_unordered: write
    }
    __syncthreads();
    sum += value;  // rounds_unordered: read
  }
  out[threadIdx.x] = sum;
}

extern "C" __global__ void rounds_ordered(int* out) {
  __shared__ int value;
  int sum = 0;
  for (int i = 0; i < 4; ++i) {
    if (threadIdx.x == 0) {
      value = i;
    }
    __syncthreads();
    sum += value;
    __syncthreads();
  }
  out[threadIdx.x] = sum;
}

// Every block writes the same place.
extern "C" __global__ void blocks_collide(int* out) {
  if (threadIdx.x == 0) {
    out[0] = blockIdx.x;  // blocks_collide
  }
}

extern "C" __global__ void blocks_apart(int* out) {
  if (threadIdx.x == 0) {
    out[blockIdx.x] = blockIdx.x;
  }
}

extern "C" __global__ void blocks_atomic(int* out) {
  if (threadIdx.x == 0) {
    atomicExch(out, static_cast<int>(blockIdx.x));
  }
}

// The last block adds up what the others left. Their writes are ordered before the ticket by a fence only.
extern "C" __global__ void ticket_without_fence(int* partial, unsigned* ticket, int* total) {
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = blockIdx.x + 1;
    if (atomicAdd(ticket, 1u) == gridDim.x - 1) {
      int sum = 0;
#pragma unroll 1
      for (unsigned i = 0; i < gridDim.x; ++i) {
        sum += partial[i];  // ticket_without_fence
      }
      *total = sum;
    }
  }
}

extern "C" __global__ void ticket_with_fence(int* partial, unsigned* ticket, int* total) {
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = blockIdx.x + 1;
    __threadfence();
    if (atomicAdd(ticket, 1u) == gridDim.x - 1) {
      __threadfence();
      int sum = 0;
      for (unsigned i = 0; i < gridDim.x; ++i) {
        sum += partial[i];
      }
      *total = sum;
    }
  }
}
