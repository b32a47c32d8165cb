// Kernels with one fault each, and the same without: copies by cp.async that are still on their way.

__device__ void start_copy(void* to, const void* from) {
  unsigned shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16;\n\tcp.async.commit_group;" ::"r"(shared), "l"(from) : "memory");
}

__device__ void wait_for_all_but(int one_or_none) {
  if (one_or_none == 1) {
    asm volatile("cp.async.wait_group 1;" ::: "memory");
  } else {
    asm volatile("cp.async.wait_group 0;" ::: "memory");
  }
}

// Each thread copies four numbers twice, and reads one of the second copy having waited for the first only.
extern "C" __global__ void read_early(const int4* x, int* out) {
  __shared__ int4 values[2][64];
  values[0][threadIdx.x] = values[1][threadIdx.x] = make_int4(0, 0, 0, 0);
  __syncthreads();
  start_copy(&values[0][threadIdx.x], &x[threadIdx.x]);
  start_copy(&values[1][threadIdx.x], &x[64 + threadIdx.x]);
  wait_for_all_but(1);
  out[threadIdx.x] = values[1][threadIdx.x].y;  // read_early
}

extern "C" __global__ void read_in_time(const int4* x, int* out) {
  __shared__ int4 values[2][64];
  values[0][threadIdx.x] = values[1][threadIdx.x] = make_int4(0, 0, 0, 0);
  __syncthreads();
  start_copy(&values[0][threadIdx.x], &x[threadIdx.x]);
  start_copy(&values[1][threadIdx.x], &x[64 + threadIdx.x]);
  wait_for_all_but(0);
  out[threadIdx.x] = values[1][threadIdx.x].y;
}

// The same, of the first copy: it is there.
extern "C" __global__ void read_first(const int4* x, int* out) {
  __shared__ int4 values[2][64];
  values[0][threadIdx.x] = values[1][threadIdx.x] = make_int4(0, 0, 0, 0);
  __syncthreads();
  start_copy(&values[0][threadIdx.x], &x[threadIdx.x]);
  start_copy(&values[1][threadIdx.x], &x[64 + threadIdx.x]);
  wait_for_all_but(1);
  out[threadIdx.x] = values[0][threadIdx.x].y;
  wait_for_all_but(0);
}

// Writes where a copy is about to arrive.
extern "C" __global__ void overwrite_early(const int4* x, int* out) {
  __shared__ int4 values[64];
  start_copy(&values[threadIdx.x], &x[threadIdx.x]);
  values[threadIdx.x].x = 7;  // overwrite_early
  wait_for_all_but(0);
  out[threadIdx.x] = values[threadIdx.x].y;
}

extern "C" __global__ void overwrite_in_time(const int4* x, int* out) {
  __shared__ int4 values[64];
  start_copy(&values[threadIdx.x], &x[threadIdx.x]);
  wait_for_all_but(0);
  values[threadIdx.x].x = 7;
  out[threadIdx.x] = values[threadIdx.x].y + values[threadIdx.x].x;
}

// Waits, but reads what another thread copied, with no barrier after the wait.
extern "C" __global__ void read_anothers(const int4* x, int* out) {
  __shared__ int4 values[64];
  start_copy(&values[threadIdx.x], &x[threadIdx.x]);
  __syncthreads();
  wait_for_all_but(0);
  out[threadIdx.x] = values[threadIdx.x ^ 32].y;  // read_anothers
}

extern "C" __global__ void read_anothers_in_time(const int4* x, int* out) {
  __shared__ int4 values[64];
  start_copy(&values[threadIdx.x], &x[threadIdx.x]);
  wait_for_all_but(0);
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x ^ 32].y;
}
