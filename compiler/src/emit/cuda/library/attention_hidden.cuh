// The hidden units of an attention, before their norm: fc1 times the average.
//
// A warp makes one unit; y is the sample. K: as attention.cuh.

namespace kwc::attention_hidden {

template <class K>
__device__ void run(const typename K::Average* sums, const float* fc1, const float* fc1_bias, float* output) {
  constexpr int PITCH = (K::HIDDEN + 7) / 8 * 8;
  __shared__ __align__(16) float average[K::CHANNEL_PITCH];
  average_channels<K>(sums + (long long)blockIdx.y * K::PARTS * K::PART_PITCH, average);
  __syncthreads();
  const int unit = blockIdx.x * (K::THREADS / 32) + threadIdx.x / 32;
  if (unit >= K::HIDDEN) return;
  const float x = hidden_unit<K>(fc1, fc1_bias, average, unit);
  if (threadIdx.x % 32 == 0) output[blockIdx.y * PITCH + unit] = x;
}

}  // namespace kwc::attention_hidden
