// Layer norm over the channels of each position: (x - mean) / sqrt(variance + EPSILON) * weight + bias, biased variance.
//
// LANES neighbouring threads of a warp make a position. Up to eight vectors of eight channels a thread keeps what it reads
// in registers; with more it reads the position three times, the last two from the L1 cache. K: Element, CHANNELS, PITCH,
// POSITIONS, LANES, EPSILON, and an epilogue.

namespace kwc::layer_norm {

template <int LANES>
__device__ __forceinline__ float sum_of_lanes(float x) {
#pragma unroll
  for (int step = LANES / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

template <class K>
__device__ void run(const typename K::Element* input, const float* weight, const float* bias, typename K::Element* output,
                    int batch) {
  constexpr int STEP = 8 * K::LANES, VECTORS = (K::PITCH + STEP - 1) / STEP, KEPT = VECTORS <= 8 ? VECTORS : 1;
  const long long position = blockIdx.x * (long long)(K::THREADS / K::LANES) + threadIdx.x / K::LANES;
  // A warp's lanes add up together: those of a position that isn't there have zeros.
  const bool there = position < (long long)batch * K::POSITIONS;
  const int first = 8 * (threadIdx.x % K::LANES);
  input += position * K::PITCH;
  output += position * K::PITCH;

  float x[KEPT][8] = {};
  const auto for_each = [&](auto&& each) {
    if constexpr (KEPT == VECTORS) {
#pragma unroll
      for (int v = 0; v < VECTORS; ++v) {
        if (there && first + v * STEP < K::PITCH) each(x[v], first + v * STEP);
      }
    } else {
      for (int channel = first; there && channel < K::PITCH; channel += STEP) {
        load8(input + channel, x[0]);
        each(x[0], channel);
      }
    }
  };

  float sum = 0.0f;
  if constexpr (KEPT == VECTORS) {
    for_each([&](float (&its)[8], int channel) { load8(input + channel, its); });
  }
  for_each([&](float (&its)[8], int) {
#pragma unroll
    for (int i = 0; i < 8; ++i) sum += its[i];
  });
  // The padding is zero.
  const float mean = sum_of_lanes<K::LANES>(sum) * (1.0f / K::CHANNELS);

  // Where the mean is large against the spread, its rounding shows. The distances from it are exact then, and their mean is
  // what it lacks.
  float distances = 0.0f, squares = 0.0f;
  for_each([&](float (&its)[8], int channel) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float distance = channel + i < K::CHANNELS ? its[i] - mean : 0.0f;
      distances += distance;
      squares = fmaf(distance, distance, squares);
    }
  });
  const float rest = sum_of_lanes<K::LANES>(distances) * (1.0f / K::CHANNELS);
  const float variance = fmaxf(sum_of_lanes<K::LANES>(squares) * (1.0f / K::CHANNELS) - rest * rest, 0.0f);
  const float factor = 1.0f / sqrtf(variance + K::EPSILON);

  for_each([&](float (&its)[8], int channel) {
#pragma unroll
    for (int i = 0; i < 8; ++i) its[i] = (its[i] - mean - rest) * factor;
    finish8<K>(its, channel, K::CHANNELS, weight, bias, (const typename K::Element*)nullptr, 0);
    store8(output + channel, its);
  });
}

}  // namespace kwc::layer_norm
