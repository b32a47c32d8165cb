// Layer norm over the channels of each position: (x - mean) / sqrt(variance + EPSILON) * weight + bias, biased variance.
//
// A warp makes a position; it reads it three times, the last two from the L1 cache. K: Element, CHANNELS, PITCH, POSITIONS,
// EPSILON, and an epilogue.

namespace kwc::layer_norm {

__device__ __forceinline__ float sum_of_lanes(float x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
  return x;
}

template <class K>
__device__ void run(const typename K::Element* input, const float* weight, const float* bias, typename K::Element* output,
                    int batch) {
  const long long position = blockIdx.x * (long long)(K::THREADS / 32) + threadIdx.x / 32;
  if (position >= (long long)batch * K::POSITIONS) return;
  const int lane = threadIdx.x % 32;
  input += position * K::PITCH;
  output += position * K::PITCH;

  float sum = 0.0f;
  for (int channel = 8 * lane; channel < K::PITCH; channel += 256) {
    float x[8];
    load8(input + channel, x);
#pragma unroll
    for (int i = 0; i < 8; ++i) sum += x[i];
  }
  // The padding is zero.
  const float mean = sum_of_lanes(sum) * (1.0f / K::CHANNELS);

  float squares = 0.0f;
  for (int channel = 8 * lane; channel < K::PITCH; channel += 256) {
    float x[8];
    load8(input + channel, x);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float distance = channel + i < K::CHANNELS ? x[i] - mean : 0.0f;
      squares = fmaf(distance, distance, squares);
    }
  }
  const float spread = 1.0f / sqrtf(sum_of_lanes(squares) * (1.0f / K::CHANNELS) + K::EPSILON);

  for (int channel = 8 * lane; channel < K::PITCH; channel += 256) {
    float x[8];
    load8(input + channel, x);
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] = (x[i] - mean) * spread;
    finish8<K>(x, channel, K::CHANNELS, weight, bias, (const typename K::Element*)nullptr, 0);
    store8(output + channel, x);
  }
}

}  // namespace kwc::layer_norm
