// Depthwise convolution: every channel has a kernel of its own.
//
// A block's threads are COLUMNS times THREADS / COLUMNS: one dimension are groups of eight channels (block y counts the
// groups of COLUMNS groups), the other one runs of RUN neighbouring positions of an output row. Block x counts PARTS parts
// of each sample; a thread makes EACH runs of its part. A value of the input is read once for all windows of a run that it
// is in. With SUMS, a block also writes the sums of its results over its positions: `[parts][OUT_PITCH]` per sample.
//
// K: Element, the convolution's sizes, the layout of its kernel (BLOCK, BLOCK_PITCH, KERNEL_STRIDE), and the above.

namespace kwc::depthwise {

template <class K>
__device__ void run(const typename K::Element* input, const typename K::Element* kernel, const float* scale,
                    const float* shift, const typename K::Element* add, typename K::Element* output, float* sums, int) {
  constexpr int ROWS = K::THREADS / K::COLUMNS, ROW_RUNS = (K::OUT_W + K::RUN - 1) / K::RUN, RUNS = K::OUT_H * ROW_RUNS;
  constexpr int WINDOW = K::KERNEL_H * K::KERNEL_W;
  constexpr int REACH = (K::RUN - 1) * K::STRIDE_W + (K::KERNEL_W - 1) * K::DILATION_W + 1;
  const int column = threadIdx.x % K::COLUMNS, row = threadIdx.x / K::COLUMNS;
  const int sample = blockIdx.x / K::PARTS, part = blockIdx.x % K::PARTS;
  const int channel = 8 * (blockIdx.y * K::COLUMNS + column);
  const bool inside = channel < K::OUT_PITCH;
  input += (long long)sample * K::IN_H * K::IN_W * K::IN_PITCH + channel;
  kernel += (long long)sample * K::KERNEL_STRIDE + (long long)(channel / K::BLOCK_PITCH) * WINDOW * K::BLOCK_PITCH +
            channel % K::BLOCK_PITCH;
  float total[8] = {};

  for (int each = 0; each < K::EACH; ++each) {
    const int index = (part * K::EACH + each) * ROWS + row;
    if (!inside || index >= RUNS) continue;
    const int out_h = index / ROW_RUNS, out_w = index % ROW_RUNS * K::RUN;
    const int first_h = out_h * K::STRIDE_H - K::PADDING_H, first_w = out_w * K::STRIDE_W - K::PADDING_W;
    float result[K::RUN][8] = {};
#pragma unroll 1
    for (int kh = 0; kh < K::KERNEL_H; ++kh) {
      const int h = first_h + kh * K::DILATION_H;
      if (h < 0 || h >= K::IN_H) continue;
      float weights[K::KERNEL_W][8];
#pragma unroll
      for (int kw = 0; kw < K::KERNEL_W; ++kw) load8(kernel + (kh * K::KERNEL_W + kw) * K::BLOCK_PITCH, weights[kw]);
#pragma unroll
      for (int reach = 0; reach < REACH; ++reach) {
        const int w = first_w + reach;
        float x[8] = {};
        if (w >= 0 && w < K::IN_W) load8(input + (long long)(h * K::IN_W + w) * K::IN_PITCH, x);
#pragma unroll
        for (int position = 0; position < K::RUN; ++position) {
          // Which place of this window the value is at is known when this is compiled.
          const int distance = reach - position * K::STRIDE_W;
          if (distance >= 0 && distance % K::DILATION_W == 0 && distance / K::DILATION_W < K::KERNEL_W) {
#pragma unroll
            for (int i = 0; i < 8; ++i) {
              result[position][i] = fmaf(x[i], weights[distance / K::DILATION_W][i], result[position][i]);
            }
          }
        }
      }
    }
#pragma unroll
    for (int position = 0; position < K::RUN; ++position) {
      if (out_w + position < K::OUT_W) {
        const long long at =
            ((long long)sample * K::OUT_H * K::OUT_W + out_h * K::OUT_W + out_w + position) * K::OUT_PITCH + channel;
        finish8<K>(result[position], channel, K::OUT_CHANNELS, scale, shift, add, at);
        store8(output + at, result[position]);
        if constexpr (K::SUMS) {
#pragma unroll
          for (int i = 0; i < 8; ++i) total[i] += result[position][i];
        }
      }
    }
  }

  if constexpr (K::SUMS) {
    __shared__ __align__(16) float partial[ROWS][K::COLUMNS * 8];
    store8_shared(&partial[row][8 * column], total);
    __syncthreads();
    for (int index = threadIdx.x; index < K::COLUMNS * 8; index += K::THREADS) {
      const int to = 8 * blockIdx.y * K::COLUMNS + index;
      if (to >= K::OUT_PITCH) break;
      float sum = 0.0f;
      for (int other = 0; other < ROWS; ++other) sum += partial[other][index];
      sums[((long long)sample * K::PARTS + part) * K::OUT_PITCH + to] = sum;
    }
  }
}

}  // namespace kwc::depthwise
