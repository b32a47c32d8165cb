// The maximum or the average over windows.
//
// A thread makes eight channels of a position. K: Element, MAX, INSIDE (the average is over the part of the window inside
// the input), PITCH, and the sizes of the input, the output, the window, its stride and padding.

namespace kwc::pool {

template <class K>
__device__ void run(const typename K::Element* input, typename K::Element* output, int batch) {
  constexpr int GROUPS = K::PITCH / 8, POSITIONS = K::OUT_D * K::OUT_H * K::OUT_W;
  const long long thread = blockIdx.x * (long long)K::THREADS + threadIdx.x;
  if (thread >= (long long)batch * POSITIONS * GROUPS) return;
  const int channel = 8 * (thread % GROUPS), position = thread / GROUPS % POSITIONS, sample = thread / GROUPS / POSITIONS;
  const int first_w = position % K::OUT_W * K::STRIDE_W - K::PADDING_W;
  const int first_h = position / K::OUT_W % K::OUT_H * K::STRIDE_H - K::PADDING_H;
  const int first_d = position / K::OUT_W / K::OUT_H * K::STRIDE_D - K::PADDING_D;
  input += (long long)sample * (K::IN_D * K::IN_H * K::IN_W) * K::PITCH + channel;
  float result[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) result[i] = K::MAX ? -__int_as_float(0x7f800000) : 0.0f;
  int inside = 0;
  for (int d = max(first_d, 0); d < min(first_d + K::WINDOW_D, K::IN_D); ++d) {
    for (int h = max(first_h, 0); h < min(first_h + K::WINDOW_H, K::IN_H); ++h) {
      for (int w = max(first_w, 0); w < min(first_w + K::WINDOW_W, K::IN_W); ++w) {
        float x[8];
        load8(input + (long long)((d * K::IN_H + h) * K::IN_W + w) * K::PITCH, x);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          // What is not a number is larger than any number, as in PyTorch.
          const bool larger = x[i] > result[i] || x[i] != x[i];
          result[i] = K::MAX ? (larger ? x[i] : result[i]) : result[i] + x[i];
        }
        ++inside;
      }
    }
  }
  if constexpr (!K::MAX) {
    const float count = K::INSIDE ? inside : K::WINDOW_D * K::WINDOW_H * K::WINDOW_W;
#pragma unroll
    for (int i = 0; i < 8; ++i) result[i] /= count;
  }
  store8(output + 8 * thread, result);
}

}  // namespace kwc::pool
