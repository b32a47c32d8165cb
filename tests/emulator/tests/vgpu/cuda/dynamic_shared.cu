// More shared memory than a kernel may have without asking for it.

extern __shared__ float dynamic[];

// Reverses `count` elements, which must fit into shared memory together, beside a static array.
extern "C" __global__ void reverse(const float* from, float* to, unsigned count) {
  __shared__ float first;
  if (threadIdx.x == 0) {
    first = from[0];
  }
  for (unsigned i = threadIdx.x; i < count; i += blockDim.x) {
    dynamic[i] = from[i];
  }
  __syncthreads();
  for (unsigned i = threadIdx.x; i < count; i += blockDim.x) {
    to[i] = dynamic[count - 1 - i] + first;
  }
}
