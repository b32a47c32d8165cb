// Linear layer of one position: a matrix times the vectors of up to SAMPLES samples, whose products wait for memory alone.
//
// A block makes LANES * VECTOR output channels of SAMPLES samples, so that a static kernel is read once for all of them.
// Thread t has VECTOR neighbouring channels (16 bytes of the kernel), and of the rows of the kernel every SLICES-th eight.
// Sums over a thread's rows, then over the threads of a warp, then over the warps, always in the same order.
//
// The input is [samples][IN_PITCH], or, with PARTS > 0, the partial sums of an average over POSITIONS positions,
// [samples][PARTS][IN_PITCH]. The kernel is [OUT_CHANNELS / BLOCK][IN_CHANNELS][BLOCK_PITCH], the output
// [samples][OUT_PITCH]. K: Element (of kernel and addend), Input, Output, the sizes named above, ADD_PITCH, KERNEL_STRIDE
// (elements from one sample's kernel to the next's, 0 for a static one), and an epilogue. Where every sample has a kernel,
// SAMPLES is 1. The grid is [samples / SAMPLES, tiles of channels].

namespace kwc::linear {

// Sums COUNT values over the lanes that differ in bits STEP, STEP / 2, ... down to END. As long as there are several
// values, a lane keeps half of them in each step, its bit saying which; so the lanes end with different values. Returns
// the index of the first that this lane has: x[0 ..] of those that are left.
template <int COUNT, int STEP, int END, int SIZE>
__device__ __forceinline__ int sum_lanes(float (&x)[SIZE], int lane) {
  if constexpr (STEP < END) {
    return 0;
  } else if constexpr (COUNT > 1) {
    constexpr int HALF = COUNT / 2;
    const bool upper = lane & STEP;
#pragma unroll
    for (int i = 0; i < HALF; ++i) {
      const float given = upper ? x[i] : x[i + HALF];
      x[i] = (upper ? x[i + HALF] : x[i]) + __shfl_xor_sync(0xffffffffu, given, STEP);
    }
    return (upper ? HALF : 0) + sum_lanes<HALF, STEP / 2, END>(x, lane);
  } else {
    x[0] += __shfl_xor_sync(0xffffffffu, x[0], STEP);
    return sum_lanes<1, STEP / 2, END>(x, lane);
  }
}

// VECTOR channels of one row of the kernel: 16 bytes.
__device__ __forceinline__ void load(const half* from, float (&x)[8]) { load8(from, x); }

__device__ __forceinline__ void load(const float* from, float (&x)[4]) {
  const float4 words = *reinterpret_cast<const float4*>(from);
  x[0] = words.x, x[1] = words.y, x[2] = words.z, x[3] = words.w;
}

// Eight neighbouring input channels of a sample.
template <class K>
__device__ __forceinline__ void load_input(const typename K::Input* sample, int channel, float (&x)[8]) {
  load8(sample + channel, x);
  if constexpr (K::PARTS > 0) {
    for (int part = 1; part < K::PARTS; ++part) {
      float more[8];
      load8(sample + part * K::IN_PITCH + channel, more);
#pragma unroll
      for (int i = 0; i < 8; ++i) x[i] += more[i];
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] *= 1.0f / K::POSITIONS;
  }
}

template <class K>
__device__ void run(const typename K::Input* input, const typename K::Element* kernel, const float* scale,
                    const float* shift, const typename K::Element* add, typename K::Output* output, int batch) {
  constexpr int VECTOR = 16 / sizeof(typename K::Element);
  constexpr int SLICES = K::THREADS / K::LANES, WARPS = K::THREADS / 32;
  constexpr int BLOCK_GROUPS = K::BLOCK_PITCH / VECTOR, GROUPS = K::OUT_CHANNELS / K::BLOCK * BLOCK_GROUPS;
  constexpr int COUNT = K::SAMPLES * VECTOR, WARP_SLICES = 32 / K::LANES;
  // Sums that each lane of a warp ends with, and how many lanes end with the same.
  constexpr int LEFT = COUNT > WARP_SLICES ? COUNT / WARP_SLICES : 1;
  constexpr int SAME = COUNT > WARP_SLICES ? 1 : WARP_SLICES / COUNT;
  constexpr int INPUT_STRIDE = K::IN_PITCH * (K::PARTS > 0 ? K::PARTS : 1);
  // The sums of each warp, [warps][samples][lanes][channels of a vector].
  __shared__ float sums[WARPS][K::SAMPLES][K::LANES][VECTOR];

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int slice = threadIdx.x / K::LANES, group = blockIdx.y * K::LANES + threadIdx.x % K::LANES;
  const int first_sample = blockIdx.x * K::SAMPLES, samples = min(batch - first_sample, K::SAMPLES);
  input += (long long)first_sample * INPUT_STRIDE;
  kernel += (long long)first_sample * K::KERNEL_STRIDE +
            (long long)(group / BLOCK_GROUPS) * K::IN_CHANNELS * K::BLOCK_PITCH + group % BLOCK_GROUPS * VECTOR;

  float acc[COUNT] = {};
  if (group < GROUPS) {
    for (int row = 8 * slice; row < K::IN_CHANNELS; row += 8 * SLICES) {
      // All loads of a step come before its products, so that they are on their way together.
      float weights[8][VECTOR] = {}, x[K::SAMPLES][8] = {};
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if (K::IN_CHANNELS % 8 == 0 || row + i < K::IN_CHANNELS) {
          load(kernel + (long long)(row + i) * K::BLOCK_PITCH, weights[i]);
        }
      }
#pragma unroll
      for (int s = 0; s < K::SAMPLES; ++s) {
        if (s < samples) load_input<K>(input + (long long)s * INPUT_STRIDE, row, x[s]);
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) {
#pragma unroll
        for (int s = 0; s < K::SAMPLES; ++s) {
#pragma unroll
          for (int c = 0; c < VECTOR; ++c) acc[s * VECTOR + c] = fmaf(x[s][i], weights[i][c], acc[s * VECTOR + c]);
        }
      }
    }
  }
  const int first = sum_lanes<COUNT, 16, K::LANES>(acc, lane);
  if (lane / K::LANES % SAME == 0) {
#pragma unroll
    for (int i = 0; i < LEFT; ++i) {
      sums[warp][(first + i) / VECTOR][lane % K::LANES][(first + i) % VECTOR] = acc[i];
    }
  }
  __syncthreads();

