// Tensors in PyTorch's order, in single precision, to channels last.
//
// A thread makes eight channels of a position. K: Element, CHANNELS, PITCH, POSITIONS, CHANNELS_LAST (of the input).

namespace kwc::port_in {

template <class K>
__device__ void run(const float* input, typename K::Element* output, int batch) {
  constexpr int GROUPS = K::PITCH / 8;
  const long long thread = blockIdx.x * (long long)K::THREADS + threadIdx.x;
  if (thread >= (long long)batch * K::POSITIONS * GROUPS) return;
  // Neighbouring threads read neighbouring positions of a map, neighbouring channels of tokens.
  const int sample = thread / (K::POSITIONS * GROUPS), rest = thread % (K::POSITIONS * GROUPS);
  const int position = K::CHANNELS_LAST ? rest / GROUPS : rest % K::POSITIONS;
  const int channel = 8 * (K::CHANNELS_LAST ? rest % GROUPS : rest / K::POSITIONS);
  const float* from = input + (long long)sample * K::CHANNELS * K::POSITIONS;
  float x[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int c = channel + i;
    const int at = K::CHANNELS_LAST ? position * K::CHANNELS + c : c * K::POSITIONS + position;
    x[i] = c < K::CHANNELS ? from[at] : 0.0f;
  }
  store8(output + ((long long)sample * K::POSITIONS + position) * K::PITCH + channel, x);
}

}  // namespace kwc::port_in
