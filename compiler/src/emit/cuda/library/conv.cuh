// Convolution as a product of matrices, on tensor cores: output channels times output positions, summed over the kernel's
// positions and the input channels.
//
// A block makes C_TILE output channels of P_TILE output positions of one sample: WARPS_C x WARPS_P warps, each a part of
// both. Blocks are [sample, position tile, part] in x and channel tiles in y. The sum runs over steps of K_TILE terms; term
// k is kernel position s and input channel c with k = s * IN_PITCH + c, padding channels included (both operands are zero
// there). Copies of the next STAGES - 1 steps are on their way to shared memory while one step is multiplied:
//   weights [K_TILE][C_TILE], as they lie in memory: output channels innermost,
//   pixels  [P_TILE][K_TILE], the input channels of a pixel innermost, zeros beyond the image's edge.
// With PARTS > 1 several blocks make parts of the sum; the last to arrive adds all of them, in order, and finishes.
//
// Columns of the kernel's rows are output channels with padding after every BLOCK of them: column j is channel
// j / BLOCK_PITCH * BLOCK + j % BLOCK_PITCH.
//
// K: the sizes IN_CHANNELS, IN_PITCH, IN_H, IN_W, OUT_CHANNELS, OUT_PITCH, OUT_H, OUT_W, KERNEL_H, KERNEL_W, STRIDE_*,
// PADDING_*, DILATION_*; the kernel's layout BLOCK, BLOCK_PITCH, CHANNEL_BLOCK, KERNEL_STRIDE; the tiles above; and an epilogue.

namespace kwc::conv {

// What is known of a convolution before it runs.
template <class K>
struct Sizes {
  static constexpr int WINDOW = K::KERNEL_H * K::KERNEL_W;
  static constexpr int POSITIONS = K::OUT_H * K::OUT_W;
  // Chunks of eight terms: of a pixel, of the whole sum, of a step.
  static constexpr int PIXEL_CHUNKS = K::IN_PITCH / 8;
  static constexpr int CHUNKS = WINDOW * PIXEL_CHUNKS;
  static constexpr int STEP_CHUNKS = K::K_TILE / 8;
  static constexpr int STEPS = (CHUNKS + STEP_CHUNKS - 1) / STEP_CHUNKS;
  static constexpr int PART_STEPS = (STEPS + K::PARTS - 1) / K::PARTS;
  static constexpr int COLUMNS = (K::OUT_CHANNELS + K::BLOCK - 1) / K::BLOCK * K::BLOCK_PITCH;
  static constexpr int P_TILES = (POSITIONS + K::P_TILE - 1) / K::P_TILE;
  static constexpr int C_TILES = (COLUMNS + K::C_TILE - 1) / K::C_TILE;
  // Bytes of shared memory.
  static constexpr int WEIGHTS_BYTES = K::K_TILE * K::C_TILE * 2;
  static constexpr int STAGE_BYTES = WEIGHTS_BYTES + K::K_TILE * K::P_TILE * 2;
  // What a warp makes: tiles of 16 channels and 8 positions.
  static constexpr int ROWS = K::C_TILE / K::WARPS_C / 16;
  static constexpr int COLS = K::P_TILE / K::WARPS_P / 8;
  // Whether columns are channels, all but those at the end.
  static constexpr bool ALIGNED = K::BLOCK == K::BLOCK_PITCH || K::BLOCK == K::OUT_CHANNELS;
};

// The pixels that a thread copies: chunk `chunk` of a step, for the tile's positions first, first + STRIDE, ...
template <class K>
struct Pixels {
  using S = Sizes<K>;
  static constexpr int STRIDE = K::THREADS / S::STEP_CHUNKS;
  static constexpr int COPIES = (K::P_TILE + STRIDE - 1) / STRIDE;
  static constexpr bool WHOLE = K::P_TILE % STRIDE == 0;
  // For small windows one bit for each of its positions says whether it is inside the image.
  static constexpr bool MASKED = S::WINDOW <= 32;
  static_assert(STRIDE % 8 == 0, "all copies of a thread have the same order of chunks");

  const half* input;  // of the sample
  int chunk, first;
  unsigned to;        // of the first copy, in a stage
  int at[COPIES];     // the window's first pixel, in elements
  unsigned inside[COPIES];
  int h[COPIES], w[COPIES];

