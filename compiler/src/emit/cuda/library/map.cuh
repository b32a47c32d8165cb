// An epilogue on its own.
//
// A thread makes eight channels of a position. K: Element, CHANNELS, PITCH, POSITIONS, and an epilogue.

namespace kwc::map {

template <class K>
__device__ void run(const typename K::Element* input, const float* scale, const float* shift,
                    const typename K::Element* add, typename K::Element* output, int batch) {
  const long long thread = blockIdx.x * (long long)K::THREADS + threadIdx.x;
  if (thread >= (long long)batch * K::POSITIONS * (K::PITCH / 8)) return;
  const int channel = 8 * (thread % (K::PITCH / 8));
  float x[8];
  load8(input + 8 * thread, x);
  finish8<K>(x, channel, K::CHANNELS, scale, shift, add, 8 * thread);
  store8(output + 8 * thread, x);
}

}  // namespace kwc::map
