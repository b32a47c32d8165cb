// Channels last to tensors in PyTorch's order, in single precision.
//
// A thread makes one element. K: Element, CHANNELS, PITCH, POSITIONS, CHANNELS_LAST (of the output).

namespace kwc::port_out {

template <class K>
__device__ void run(const typename K::Element* input, float* output, int batch) {
  constexpr int ELEMENTS = K::CHANNELS * K::POSITIONS;
  const long long thread = blockIdx.x * (long long)K::THREADS + threadIdx.x;
  if (thread >= (long long)batch * ELEMENTS) return;
  const int sample = thread / ELEMENTS, element = thread % ELEMENTS;
  const int channel = K::CHANNELS_LAST ? element % K::CHANNELS : element / K::POSITIONS;
  const int position = K::CHANNELS_LAST ? element / K::CHANNELS : element % K::POSITIONS;
  output[thread] = to_float(input[((long long)sample * K::POSITIONS + position) * K::PITCH + channel]);
}

}  // namespace kwc::port_out
