// The hidden units of an attention, before their norm: fc1 times the average.
//
// A warp makes one unit; y is the sample. K: as attention.cuh, and WHOLE: the average is given as one part and one position,
// and read from global memory, because it is too large for shared memory.

namespace kwc::attention_hidden {

template <class K>
__device__ void run(const typename K::Average* sums, const float* fc1, const float* fc1_bias, float* output, int parts,
                    int positions) {
  constexpr int PITCH = (K::HIDDEN + 7) / 8 * 8;
  const int unit = blockIdx.x * (K::THREADS / 32) + threadIdx.x / 32;
  HiddenUnits<K, 1> units;
  units.load(fc1, unit, 0);
  if constexpr (K::WHOLE) {
    const typename K::Average* const average = sums + (long long)blockIdx.y * K::CHANNEL_PITCH;
    units.run(fc1, fc1_bias, average, unit, 0, output + blockIdx.y * PITCH);
  } else {
    constexpr int SCRATCH = AverageChannels<K>::SCRATCH;
    __shared__ __align__(16) float average[K::CHANNEL_PITCH];
    __shared__ __align__(16) float scratch[SCRATCH > 0 ? SCRATCH : 4];
    const typename K::Average* const sample = sums + (long long)blockIdx.y * parts * K::CHANNEL_PITCH;
    AverageChannels<K>::make(sample, parts, positions, average, scratch);
    units.run(fc1, fc1_bias, average, unit, 0, output + blockIdx.y * PITCH);
  }
}

}  // namespace kwc::attention_hidden