  __device__ __forceinline__ Pixels(const half* sample, int tile) : input(sample) {
    chunk = threadIdx.x % S::STEP_CHUNKS;
    first = threadIdx.x / S::STEP_CHUNKS;
    to = S::WEIGHTS_BYTES + 16 * place<S::STEP_CHUNKS>(first, chunk);
#pragma unroll
    for (int i = 0; i < COPIES; ++i) {
      const int position = tile * K::P_TILE + first + i * STRIDE;
      const bool is_one = position < S::POSITIONS;
      h[i] = is_one ? position / K::OUT_W * K::STRIDE_H - K::PADDING_H : -K::IN_H - K::KERNEL_H * K::DILATION_H;
      w[i] = position % K::OUT_W * K::STRIDE_W - K::PADDING_W;
      at[i] = (h[i] * K::IN_W + w[i]) * K::IN_PITCH;
      inside[i] = 0;
      if constexpr (MASKED) {
        // A row of the window is inside or not, and so is a column.
        unsigned columns = 0;
#pragma unroll
        for (int x = 0; x < K::KERNEL_W; ++x) columns |= (is_column_inside(i, x) ? 1u : 0u) << x;
#pragma unroll
        for (int y = 0; y < K::KERNEL_H; ++y) inside[i] |= (is_row_inside(i, y) ? columns : 0u) << (y * K::KERNEL_W);
      }
    }
  }

  __device__ __forceinline__ bool is_row_inside(int i, int y) const {
    return static_cast<unsigned>(h[i] + y * K::DILATION_H) < static_cast<unsigned>(K::IN_H);
  }

  __device__ __forceinline__ bool is_column_inside(int i, int x) const {
    return static_cast<unsigned>(w[i] + x * K::DILATION_W) < static_cast<unsigned>(K::IN_W);
  }

  __device__ __forceinline__ void copy(int step, unsigned stage) const {
    const int q = step * S::STEP_CHUNKS + chunk;
    const bool is_term = S::CHUNKS % S::STEP_CHUNKS == 0 || q < S::CHUNKS;
    const int s = is_term ? q / S::PIXEL_CHUNKS : 0;
    const int from = (s / K::KERNEL_W * K::DILATION_H * K::IN_W + s % K::KERNEL_W * K::DILATION_W) * K::IN_PITCH +
                     q % S::PIXEL_CHUNKS * 8;
#pragma unroll
    for (int i = 0; i < COPIES; ++i) {
      if (WHOLE || first + i * STRIDE < K::P_TILE) {
        bool is_there = is_term;
        if constexpr (MASKED) {
          is_there = is_there && (inside[i] >> s & 1u) != 0;
        } else {
          is_there = is_there && is_row_inside(i, s / K::KERNEL_W) && is_column_inside(i, s % K::KERNEL_W);
        }
        copy16(stage + to + i * (STRIDE * K::K_TILE * 2), input + (is_there ? at[i] + from : 0), is_there);
      }
    }
  }
};

// The weights that a thread copies: chunk `chunk` of the tile's columns, for a step's terms first, first + STRIDE, ...
template <class K>
struct Weights {
  using S = Sizes<K>;
  static constexpr int CHUNKS = K::C_TILE / 8;
  static constexpr int STRIDE = K::THREADS / CHUNKS;
  static constexpr int COPIES = (K::K_TILE + STRIDE - 1) / STRIDE;
  static constexpr bool WHOLE = K::K_TILE % STRIDE == 0;
  static constexpr int TERMS = K::IN_CHANNELS * S::WINDOW;
  // Whether a term's column in the kernel is its number.
  static constexpr bool DENSE = K::IN_CHANNELS % 8 == 0 && K::CHANNEL_BLOCK == K::IN_CHANNELS;
  static_assert(STRIDE % 8 == 0, "all copies of a thread have the same order of chunks");

  const half* kernel;  // of the sample
  const half* column;  // of the first term
  bool is_column;
  int first;
  unsigned to;  // of the first copy, in a stage

  __device__ __forceinline__ Weights(const half* sample, int tile) : kernel(sample) {
    const int j = tile * K::C_TILE + threadIdx.x % CHUNKS * 8;
    first = threadIdx.x / CHUNKS;
    is_column = S::COLUMNS % K::C_TILE == 0 || j < S::COLUMNS;
    column = sample + static_cast<long long>(j / K::BLOCK_PITCH) * TERMS * K::BLOCK_PITCH + j % K::BLOCK_PITCH;
    to = 16 * place<CHUNKS>(first, threadIdx.x % CHUNKS);
  }

