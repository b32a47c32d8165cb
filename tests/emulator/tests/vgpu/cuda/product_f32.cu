// A product of f32 matrices, C = A B, by tiles of 64 x 64 in shared memory and of 4 x 4 in registers.
// A is m x k, B is k x n, C is m x n, all by rows; m and n are multiples of 64, k of 16.

constexpr int TILE = 64, DEPTH = 16, PART = 4;

extern "C" __global__ void __launch_bounds__(256) product(const float* a, const float* b, float* c, int n, int k) {
  __shared__ float as[DEPTH][TILE + 4];
  __shared__ float bs[DEPTH][TILE];
  int thread = threadIdx.x, x = thread % 16, y = thread / 16;
  a += blockIdx.y * TILE * k;
  b += blockIdx.x * TILE;
  float sum[PART][PART] = {};
  for (int from = 0; from < k; from += DEPTH) {
    int row = thread / 4, column = thread % 4 * 4;
    float4 part = *reinterpret_cast<const float4*>(a + row * k + from + column);
    as[column][row] = part.x;
    as[column + 1][row] = part.y;
    as[column + 2][row] = part.z;
    as[column + 3][row] = part.w;
    *reinterpret_cast<float4*>(&bs[y][x * 4]) = *reinterpret_cast<const float4*>(b + (from + y) * n + x * 4);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < DEPTH; ++i) {
      float4 left = *reinterpret_cast<float4*>(&as[i][y * PART]);
      float4 right = *reinterpret_cast<float4*>(&bs[i][x * PART]);
      float l[PART] = {left.x, left.y, left.z, left.w}, r[PART] = {right.x, right.y, right.z, right.w};
#pragma unroll
      for (int p = 0; p < PART; ++p) {
#pragma unroll
        for (int q = 0; q < PART; ++q) {
          sum[p][q] = fmaf(l[p], r[q], sum[p][q]);
        }
      }
    }
    __syncthreads();
  }
  c += (blockIdx.y * TILE + y * PART) * n + blockIdx.x * TILE + x * PART;
#pragma unroll
  for (int p = 0; p < PART; ++p) {
    *reinterpret_cast<float4*>(c + p * n) = make_float4(sum[p][0], sum[p][1], sum[p][2], sum[p][3]);
  }
}
