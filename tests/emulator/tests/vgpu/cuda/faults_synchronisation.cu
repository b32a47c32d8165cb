// Kernels with one fault each, and the same without: threads that are missing where others count on them.

// Only every second lane reaches the barrier.
extern "C" __global__ void barrier_in_branch(int* out) {
  if (threadIdx.x % 2 == 0) {
    out[threadIdx.x] = 1;
    __syncthreads();  // barrier_in_branch
  }
  out[threadIdx.x] = 2;
}

extern "C" __global__ void barrier_after_branch(int* out) {
  if (threadIdx.x % 2 == 0) {
    out[threadIdx.x] = 1;
  }
  __syncthreads();
  out[threadIdx.x] = 2;
}

// Each warp waits for the other, at a barrier of its own if they are told so.
extern "C" __global__ void named_barriers(int* out, int apart) {
  int barrier = 1 + (apart ? threadIdx.x / 32 : 0);
  asm volatile("barrier.sync %0, 64;" ::"r"(barrier) : "memory");  // named_barriers
  out[threadIdx.x] = 1;
}

// Half a warp shuffles, and reads from a lane of its own half or of the other.
extern "C" __global__ void shuffle_in_branch(int* out, int from) {
  int v = threadIdx.x;
  if (threadIdx.x < 16) {
    v = __shfl_sync(0xffff, v, from);  // shuffle_in_branch
    out[threadIdx.x] = v;
  }
}

// The mask names lanes that aren't there.
extern "C" __global__ void vote_in_branch(unsigned* out, unsigned mask) {
  if (threadIdx.x < 16) {
    out[threadIdx.x] = __ballot_sync(mask, threadIdx.x % 2);  // vote_in_branch
  }
}

// ldmatrix by the first lanes of a warp.
extern "C" __global__ void load_matrix(unsigned* out, unsigned lanes) {
  __shared__ __align__(16) unsigned short rows[8][8];
  rows[threadIdx.x / 4][threadIdx.x % 4 * 2] = threadIdx.x;
  rows[threadIdx.x / 4][threadIdx.x % 4 * 2 + 1] = threadIdx.x;
  __syncthreads();
  if (threadIdx.x < lanes) {
    unsigned r, p = static_cast<unsigned>(__cvta_generic_to_shared(rows[threadIdx.x % 8]));
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r) : "r"(p));  // load_matrix
    out[threadIdx.x] = r;
  }
}

#define MMA \
  "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %4, %4, %4}, {%4, %4}, {%0, %1, %2, %3};"

// mma by the first lanes of a warp, on zeros.
extern "C" __global__ void multiply_matrices(float* out, unsigned lanes) {
  float d[4] = {1, 2, 3, 4};
  if (threadIdx.x < lanes) {
    // On one line: compilers differ in which line of a statement an instruction stems from.
    asm volatile(MMA : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(0));  // multiply_matrices
    out[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
  }
}