  for (int i = threadIdx.x; i < samples * K::LANES * VECTOR; i += K::THREADS) {
    const int s = i / (K::LANES * VECTOR), sample = first_sample + s;
    const int its_group = blockIdx.y * K::LANES + i / VECTOR % K::LANES;
    const int in_block = its_group % BLOCK_GROUPS * VECTOR + i % VECTOR;
    const int channel = its_group / BLOCK_GROUPS * K::BLOCK + in_block;
    if (its_group >= GROUPS || in_block >= K::BLOCK) continue;
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) sum += sums[w][s][i / VECTOR % K::LANES][i % VECTOR];
    const float y = K::finish(sum, K::SCALE ? scale[channel] : 0.0f, K::SHIFT ? shift[channel] : 0.0f,
                              K::ADD ? to_float(add[(long long)sample * K::ADD_PITCH + channel]) : 0.0f);
    output[(long long)sample * K::OUT_PITCH + channel] = from_float<typename K::Output>(y);
  }
  // Channels of padding are the first tile's.
  constexpr int PADDING = K::OUT_PITCH - K::OUT_CHANNELS;
  if constexpr (PADDING > 0) {
    if (blockIdx.y == 0) {
      for (int i = threadIdx.x; i < samples * PADDING; i += K::THREADS) {
        output[(long long)(first_sample + i / PADDING) * K::OUT_PITCH + K::OUT_CHANNELS + i % PADDING] =
            from_float<typename K::Output>(0.0f);
      }
    }
  }
}

}  // namespace kwc::linear
