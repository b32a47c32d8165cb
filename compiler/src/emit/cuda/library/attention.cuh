// Parts of the attention function that both of its families use: the average, and products with it.
//
// K: Average (type of the partial sums), CHANNELS, CHANNEL_PITCH, PARTS, PART_PITCH, POSITIONS, HIDDEN.

namespace kwc {

// Sum over the lanes of a warp, in a fixed order; every lane gets it.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
  return x;
}

// The average over all positions, zeros in the padding. `sums` are this sample's.
template <class K>
__device__ __forceinline__ void average_channels(const typename K::Average* sums, float* average) {
  for (int channel = threadIdx.x; channel < K::CHANNEL_PITCH; channel += K::THREADS) {
    float sum = 0.0f;
    if (channel < K::CHANNELS) {
      for (int part = 0; part < K::PARTS; ++part) sum += to_float(sums[part * K::PART_PITCH + channel]);
    }
    average[channel] = sum * (1.0f / K::POSITIONS);
  }
}

// One hidden unit before its norm: row `unit` of fc1 times the average, by a warp.
template <class K>
__device__ __forceinline__ float hidden_unit(const float* fc1, const float* fc1_bias, const float* average, int unit) {
  const float4* row = reinterpret_cast<const float4*>(fc1 + (long long)unit * K::CHANNEL_PITCH);
  float sum = 0.0f;
  for (int quarter = threadIdx.x % 32; quarter < K::CHANNEL_PITCH / 4; quarter += 32) {
    const float4 weights = row[quarter];
    const float* values = average + 4 * quarter;
    sum = fmaf(weights.x, values[0], sum);
    sum = fmaf(weights.y, values[1], sum);
    sum = fmaf(weights.z, values[2], sum);
    sum = fmaf(weights.w, values[3], sum);
  }
  sum = warp_sum(sum);
  return fc1_bias ? sum + fc1_bias[unit] : sum;
}

}  // namespace kwc
