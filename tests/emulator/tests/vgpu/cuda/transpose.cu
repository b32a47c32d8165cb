// A transposition through tiles of shared memory, whose rows are padded against bank conflicts.

extern "C" __global__ void transpose(const float* from, float* to, unsigned rows, unsigned columns) {
  __shared__ float tile[32][33];
  unsigned column = blockIdx.x * 32 + threadIdx.x;
  for (unsigned y = threadIdx.y; y < 32; y += blockDim.y) {
    unsigned row = blockIdx.y * 32 + y;
    if (row < rows && column < columns) {
      tile[y][threadIdx.x] = from[row * columns + column];
    }
  }
  __syncthreads();
  column = blockIdx.y * 32 + threadIdx.x;
  for (unsigned y = threadIdx.y; y < 32; y += blockDim.y) {
    unsigned row = blockIdx.x * 32 + y;
    if (row < columns && column < rows) {
      to[row * rows + column] = tile[threadIdx.x][y];
    }
  }
}
