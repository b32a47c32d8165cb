// A map as the vector that flattening it in PyTorch's order makes.
//
// A thread makes one element, padding included. K: Element, CHANNELS, PITCH, POSITIONS and CHANNELS_LAST (the order of
// flattening) of the map; OUT_PITCH of the vector.

namespace kwc::flatten {

template <class K>
__device__ void run(const typename K::Element* input, typename K::Element* output, int batch) {
  const long long thread = blockIdx.x * (long long)K::THREADS + threadIdx.x;
  if (thread >= (long long)batch * K::OUT_PITCH) return;
  const int sample = thread / K::OUT_PITCH, element = thread % K::OUT_PITCH;
  typename K::Element value = from_float<typename K::Element>(0.0f);
  if (element < K::CHANNELS * K::POSITIONS) {
    const int channel = K::CHANNELS_LAST ? element % K::CHANNELS : element / K::POSITIONS;
    const int position = K::CHANNELS_LAST ? element / K::CHANNELS : element % K::POSITIONS;
    value = input[((long long)sample * K::POSITIONS + position) * K::PITCH + channel];
  }
  output[thread] = value;
}

}  // namespace kwc::flatten
