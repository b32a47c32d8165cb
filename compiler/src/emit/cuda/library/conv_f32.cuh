// Convolution in single precision: a product of matrices whose left one is gathered from the input while it is computed.
//
// A block makes TILE_CHANNELS (32 or 64) output channels of TILE_POSITIONS positions; block x counts tiles of positions,
// block y those of channels. With FLAT, positions are counted over the batch, and a tile may take in several samples;
// otherwise each sample has tiles of its own, and may have a kernel of its own. A thread makes THREAD_POSITIONS positions
// of four channels, or of two times four that are 32 apart; the eight threads that lie side by side in a warp make
// neighbouring channels of the same positions.
//
// The sum runs over quads: four input channels at a position of the kernel, the positions outermost. A step takes four
// quads. Their input `[positions][16]` and kernel `[16][channels]` come to shared memory by asynchronous copies, two steps
// ahead; what lies outside of the image or of the matrix is filled with zeros there.
//
// With SUMS, a block also writes the sums of its results over its positions: `[parts][OUT_PITCH]` per sample, a part for
// each tile of positions.
//
// K: the convolution's sizes, and the layout of its kernel: BLOCK, BLOCK_PITCH, CHANNEL_BLOCK, and KERNEL_STRIDE from one
// sample's kernel to the next's (0 for a static one).

namespace kwc::conv_f32 {

constexpr int DEPTH = 16;            // terms of the sum in one step
constexpr int STAGES = 3;            // steps whose operands are in shared memory or on their way there
constexpr int CHANNEL_THREADS = 8;   // side by side along channels

// Copies of 16 and of 4 bytes that are done some time before their group is waited for; zeros if not `inside`.
__device__ __forceinline__ void copy16(float* to, const float* from, bool inside) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = inside ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
}

__device__ __forceinline__ void copy4(float* to, const float* from, bool inside) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = inside ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
}

__device__ __forceinline__ void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int PENDING>
__device__ __forceinline__ void wait_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

template <class K>
struct Sizes {
  static constexpr int POSITIONS = K::OUT_H * K::OUT_W;
  static constexpr int TILES = (POSITIONS + K::TILE_POSITIONS - 1) / K::TILE_POSITIONS;  // of a sample
  static constexpr int WINDOW = K::KERNEL_H * K::KERNEL_W;
  static constexpr int QUADS = (K::IN_CHANNELS + 3) / 4;  // at one position of the kernel
  static constexpr int STEPS = (WINDOW * QUADS + 3) / 4;
  static constexpr int INPUT_COPIES = K::TILE_POSITIONS * (DEPTH / 4) / K::THREADS;     // of a thread in a step
  static constexpr int KERNEL_COPIES = DEPTH * (K::TILE_CHANNELS / 4) / K::THREADS;
  static constexpr int INPUT_FLOATS = K::TILE_POSITIONS * DEPTH;
  static constexpr int STAGE_FLOATS = INPUT_FLOATS + DEPTH * K::TILE_CHANNELS;
  static constexpr int THREAD_QUADS = K::TILE_CHANNELS / (4 * CHANNEL_THREADS);
  static constexpr int POSITION_THREADS = K::THREADS / CHANNEL_THREADS;
  static_assert(POSITION_THREADS * K::THREAD_POSITIONS == K::TILE_POSITIONS);
};

// The window whose part a thread copies: its sample, and the input position at its top left.
struct Window {
  const float* sample;
  int h, w;
};

template <class K>
__device__ __forceinline__ void copy_input(float* to, const Window (&windows)[Sizes<K>::INPUT_COPIES], int step) {
  using S = Sizes<K>;
  const int quad = 4 * step + threadIdx.x % 4;
  const int s = quad / S::QUADS, channel = 4 * (quad % S::QUADS);
  const int dh = s / K::KERNEL_W * K::DILATION_H, dw = s % K::KERNEL_W * K::DILATION_W;
#pragma unroll
  for (int i = 0; i < S::INPUT_COPIES; ++i) {
    const int h = windows[i].h + dh, w = windows[i].w + dw;
    const bool inside = quad < S::WINDOW * S::QUADS && static_cast<unsigned>(h) < K::IN_H && static_cast<unsigned>(w) < K::IN_W;
    const float* from = windows[i].sample + (inside ? (h * K::IN_W + w) * K::IN_PITCH + channel : 0);
    const int position = (threadIdx.x + i * K::THREADS) / 4;
    copy16(to + position * DEPTH + 4 * (threadIdx.x % 4), from, inside);
  }
}

