// Averages from partial sums.
//
// A thread makes eight channels. K: Element, CHANNELS, PITCH (of the result), PARTS, PART_PITCH, POSITIONS.

namespace kwc::average {

template <class K>
__device__ void run(const float* sums, typename K::Element* output, int batch) {
  constexpr int GROUPS = K::PITCH / 8;
  const long long thread = blockIdx.x * (long long)K::THREADS + threadIdx.x;
  if (thread >= (long long)batch * GROUPS) return;
  const int sample = thread / GROUPS, channel = 8 * (thread % GROUPS);
  sums += (long long)sample * K::PARTS * K::PART_PITCH + channel;
  float average[8] = {};
  for (int part = 0; part < K::PARTS; ++part) {
    float x[8];
    load8(sums + part * K::PART_PITCH, x);
#pragma unroll
    for (int i = 0; i < 8; ++i) average[i] += x[i];
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) average[i] = channel + i < K::CHANNELS ? average[i] * (1.0f / K::POSITIONS) : 0.0f;
  store8(output + 8 * thread, average);
}

}  // namespace kwc::average
