// One part of a concatenation along channels.
//
// A thread makes one element. K: Element, CHANNELS and PITCH of the part, POSITIONS, FIRST (the part's first channel in the
// result), WRITTEN (its channels, and for the last part the padding after them), OUT_PITCH.

namespace kwc::concat {

template <class K>
__device__ void run(const typename K::Element* input, typename K::Element* output, int batch) {
  const long long thread = blockIdx.x * (long long)K::THREADS + threadIdx.x;
  if (thread >= (long long)batch * K::POSITIONS * K::WRITTEN) return;
  const int channel = thread % K::WRITTEN;
  const long long position = thread / K::WRITTEN;
  typename K::Element x = from_float<typename K::Element>(0.0f);
  if (channel < K::CHANNELS) x = input[position * K::PITCH + channel];
  output[position * K::OUT_PITCH + K::FIRST + channel] = x;
}

}  // namespace kwc::concat
