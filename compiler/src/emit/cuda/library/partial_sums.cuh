// Partial sums over the positions of an activation.
//
// A block adds up PART positions (y) of one sample (z). Its threads are COLUMNS times THREADS / COLUMNS: each adds up eight
// channels of every so many positions; then the rows of threads are added in order. K: Element, PITCH, POSITIONS, PARTS,
// PART, COLUMNS. `sums` is [sample][PARTS][PITCH].

namespace kwc::partial_sums {

template <class K>
__device__ void run(const typename K::Element* input, float* sums) {
  constexpr int ROWS = K::THREADS / K::COLUMNS;
  __shared__ __align__(16) float partial[ROWS][K::COLUMNS * 8];
  const int column = threadIdx.x % K::COLUMNS, row = threadIdx.x / K::COLUMNS;
  const int channel = 8 * (blockIdx.x * K::COLUMNS + column);
  const int first = blockIdx.y * K::PART, end = min(first + K::PART, K::POSITIONS);
  float sum[8] = {};
  if (channel < K::PITCH) {
    input += (long long)blockIdx.z * K::POSITIONS * K::PITCH + channel;
    for (int position = first + row; position < end; position += ROWS) {
      float x[8];
      load8(input + (long long)position * K::PITCH, x);
#pragma unroll
      for (int i = 0; i < 8; ++i) sum[i] += x[i];
    }
  }
  store8_shared(&partial[row][8 * column], sum);
  __syncthreads();
  for (int index = threadIdx.x; index < K::COLUMNS * 8; index += K::THREADS) {
    const int to = 8 * blockIdx.x * K::COLUMNS + index;
    if (to >= K::PITCH) break;
    float total = 0.0f;
    for (int other = 0; other < ROWS; ++other) total += partial[other][index];
    sums[((long long)blockIdx.z * K::PARTS + blockIdx.y) * K::PITCH + to] = total;
  }
}

}  // namespace kwc::partial_sums