  __device__ __forceinline__ void copy(int step, unsigned stage) const {
#pragma unroll
    for (int i = 0; i < COPIES; ++i) {
      const int row = first + i * STRIDE;
      if (WHOLE || row < K::K_TILE) {
        const int k = step * K::K_TILE + row;
        bool is_there = is_column;
        int term = k;
        if constexpr (DENSE) {
          if constexpr (TERMS % K::K_TILE != 0) is_there = is_there && k < TERMS;
        } else {
          const int s = k / K::IN_PITCH, c = k % K::IN_PITCH;
          is_there = is_there && s < S::WINDOW && c < K::IN_CHANNELS;
          term = c / K::CHANNEL_BLOCK * (S::WINDOW * K::CHANNEL_BLOCK) + s * K::CHANNEL_BLOCK + c % K::CHANNEL_BLOCK;
        }
        const half* from = is_there ? column + static_cast<long long>(term) * K::BLOCK_PITCH : kernel;
        copy16(stage + to + i * (STRIDE * K::C_TILE * 2), from, is_there);
      }
    }
  }
};

// Adds one step's products.
template <class K>
__device__ __forceinline__ void multiply(float (&sums)[Sizes<K>::ROWS][Sizes<K>::COLS][4], unsigned stage, int warp_c,
                                         int warp_p) {
  using S = Sizes<K>;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < K::K_TILE; k += 32) {
    unsigned a[2][S::ROWS][4];
#pragma unroll
    for (int half_step = 0; half_step < 2; ++half_step) {
#pragma unroll
      for (int r = 0; r < S::ROWS; ++r) {
        const int row = lane / 16 * 8 + lane % 8, chunk = (warp_c * S::ROWS + r) * 2 + lane / 8 % 2;
        load_transposed(a[half_step][r],
                        stage + 16 * place<K::C_TILE / 8>(row, chunk) + (k + 16 * half_step) * K::C_TILE * 2);
      }
    }
#pragma unroll
    for (int c = 0; c < S::COLS; ++c) {
      unsigned b[4];
      load_matrices(b, stage + S::WEIGHTS_BYTES +
                           16 * place<S::STEP_CHUNKS>(warp_p * S::COLS * 8 + lane % 8, k / 8 + lane / 8) +
                           c * 8 * K::K_TILE * 2);
#pragma unroll
      for (int half_step = 0; half_step < 2; ++half_step) {
#pragma unroll
        for (int r = 0; r < S::ROWS; ++r) {
          multiply_add(sums[r][c], a[half_step][r], b[2 * half_step], b[2 * half_step + 1]);
        }
      }
    }
  }
}

// The block's tile of sums.
template <class K>
struct Tile : K {
  static constexpr int ROWS = Sizes<K>::ROWS, COLS = Sizes<K>::COLS, POSITIONS = Sizes<K>::POSITIONS;
};

// As `store`, for columns that aren't channels, one channel at a time. The last tile of channels fills the padding too.
template <class K>
__device__ __forceinline__ void store_scattered(const float* shared, int c_tile, int p_tile, const float* scale,
                                                const float* shift, const half* add, half* output, long long sample,
                                                float& total) {
  using S = Sizes<K>;
  constexpr int STRIDE = K::THREADS / K::C_TILE;
  const int local = threadIdx.x % K::C_TILE, column = c_tile * K::C_TILE + local;
  const bool is_channel = column < S::COLUMNS && column % K::BLOCK_PITCH < K::BLOCK;
  const int channel = is_channel ? column / K::BLOCK_PITCH * K::BLOCK + column % K::BLOCK_PITCH : 0;
  const float factor = K::SCALE ? scale[channel] : 0.0f, term = K::SHIFT ? shift[channel] : 0.0f;
  for (int row = threadIdx.x / K::C_TILE; row < K::P_TILE; row += STRIDE) {
    const int position = p_tile * K::P_TILE + row;
    if (position >= S::POSITIONS) break;
    half* const to = output + (sample * S::POSITIONS + position) * K::OUT_PITCH;
    if (is_channel) {
      const long long at = (sample * S::POSITIONS + position) * K::OUT_PITCH + channel;
      const float x = shared[place_sum<Tile<K>>(row, local / 4) * 4 + local % 4];
      const float y = K::finish(x, factor, term, K::ADD ? to_float(add[at]) : 0.0f);
      total += y;
      to[channel] = from_float<half>(y);
    }
    if (c_tile == S::C_TILES - 1 && K::OUT_CHANNELS + local < K::OUT_PITCH) {
      to[K::OUT_CHANNELS + local] = from_float<half>(0.0f);
    }
  }
}

