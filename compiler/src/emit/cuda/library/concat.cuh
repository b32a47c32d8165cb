// Up to eight parts of a concatenation along channels.
//
// A thread makes eight channels of a position, from the parts that they lie in. K: Element, POSITIONS, OUT_PITCH, FIRST and
// END (the channels of the result that these parts make), and for each part i its PITCH_i, BEGIN_i and END_i (its channels
// in the result; none where there is no such part). What follows END in its eight becomes zero: it is padding, or the next
// launch's.

namespace kwc::concat {

// What the part with these channels of the result has of the eight from `channel` on.
template <int PITCH, int BEGIN, int END, class E>
__device__ __forceinline__ void take(const E* part, long long position, int channel, float (&x)[8]) {
  if constexpr (BEGIN < END) {
    if (channel + 8 <= BEGIN || channel >= END) return;
    part += position * PITCH + channel - BEGIN;
    if constexpr (BEGIN % 8 == 0) {
      float its[8];
      load8(part, its);
#pragma unroll
      for (int i = 0; i < 8; ++i) x[i] = channel + i < END ? its[i] : x[i];
    } else {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if (channel + i >= BEGIN && channel + i < END) x[i] = to_float(part[i]);
      }
    }
  }
}

template <class K>
__device__ void run(const typename K::Element* part_0, const typename K::Element* part_1,
                    const typename K::Element* part_2, const typename K::Element* part_3,
                    const typename K::Element* part_4, const typename K::Element* part_5,
                    const typename K::Element* part_6, const typename K::Element* part_7, typename K::Element* output,
                    int batch) {
  constexpr int FIRST_GROUP = K::FIRST / 8, GROUPS = (K::END + 7) / 8 - FIRST_GROUP;
  const long long thread = blockIdx.x * (long long)K::THREADS + threadIdx.x;
  if (thread >= (long long)batch * K::POSITIONS * GROUPS) return;
  const long long position = thread / GROUPS;
  const int channel = 8 * (FIRST_GROUP + (int)(thread % GROUPS));
  output += position * K::OUT_PITCH + channel;
  float x[8] = {};
  if constexpr (K::FIRST % 8 > 0) {
    // The launch before made the first of these channels.
    if (channel < K::FIRST) load8(output, x);
  }
  take<K::PITCH_0, K::BEGIN_0, K::END_0>(part_0, position, channel, x);
  take<K::PITCH_1, K::BEGIN_1, K::END_1>(part_1, position, channel, x);
  take<K::PITCH_2, K::BEGIN_2, K::END_2>(part_2, position, channel, x);
  take<K::PITCH_3, K::BEGIN_3, K::END_3>(part_3, position, channel, x);
  take<K::PITCH_4, K::BEGIN_4, K::END_4>(part_4, position, channel, x);
  take<K::PITCH_5, K::BEGIN_5, K::END_5>(part_5, position, channel, x);
  take<K::PITCH_6, K::BEGIN_6, K::END_6>(part_6, position, channel, x);
  take<K::PITCH_7, K::BEGIN_7, K::END_7>(part_7, position, channel, x);
  store8(output, x);
}

}  // namespace kwc::concat