// `kernel` is the sample's, `channel` the first output channel of the tile.
template <class K>
__device__ __forceinline__ void copy_kernel(float* to, const float* kernel, int channel, int step) {
  using S = Sizes<K>;
  constexpr int COLUMNS = K::IN_CHANNELS * S::WINDOW;
  // Whether four neighbouring output channels stand together, padding included.
  constexpr bool TOGETHER = K::BLOCK % 4 == 0 || K::BLOCK == K::OUT_CHANNELS;
  constexpr int ROWS = K::BLOCK == K::OUT_CHANNELS ? K::BLOCK_PITCH : K::OUT_CHANNELS;
#pragma unroll
  for (int i = 0; i < S::KERNEL_COPIES; ++i) {
    const int copy = threadIdx.x + i * K::THREADS;
    const int term = copy / (K::TILE_CHANNELS / 4), quad = 4 * step + term / 4;
    const int row = channel + 4 * (copy % (K::TILE_CHANNELS / 4));
    const int s = quad / S::QUADS, c = 4 * (quad % S::QUADS) + term % 4;
    const bool inside = quad < S::WINDOW * S::QUADS && c < K::IN_CHANNELS;
    const int column =
        c / K::CHANNEL_BLOCK * (S::WINDOW * K::CHANNEL_BLOCK) + s * K::CHANNEL_BLOCK + c % K::CHANNEL_BLOCK;
    const auto from = [&](int row) {
      return kernel + (row / K::BLOCK * COLUMNS + column) * K::BLOCK_PITCH + row % K::BLOCK;
    };
    float* into = to + 4 * copy;
    if constexpr (TOGETHER) {
      const bool there = inside && row < ROWS;
      // A tile's rows of padding lie behind the only block, where `row % BLOCK` isn't the row.
      const float* source = K::BLOCK == K::OUT_CHANNELS ? kernel + column * K::BLOCK_PITCH + row : from(row);
      copy16(into, there ? source : kernel, there);
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const bool there = inside && row + j < K::OUT_CHANNELS;
        copy4(into + j, there ? from(row + j) : kernel, there);
      }
    }
  }
}

__device__ __forceinline__ void multiply_add(float (&sums)[4], float x, float4 k) {
  sums[0] = fmaf(x, k.x, sums[0]);
  sums[1] = fmaf(x, k.y, sums[1]);
  sums[2] = fmaf(x, k.z, sums[2]);
  sums[3] = fmaf(x, k.w, sums[3]);
}

template <class K>
__device__ __forceinline__ void multiply(const float* stage,
                                         float (&sums)[K::THREAD_POSITIONS][Sizes<K>::THREAD_QUADS][4]) {
  using S = Sizes<K>;
  const float* input = stage + threadIdx.x / CHANNEL_THREADS * K::THREAD_POSITIONS * DEPTH;
  const float* kernel = stage + S::INPUT_FLOATS + 4 * (threadIdx.x % CHANNEL_THREADS);
#pragma unroll
  for (int quad = 0; quad < DEPTH / 4; ++quad) {
    float4 x[K::THREAD_POSITIONS];
#pragma unroll
    for (int p = 0; p < K::THREAD_POSITIONS; ++p) {
      x[p] = load4_shared(input + p * DEPTH + 4 * quad);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < S::THREAD_QUADS; ++j) {
        const float* from = kernel + (4 * quad + i) * K::TILE_CHANNELS + 4 * CHANNEL_THREADS * j;
        const float4 k = load4_shared(from);
#pragma unroll
        for (int p = 0; p < K::THREAD_POSITIONS; ++p) {
          multiply_add(sums[p][j], i == 0 ? x[p].x : i == 1 ? x[p].y : i == 2 ? x[p].z : x[p].w, k);
        }
      }
    }
  }
}

// Four channels of one position; those of padding become zero. `at` is the first one's element in output and addend.
template <class K>
__device__ __forceinline__ void finish4(float (&x)[4], int channel, const float* scale, const float* shift,
                                        const float* add, long long at) {
  float4 scales = {}, shifts = {}, addends = {};
  if constexpr (K::SCALE) scales = *reinterpret_cast<const float4*>(scale + channel);
  if constexpr (K::SHIFT) shifts = *reinterpret_cast<const float4*>(shift + channel);
  if constexpr (K::ADD) addends = *reinterpret_cast<const float4*>(add + at);
  x[0] = channel + 0 < K::OUT_CHANNELS ? K::finish(x[0], scales.x, shifts.x, addends.x) : 0.0f;
  x[1] = channel + 1 < K::OUT_CHANNELS ? K::finish(x[1], scales.y, shifts.y, addends.y) : 0.0f;
  x[2] = channel + 2 < K::OUT_CHANNELS ? K::finish(x[2], scales.z, shifts.z, addends.z) : 0.0f;
  x[3] = channel + 3 < K::OUT_CHANNELS ? K::finish(x[3], scales.w, shifts.w, addends.w) : 0.0f;
}

