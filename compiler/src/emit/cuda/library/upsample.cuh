// Nearest-neighbour upsampling by whole factors.
//
// A thread makes eight channels of a position. K: Element, PITCH, the sizes of the input, the factors.

namespace kwc::upsample {

template <class K>
__device__ void run(const typename K::Element* input, typename K::Element* output, int batch) {
  constexpr int GROUPS = K::PITCH / 8;
  constexpr int OUT_D = K::IN_D * K::FACTOR_D, OUT_H = K::IN_H * K::FACTOR_H, OUT_W = K::IN_W * K::FACTOR_W;
  const long long thread = blockIdx.x * (long long)K::THREADS + threadIdx.x;
  if (thread >= (long long)batch * OUT_D * OUT_H * OUT_W * GROUPS) return;
  const int channel = 8 * (thread % GROUPS);
  const long long place = thread / GROUPS;
  const int w = place % OUT_W / K::FACTOR_W, h = place / OUT_W % OUT_H / K::FACTOR_H;
  const int d = place / OUT_W / OUT_H % OUT_D / K::FACTOR_D, sample = place / OUT_W / OUT_H / OUT_D;
  float x[8];
  load8(input + (((long long)(sample * K::IN_D + d) * K::IN_H + h) * K::IN_W + w) * K::PITCH + channel, x);
  store8(output + 8 * thread, x);
}

}  // namespace kwc::upsample
