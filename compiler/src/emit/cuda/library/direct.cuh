// Any convolution, plainly.
//
// A thread makes one output element, padding included; neighbouring threads make neighbouring channels. K: Element, the
// convolution's sizes, and the layout of its kernel: BLOCK, BLOCK_PITCH, CHANNEL_BLOCK, and KERNEL_STRIDE from one sample's
// kernel to the next's (0 for a static one).

namespace kwc::direct {

template <class K>
__device__ void run(const typename K::Element* input, const typename K::Element* kernel, const float* scale,
                    const float* shift, const typename K::Element* add, typename K::Element* output, int batch) {
  constexpr int POSITIONS = K::OUT_D * K::OUT_H * K::OUT_W;
  constexpr int WINDOW = K::KERNEL_D * K::KERNEL_H * K::KERNEL_W;
  constexpr int IN_GROUP = K::IN_CHANNELS / K::GROUPS, OUT_GROUP = K::OUT_CHANNELS / K::GROUPS;
  const long long thread = blockIdx.x * (long long)K::THREADS + threadIdx.x;
  if (thread >= (long long)batch * POSITIONS * K::OUT_PITCH) return;
  const int channel = thread % K::OUT_PITCH;
  if (channel >= K::OUT_CHANNELS) {
    output[thread] = from_float<typename K::Element>(0.0f);
    return;
  }
  const int position = thread / K::OUT_PITCH % POSITIONS, sample = thread / K::OUT_PITCH / POSITIONS;
  const int out_w = position % K::OUT_W, out_h = position / K::OUT_W % K::OUT_H, out_d = position / K::OUT_W / K::OUT_H;
  const int group = channel / OUT_GROUP;
  input += (long long)sample * (K::IN_D * K::IN_H * K::IN_W) * K::IN_PITCH + group * IN_GROUP;
  kernel += (long long)sample * K::KERNEL_STRIDE +
            (long long)(channel / K::BLOCK) * (IN_GROUP * WINDOW) * K::BLOCK_PITCH + channel % K::BLOCK;
  float sum = 0.0f;
  for (int s = 0; s < WINDOW; ++s) {
    const int d = out_d * K::STRIDE_D - K::PADDING_D + s / (K::KERNEL_W * K::KERNEL_H) * K::DILATION_D;
    const int h = out_h * K::STRIDE_H - K::PADDING_H + s / K::KERNEL_W % K::KERNEL_H * K::DILATION_H;
    const int w = out_w * K::STRIDE_W - K::PADDING_W + s % K::KERNEL_W * K::DILATION_W;
    if (d < 0 || d >= K::IN_D || h < 0 || h >= K::IN_H || w < 0 || w >= K::IN_W) continue;
    const typename K::Element* from = input + (long long)((d * K::IN_H + h) * K::IN_W + w) * K::IN_PITCH;
    for (int c = 0; c < IN_GROUP; ++c) {
      const int column = c / K::CHANNEL_BLOCK * (WINDOW * K::CHANNEL_BLOCK) + s * K::CHANNEL_BLOCK + c % K::CHANNEL_BLOCK;
      sum = fmaf(to_float(from[c]), to_float(kernel[(long long)column * K::BLOCK_PITCH]), sum);
    }
  }
  const float y = K::finish(sum, K::SCALE ? scale[channel] : 0.0f, K::SHIFT ? shift[channel] : 0.0f,
                            K::ADD ? to_float(add[thread]) : 0.0f);
  output[thread] = from_float<typename K::Element>(y);
}

}  // namespace kwc::direct