template <class K>
__device__ void run(const half* input, const half* kernel, const float* scale, const float* shift, const half* add,
                    half* output, float* averaged, float* parts, unsigned* counters) {
  using S = Sizes<K>;
  extern __shared__ __align__(128) char conv_shared[];
  const int part = blockIdx.x % K::PARTS, p_tile = blockIdx.x / K::PARTS % S::P_TILES, c_tile = blockIdx.y;
  const long long sample = blockIdx.x / (K::PARTS * S::P_TILES);
  const int warp = threadIdx.x / 32, warp_c = warp % K::WARPS_C, warp_p = warp / K::WARPS_C;

  float sums[S::ROWS][S::COLS][4] = {};
  {
    const Pixels<K> pixels(input + sample * (K::IN_H * K::IN_W) * K::IN_PITCH, p_tile);
    const Weights<K> weights(kernel + sample * K::KERNEL_STRIDE, c_tile);
    const unsigned stages = shared_address(conv_shared);
    const int first = part * S::PART_STEPS;
    const int end = first + S::PART_STEPS < S::STEPS ? first + S::PART_STEPS : S::STEPS;
#pragma unroll
    for (int i = 0; i < K::STAGES - 1; ++i) {
      if (first + i < end) {
        weights.copy(first + i, stages + i * S::STAGE_BYTES);
        pixels.copy(first + i, stages + i * S::STAGE_BYTES);
      }
      copy_commit();
    }
    // Stages are used in turn: one is multiplied while the one before it is filled.
    unsigned full = stages, empty = stages + (K::STAGES - 1) * S::STAGE_BYTES;
#pragma unroll 1
    for (int step = first; step < end; ++step) {
      copy_wait<K::STAGES - 2>();
      __syncthreads();
      if (step + K::STAGES - 1 < end) {
        weights.copy(step + K::STAGES - 1, empty);
        pixels.copy(step + K::STAGES - 1, empty);
      }
      copy_commit();
      multiply<K>(sums, full, warp_c, warp_p);
      empty = full;
      full += S::STAGE_BYTES;
      if (full == stages + K::STAGES * S::STAGE_BYTES) full = stages;
    }
    copy_wait<0>();
    __syncthreads();
  }

  if constexpr (K::PARTS > 1) {
    const long long tile = (sample * S::P_TILES + p_tile) * S::C_TILES + c_tile;
    float* const tile_parts = parts + tile * (K::PARTS * K::C_TILE * K::P_TILE);
    if (!gather<Tile<K>>(sums, tile_parts, counters + tile, part, conv_shared, threadIdx.x, true)) return;
  }

  float* const tile_sums = reinterpret_cast<float*>(conv_shared);
#pragma unroll
  for (int r = 0; r < S::ROWS; ++r) {
    lay<Tile<K>>(sums[r], tile_sums, (warp_c * S::ROWS + r) * 16, warp_p * S::COLS * 8);
  }
  __syncthreads();

  // A thread finishes WIDTH channels at a time, always the same.
  constexpr int WIDTH = S::ALIGNED ? 8 : 1;
  float totals[WIDTH] = {};
  if constexpr (S::ALIGNED) {
    const int channel = c_tile * K::C_TILE + threadIdx.x % (K::C_TILE / 8) * 8;
    store<Tile<K>>(reinterpret_cast<const float4*>(conv_shared), channel, p_tile, scale, shift, add, output, sample,
                   threadIdx.x, totals);
  } else {
    store_scattered<K>(tile_sums, c_tile, p_tile, scale, shift, add, output, sample, totals[0]);
  }
  if constexpr (K::AVERAGED) {
    using Left = Totals<Tile<K>, WIDTH>;
    Left::leave(totals, tile_sums, threadIdx.x);
    float* const to = averaged + (sample * S::P_TILES + p_tile) * K::OUT_PITCH;
    for (int local = threadIdx.x; local < K::C_TILE; local += K::THREADS) {
      const int column = c_tile * K::C_TILE + local;
      const float total = Left::of(tile_sums, local);
      if constexpr (S::ALIGNED) {
        if (column < K::OUT_PITCH) to[column] = total;
      } else {
        if (column < S::COLUMNS && column % K::BLOCK_PITCH < K::BLOCK) {
          to[column / K::BLOCK_PITCH * K::BLOCK + column % K::BLOCK_PITCH] = total;
        }
        if (c_tile == S::C_TILES - 1 && K::OUT_CHANNELS + local < K::OUT_PITCH) to[K::OUT_CHANNELS + local] = 0.0f;
      }
    }
  }
}

}  // namespace kwc::conv