template <class K>
__device__ void run(const float* input, const float* kernel, const float* scale, const float* shift, const float* add,
                    float* output, float* sums, int batch) {
  using S = Sizes<K>;
  constexpr int GATHERED = S::POSITION_THREADS * K::TILE_CHANNELS;
  constexpr int SHARED = STAGES * S::STAGE_FLOATS > GATHERED ? STAGES * S::STAGE_FLOATS : GATHERED;
  __shared__ alignas(16) float shared[SHARED];

  // The tile: its first position counted over the batch, that one's sample and its position there, and how many there are.
  long long first;
  int sample, position, count;
  if constexpr (K::FLAT) {
    first = blockIdx.x * (long long)K::TILE_POSITIONS;
    sample = static_cast<int>(first / S::POSITIONS);
    position = static_cast<int>(first % S::POSITIONS);
    const long long left = (long long)batch * S::POSITIONS - first;
    count = left < K::TILE_POSITIONS ? static_cast<int>(left) : K::TILE_POSITIONS;
  } else {
    sample = blockIdx.x / S::TILES;
    position = blockIdx.x % S::TILES * K::TILE_POSITIONS;
    first = (long long)sample * S::POSITIONS + position;
    count = min(S::POSITIONS - position, K::TILE_POSITIONS);
  }
  const int channel = blockIdx.y * K::TILE_CHANNELS;
  if constexpr (K::KERNEL_STRIDE != 0) kernel += (long long)sample * K::KERNEL_STRIDE;

  Window windows[S::INPUT_COPIES];
#pragma unroll
  for (int i = 0; i < S::INPUT_COPIES; ++i) {
    const int at = (threadIdx.x + i * K::THREADS) / 4;
    const int beyond = position + at, p = beyond % S::POSITIONS;
    const bool inside = at < count;
    const long long from = inside ? sample + beyond / S::POSITIONS : sample;
    windows[i].sample = input + from * (K::IN_H * K::IN_W) * K::IN_PITCH;
    // No position of a kernel brings this row back into the image.
    windows[i].h = inside ? p / K::OUT_W * K::STRIDE_H - K::PADDING_H : -(1 << 30);
    windows[i].w = p % K::OUT_W * K::STRIDE_W - K::PADDING_W;
  }

  const auto copy = [&](int step, int stage) {
    float* to = shared + stage * S::STAGE_FLOATS;
    copy_input<K>(to, windows, step);
    copy_kernel<K>(to + S::INPUT_FLOATS, kernel, channel, step);
  };
#pragma unroll
  for (int step = 0; step < STAGES - 1; ++step) {
    if (step < S::STEPS) copy(step, step);
    end_group();
  }
  float results[K::THREAD_POSITIONS][S::THREAD_QUADS][4] = {};
  int stage = 0;
#pragma unroll 1
  for (int step = 0; step < S::STEPS; ++step) {
    wait_groups<STAGES - 2>();
    // All have copied this step's operands, and are done with those of the step before.
    __syncthreads();
    const int ahead = step + STAGES - 1;
    if (ahead < S::STEPS) copy(ahead, stage == 0 ? STAGES - 1 : stage - 1);
    end_group();
    multiply<K>(shared + stage * S::STAGE_FLOATS, results);
    stage = stage == STAGES - 1 ? 0 : stage + 1;
  }

  const int group = threadIdx.x / CHANNEL_THREADS;
  float totals[S::THREAD_QUADS][4] = {};
#pragma unroll
  for (int j = 0; j < S::THREAD_QUADS; ++j) {
    const int quad = channel + 4 * (threadIdx.x % CHANNEL_THREADS) + 4 * CHANNEL_THREADS * j;
#pragma unroll
    for (int p = 0; p < K::THREAD_POSITIONS; ++p) {
      const int at = group * K::THREAD_POSITIONS + p;
      if (at >= count || quad >= K::OUT_PITCH) continue;
      float(&x)[4] = results[p][j];
      const long long to = (first + at) * K::OUT_PITCH + quad;
      finish4<K>(x, quad, scale, shift, add, to);
      store4(output + to, x);
      for (int i = 0; i < 4; ++i) totals[j][i] += x[i];
    }
  }
  if constexpr (K::SUMS) {
    __syncthreads();
#pragma unroll
    for (int j = 0; j < S::THREAD_QUADS; ++j) {
      const int quad = 4 * (threadIdx.x % CHANNEL_THREADS) + 4 * CHANNEL_THREADS * j;
      *reinterpret_cast<float4*>(shared + group * K::TILE_CHANNELS + quad) =
          make_float4(totals[j][0], totals[j][1], totals[j][2], totals[j][3]);
    }
    __syncthreads();
    if (threadIdx.x < K::TILE_CHANNELS && channel + threadIdx.x < K::OUT_PITCH) {
      float total = 0.0f;
      for (int g = 0; g < S::POSITION_THREADS; ++g) total += shared[g * K::TILE_CHANNELS + threadIdx.x];
      sums[(long long)blockIdx.x * K::OUT_PITCH + channel + threadIdx.x] = total;
    }
  }
}

}  // namespace kwc::conv_f32
