// Linear layers of one position.
//
// A block makes 64 columns (x) of SAMPLES samples (y). Its threads are eight groups of eight columns times 32 slices of the
// input channels; the slices are added in order. K: Element, Output, IN_CHANNELS, IN_PITCH, OUT_CHANNELS, OUT_PITCH,
// ADD_PITCH, SAMPLES (1 where every sample has its own kernel), BLOCK and BLOCK_PITCH (a column is a place in the padded
// blocks of output channels), KERNEL_STRIDE.

namespace kwc::linear {

template <class K>
__device__ void run(const typename K::Element* input, const typename K::Element* kernel, const float* scale,
                    const float* shift, const typename K::Element* add, typename K::Output* output, int batch) {
  constexpr int COLUMNS = 64, SLICES = K::THREADS / (COLUMNS / 8);
  constexpr int ALL = K::OUT_CHANNELS / K::BLOCK * K::BLOCK_PITCH;
  __shared__ __align__(16) float partial[SLICES][COLUMNS];
  const int group = threadIdx.x % (COLUMNS / 8), slice = threadIdx.x / (COLUMNS / 8);
  const int column = blockIdx.x * COLUMNS + 8 * group, first = blockIdx.y * K::SAMPLES;
  const int samples = min(K::SAMPLES, batch - first);
  input += (long long)first * K::IN_PITCH;
  kernel += (long long)first * K::KERNEL_STRIDE +
            (long long)(column / K::BLOCK_PITCH) * K::IN_CHANNELS * K::BLOCK_PITCH + column % K::BLOCK_PITCH;

  float sums[K::SAMPLES][8] = {};
  if (column < ALL) {
    for (int channel = slice; channel < K::IN_CHANNELS; channel += SLICES) {
      float weights[8];
      load8(kernel + (long long)channel * K::BLOCK_PITCH, weights);
#pragma unroll
      for (int sample = 0; sample < K::SAMPLES; ++sample) {
        if (sample < samples) {
          const float x = to_float(input[sample * K::IN_PITCH + channel]);
#pragma unroll
          for (int i = 0; i < 8; ++i) sums[sample][i] = fmaf(x, weights[i], sums[sample][i]);
        }
      }
    }
  }

#pragma unroll
  for (int sample = 0; sample < K::SAMPLES; ++sample) {
    __syncthreads();
    store8(&partial[slice][8 * group], sums[sample]);
    __syncthreads();
    const int own = blockIdx.x * COLUMNS + threadIdx.x, row = own % K::BLOCK_PITCH;
    if (threadIdx.x < COLUMNS && own < ALL && row < K::BLOCK && sample < samples) {
      float sum = 0.0f;
      for (int other = 0; other < SLICES; ++other) sum += partial[other][threadIdx.x];
      const int channel = own / K::BLOCK_PITCH * K::BLOCK + row;
      const long long at = (long long)(first + sample) * K::ADD_PITCH + channel;
      const float y = K::finish(sum, K::SCALE ? scale[channel] : 0.0f, K::SHIFT ? shift[channel] : 0.0f,
                                K::ADD ? to_float(add[at]) : 0.0f);
      output[(long long)(first + sample) * K::OUT_PITCH + channel] = from_float<typename K::Output>(y);
    }
    if (blockIdx.x == 0 && sample < samples && threadIdx.x < K::OUT_PITCH - K::OUT_CHANNELS) {
      const long long padding = (long long)(first + sample) * K::OUT_PITCH + K::OUT_CHANNELS + threadIdx.x;
      output[padding] = from_float<typename K::Output>(0.0f);
    }
  }
}

}  // namespace kwc::linear
