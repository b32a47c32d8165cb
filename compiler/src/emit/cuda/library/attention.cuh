// Parts of the attention function that both of its families use: the average, and products with it.
//
// K: Average (type of the partial sums), CHANNELS, CHANNEL_PITCH, HIDDEN. fc1 is [HIDDEN][CHANNEL_PITCH], zeros in the
// padding. How many partial sums and positions there are is known at run time only: layers that differ in nothing else have
// one kernel.

namespace kwc {

// Sum over the lanes of a warp, in a fixed order; every lane gets it.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
  return x;
}

// Four sums of products, of four weights and one value.
__device__ __forceinline__ void add_scaled(float4& sums, float4 weights, float value) {
  sums.x = fmaf(weights.x, value, sums.x);
  sums.y = fmaf(weights.y, value, sums.y);
  sums.z = fmaf(weights.z, value, sums.z);
  sums.w = fmaf(weights.w, value, sums.w);
}

// The average of a sample over all positions, from [parts][CHANNEL_PITCH] partial sums. A thread adds up four channels of
// every so many parts, a few loads at once; then the groups of threads are added in order.
template <class K>
struct AverageChannels {
  static constexpr int COLUMNS = K::CHANNEL_PITCH / 4, FIT = K::THREADS / COLUMNS, AT_ONCE = 8;
  static constexpr int GROUPS = FIT < 1 ? 1 : FIT;
  // Floats of shared memory for the groups' sums.
  static constexpr int SCRATCH = GROUPS > 1 ? GROUPS * K::CHANNEL_PITCH : 0;

  static __device__ __forceinline__ float scaled(float sum, int channel, float share) {
    return channel < K::CHANNELS ? sum * share : 0.0f;
  }

  // All threads see the average when this returns.
  static __device__ __forceinline__ void make(const typename K::Average* sums, int parts, int positions, float* average,
                                              float* scratch) {
    const float share = 1.0f / positions;
    for (int index = threadIdx.x; index < GROUPS * COLUMNS; index += K::THREADS) {
      const int group = index / COLUMNS, channel = index % COLUMNS * 4;
      float4 total = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 1
      for (int first = group; first < parts; first += AT_ONCE * GROUPS) {
        float4 x[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; ++i) {
          const int part = first + i * GROUPS;
          x[i] = part < parts ? load4(sums + part * K::CHANNEL_PITCH + channel) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; ++i) add_scaled(total, x[i], 1.0f);
      }
      if constexpr (GROUPS == 1) {
        total = make_float4(scaled(total.x, channel, share), scaled(total.y, channel + 1, share),
                            scaled(total.z, channel + 2, share), scaled(total.w, channel + 3, share));
      }
      reinterpret_cast<float4*>(GROUPS > 1 ? scratch : average)[index] = total;
    }
    __syncthreads();
    if constexpr (GROUPS > 1) {
      for (int channel = threadIdx.x; channel < K::CHANNEL_PITCH; channel += K::THREADS) {
        float sum = 0.0f;
#pragma unroll 8
        for (int group = 0; group < GROUPS; ++group) sum += scratch[group * K::CHANNEL_PITCH + channel];
        average[channel] = scaled(sum, channel, share);
      }
      __syncthreads();
    }
  }
};

// Hidden units before their norm: UNITS rows of fc1 for each warp times the average. A warp makes unit `first`, and then
// every WARPS-th one, a few at once; a chunk is what it loads for these before it computes, the next one ahead of that.
template <class K, int UNITS>
struct HiddenUnits {
  static constexpr int WARPS = K::THREADS / 32, QUADS = K::CHANNEL_PITCH / 4, STEPS = (QUADS + 31) / 32;
  static constexpr int AT_ONCE = UNITS < 4 ? UNITS : 4;
  static constexpr int DEPTH = STEPS < 8 / AT_ONCE ? STEPS : 8 / AT_ONCE;
  static constexpr int CHUNKS_EACH = (STEPS + DEPTH - 1) / DEPTH;
  static constexpr int CHUNKS = (UNITS + AT_ONCE - 1) / AT_ONCE * CHUNKS_EACH;

  float4 weights[AT_ONCE][DEPTH];

  static __device__ __forceinline__ int unit(int first, int chunk, int i) {
    return first + (chunk / CHUNKS_EACH * AT_ONCE + i) * WARPS;
  }

  static __device__ __forceinline__ int quad(int chunk, int step) {
    return (chunk % CHUNKS_EACH * DEPTH + step) * 32 + threadIdx.x % 32;
  }

  __device__ __forceinline__ void load(const float* fc1, int first, int chunk) {
#pragma unroll
    for (int i = 0; i < AT_ONCE; ++i) {
#pragma unroll
      for (int step = 0; step < DEPTH; ++step) {
        const bool inside = unit(first, chunk, i) < K::HIDDEN && quad(chunk, step) < QUADS;
        weights[i][step] = inside ? load4(fc1 + unit(first, chunk, i) * K::CHANNEL_PITCH + 4 * quad(chunk, step))
                                  : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      }
    }
  }

  // All chunks, the first of which is loaded. `output` gets this block's units, from `base` on.
  template <class Value>
  __device__ __forceinline__ void run(const float* fc1, const float* fc1_bias, const Value* average, int first, int base,
                                      float* output) {
    float sums[AT_ONCE] = {};
#pragma unroll 2
    for (int chunk = 0; chunk < CHUNKS; ++chunk) {
      const HiddenUnits now = *this;
      if (chunk + 1 < CHUNKS) load(fc1, first, chunk + 1);
#pragma unroll
      for (int step = 0; step < DEPTH; ++step) {
        if (quad(chunk, step) < QUADS) {
          const float4 values = load4(average + 4 * quad(chunk, step));
#pragma unroll
          for (int i = 0; i < AT_ONCE; ++i) {
            sums[i] = fmaf(now.weights[i][step].x, values.x, sums[i]);
            sums[i] = fmaf(now.weights[i][step].y, values.y, sums[i]);
            sums[i] = fmaf(now.weights[i][step].z, values.z, sums[i]);
            sums[i] = fmaf(now.weights[i][step].w, values.w, sums[i]);
          }
        }
      }
      if ((chunk + 1) % CHUNKS_EACH == 0) {
#pragma unroll
        for (int i = 0; i < AT_ONCE; ++i) sums[i] = warp_sum(sums[i]);
#pragma unroll
        for (int i = 0; i < AT_ONCE; ++i) {
          const int to = unit(first, chunk, i);
          if (threadIdx.x % 32 == i && to < K::HIDDEN) output[to - base] = fc1_bias ? sums[i] + fc1_bias[to] : sums[i];
          sums[i] = 0.0f;
        }
      }
    }
  }
};

}  // namespace kwc
