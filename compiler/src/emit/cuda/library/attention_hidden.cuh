// The hidden units of an attention, before their norm: fc1 times the average.
//
// A warp makes one unit; y is the sample. K: as attention.cuh.

namespace kwc::attention_hidden {

template <class K>
__device__ void run(const typename K::Average* sums, const float* fc1, const float* fc1_bias, float* output,
                    int parts, int positions) {
  constexpr int PITCH = (K::HIDDEN + 7) / 8 * 8, SCRATCH = AverageChannels<K>::SCRATCH;
  __shared__ __align__(16) float average[K::CHANNEL_PITCH];
  __shared__ __align__(16) float scratch[SCRATCH > 0 ? SCRATCH : 4];
  const int unit = blockIdx.x * (K::THREADS / 32) + threadIdx.x / 32;
  HiddenUnits<K, 1> units;
  units.load(fc1, unit, 0);
  AverageChannels<K>::make(sums + (long long)blockIdx.y * parts * K::CHANNEL_PITCH, parts, positions, average, scratch);
  units.run(fc1, fc1_bias, average, unit, 0, output + blockIdx.y * PITCH);
}

}  // namespace kwc::attention_hidden
