// An attention in the method's own order of mixtures, in single precision.
//
// A thread makes one element. Mixtures are stored in the order [OUT][SPATIAL][IN] and written in the order
// [SPATIAL][OUT][IN]. K: Element, SPATIAL, OUT, IN, CELLS, PITCH.

namespace kwc::gather_rows {

template <class K>
__device__ void run(const typename K::Element* input, float* output, int batch) {
  constexpr int MIXTURES = K::SPATIAL * K::OUT * K::IN;
  const long long thread = blockIdx.x * (long long)K::THREADS + threadIdx.x;
  if (thread >= (long long)batch * MIXTURES * K::CELLS) return;
  const int cell = thread % K::CELLS, row = thread / K::CELLS % MIXTURES, sample = thread / K::CELLS / MIXTURES;
  const int in = row % K::IN, out = row / K::IN % K::OUT, spatial = row / K::IN / K::OUT;
  const int stored = (out * K::SPATIAL + spatial) * K::IN + in;
  output[thread] = to_float(input[((long long)sample * MIXTURES + stored) * K::PITCH + cell]);
}

}  // namespace kwc::gather_rows
