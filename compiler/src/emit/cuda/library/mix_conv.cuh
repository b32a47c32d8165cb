// Convolution that mixes its kernel on the way, on tensor cores, for few output positions and at most SAMPLES samples: the
// blocks read the warehouse once, and mixed kernels never reach global memory.
//
// A block has a region of the cell: a part of its rows (x) and C_TILE of its output channels (y). Row r of a cell is
// position r / CELL_IN of its window and input channel r % CELL_IN; a mixture is a cell of the kernel, those of one group
// of output channels one after the other, and of these those of one kernel position. The block goes over steps of K_TILE
// rows. In each,
// - it mixes: elements of the region times columns, which are the mixtures of all samples, summed over runs of RUN cells;
// - it rounds what it has mixed to weights, in shared memory;
// - it multiplies each mixture's weights with the pixels that meet them, into sums of the mixture's output channels.
// Sums are of all output positions, P_TILE with padding, and C_TILE channels of each group of output channels; a warp has
// those of one sample. The last of PARTS blocks to have its part of them adds all, in order, and finishes.
//
// Copies of the next STAGES - 1 runs are on their way while one is mixed; the pixels of a step come with its first run.
// In shared memory, with chunks of eight halves:
//   attention, stages: as mixing.cuh has them, elements [K_TILE][C_TILE] of RUN cells in a stage,
//   pixels  [SAMPLES][GRID_I][SLOTS][K_TILE], slots as `Slots` says, zeros where there is no pixel,
//   weights [columns][K_TILE][C_TILE], and a chunk between columns, so that a warp stores eight of them without conflicts.
//
// K: sizes as conv.cuh has them; CELLS, CELL_OUT, CELL_IN, CELL_SPATIAL of the warehouse, of which CELL_IN is a multiple of
// K_TILE and CELL_OUT of C_TILE; GRID_S, GRID_O, GRID_I (kernel positions, or 1; groups of output and of input channels);
// ATTENTION_PITCH; the tiles above; WARPS_E x WARPS_G warps to mix, elements and columns, the same ones as SAMPLES x
// WARPS_M x WARPS_P to multiply, channels and positions; AVERAGED; and an epilogue.
// Layouts: attention [columns][ATTENTION_PITCH], warehouse [CELLS][CELL_SPATIAL * CELL_IN][CELL_OUT].

namespace kwc::mix_conv {

// What mixing.cuh takes.
template <class K>
struct Mixing : K {
  static constexpr int MIXTURES = K::GRID_S * K::GRID_O * K::GRID_I;
  static constexpr int CELL = K::CELL_SPATIAL * K::CELL_IN * K::CELL_OUT;
  static constexpr int E_TILE = K::K_TILE * K::C_TILE, K_TILE = K::RUN, WARPS_C = K::WARPS_G;
  static constexpr int C_TILE = (K::SAMPLES * MIXTURES + 8 * WARPS_C - 1) / (8 * WARPS_C) * (8 * WARPS_C);
};

// What finished.cuh takes: the threads of one sample, and the channels of one group.
template <class K>
struct Tile : K {
  static constexpr int THREADS = K::THREADS / K::SAMPLES;
  static constexpr int ROWS = K::GRID_O * K::C_TILE / 16 / K::WARPS_M, COLS = K::P_TILE / 8 / K::WARPS_P;
  static constexpr int POSITIONS = K::OUT_H * K::OUT_W;
};

// The pixels of one dimension that an output meets, in an order in which neighbouring outputs meet neighbours: pixels
// whose places in the padded image leave the same remainder by the stride stand together, in phases.
template <int KERNEL, int STRIDE, int DILATION, int OUT>
struct Axis {
  // Pixels of a phase.
  static __device__ constexpr int length(int phase) {
    int length = 0;
    for (int k = 0; k < KERNEL; ++k) {
      if (k * DILATION % STRIDE == phase) length = OUT + k * DILATION / STRIDE;
    }
    return length;
  }

  // The first slot of a phase; of phase STRIDE, the number of all slots.
  static __device__ constexpr int start(int phase) {
    int start = 0;
    for (int before = 0; before < phase; ++before) start += length(before);
    return start;
  }

  // The slot that output 0 meets at a position of the kernel.
  static __device__ constexpr int offset(int k) { return start(k * DILATION % STRIDE) + k * DILATION / STRIDE; }

  static __device__ constexpr int largest_offset() {
    int largest = 0;
    for (int k = 0; k < KERNEL; ++k) largest = offset(k) > largest ? offset(k) : largest;
    return largest;
  }

  // The pixel of a slot, in the padded image; beyond any image where there is no such slot.
  static __device__ constexpr int pixel(int slot) {
    for (int phase = 0; phase < STRIDE; ++phase) {
      if (slot < length(phase)) return slot * STRIDE + phase;
      slot -= length(phase);
    }
    return 1 << 30;
  }
};

// Slots of pixels: rows of PITCH, which is OUT_W modulo 8. So position p and a constant make its slot modulo 8, and the
// pixels that eight positions meet are read without conflicts. Positions beyond the last read slots that are there too.
template <class K>
struct Slots {
  using H = Axis<K::KERNEL_H, K::STRIDE_H, K::DILATION_H, K::OUT_H>;
  using W = Axis<K::KERNEL_W, K::STRIDE_W, K::DILATION_W, K::OUT_W>;
  static constexpr int COLUMNS = W::start(K::STRIDE_W);
  static constexpr int PITCH = COLUMNS + (8 + K::OUT_W % 8 - COLUMNS % 8) % 8;
  static constexpr int LAST_ROW = (K::P_TILE - 1) / K::OUT_W + H::largest_offset();
  static constexpr int ROWS = H::start(K::STRIDE_H) > LAST_ROW + 1 ? H::start(K::STRIDE_H) : LAST_ROW + 1;
  static constexpr int SLOTS = (ROWS * PITCH + 7) / 8 * 8;

  // The slot of a position at the window's first pixel.
  static __device__ __forceinline__ int of(int position) { return position / K::OUT_W * PITCH + position % K::OUT_W; }

  // What to add for a position of the kernel.
  static __device__ constexpr int offset(int s) { return H::offset(s / K::KERNEL_W) * PITCH + W::offset(s % K::KERNEL_W); }
};

template <class K>
struct Sizes {
  using M = mixing::Sizes<Mixing<K>>;
  static constexpr int CELL_ROWS = K::CELL_SPATIAL * K::CELL_IN;
  static constexpr int STEPS = CELL_ROWS / K::K_TILE, PART_STEPS = (STEPS + K::PARTS - 1) / K::PARTS;
  // Chunks of a row of the region, of a pixel, of a cell's region.
  static constexpr int ROW_CHUNKS = K::C_TILE / 8, PIXEL_CHUNKS = K::K_TILE / 8, CHUNKS = K::K_TILE * ROW_CHUNKS;
  // Pixels of a step, and of how many steps there must be room: those of the step at work, and of runs on their way.
  static constexpr int PIXELS = K::SAMPLES * K::GRID_I * Slots<K>::SLOTS;
  static constexpr int PIXEL_STAGES = 1 + (K::STAGES - 2 + M::STEPS) / M::STEPS;
  // Bytes of shared memory.
  static constexpr int PIXEL_BYTES = PIXELS * K::K_TILE * 2;
  static constexpr int COLUMN_BYTES = 16 * (CHUNKS + 1);
  static constexpr int PIXELS_AT = M::ATTENTION_BYTES + K::STAGES * M::STAGE_BYTES;
  static constexpr int WEIGHTS_AT = PIXELS_AT + PIXEL_STAGES * PIXEL_BYTES;
};

// The elements of the region that a thread copies: chunk `threadIdx.x % CHUNKS`, of cells first, first + STRIDE, ... of a run.
template <class K>
struct Cells {
  using S = Sizes<K>;
  static constexpr int STRIDE = K::THREADS / S::CHUNKS, COPIES = K::RUN / STRIDE;
  static constexpr long long CELL = Mixing<K>::CELL;
  static_assert(STRIDE >= 1 && K::RUN % STRIDE == 0, "a thread copies the same chunk of several cells");

  const half* warehouse;
  const half* region;  // the thread's chunk of the first step
  int first;

  __device__ __forceinline__ Cells(const half* cells, int c_tile) : warehouse(cells) {
    const int chunk = threadIdx.x % S::CHUNKS;
    first = threadIdx.x / S::CHUNKS;
    region = cells + first * CELL + chunk / S::ROW_CHUNKS * K::CELL_OUT + c_tile * K::C_TILE + chunk % S::ROW_CHUNKS * 8;
  }

  __device__ __forceinline__ void copy(int step, int run, unsigned stage) const {
    const half* const from = region + run * (K::RUN * CELL) + static_cast<long long>(step) * (K::K_TILE * K::CELL_OUT);
#pragma unroll
    for (int i = 0; i < COPIES; ++i) {
      const int cell = first + i * STRIDE;
      const bool is_there = K::CELLS % K::RUN == 0 || run * K::RUN + cell < K::CELLS;
      copy16(stage + 16 * place<S::CHUNKS>(cell, threadIdx.x % S::CHUNKS), is_there ? from + i * STRIDE * CELL : warehouse,
             is_there);
    }
  }
};

// The pixels that a thread copies: chunk `threadIdx.x % PIXEL_CHUNKS` of slots first, first + STRIDE, ... of all samples and
// groups of input channels.
template <class K>
struct Pixels {
  using S = Sizes<K>;
  static constexpr int STRIDE = K::THREADS / S::PIXEL_CHUNKS, COPIES = (S::PIXELS + STRIDE - 1) / STRIDE;
  static_assert(STRIDE % 8 == 0, "all copies of a thread have the same order of chunks");

  const half* input;
  unsigned to;       // of the first copy, in a stage
  int from[COPIES];  // of the first step, in elements; -1 where there is no pixel

  __device__ __forceinline__ Pixels(const half* samples, int batch) : input(samples) {
    const int chunk = threadIdx.x % S::PIXEL_CHUNKS, first = threadIdx.x / S::PIXEL_CHUNKS;
    to = 16 * place<S::PIXEL_CHUNKS>(first, chunk);
#pragma unroll
    for (int i = 0; i < COPIES; ++i) {
      const int all = first + i * STRIDE, slot = all % Slots<K>::SLOTS;
      const int group = all / Slots<K>::SLOTS % K::GRID_I, sample = all / Slots<K>::SLOTS / K::GRID_I;
      const int y = Slots<K>::H::pixel(slot / Slots<K>::PITCH) - K::PADDING_H;
      const int x = Slots<K>::W::pixel(slot % Slots<K>::PITCH) - K::PADDING_W;
      const bool is_there = sample < batch && static_cast<unsigned>(y) < static_cast<unsigned>(K::IN_H) &&
                            static_cast<unsigned>(x) < static_cast<unsigned>(K::IN_W);
      from[i] = is_there ? ((sample * K::IN_H + y) * K::IN_W + x) * K::IN_PITCH + group * K::CELL_IN + chunk * 8 : -1;
    }
  }

  __device__ __forceinline__ void copy(int step, unsigned stage) const {
    const half* const channel = input + step * K::K_TILE % K::CELL_IN;
#pragma unroll
    for (int i = 0; i < COPIES; ++i) {
      if (S::PIXELS % STRIDE == 0 || static_cast<int>(threadIdx.x) / S::PIXEL_CHUNKS + i * STRIDE < S::PIXELS) {
        const bool is_there = from[i] >= 0;
        copy16(stage + to + i * (STRIDE * K::K_TILE * 2), is_there ? channel + from[i] : input, is_there);
      }
    }
  }
};

// Rounds what a warp has mixed to weights, and makes the sums zero.
template <class K>
__device__ __forceinline__ void round(mixing::Sums<Mixing<K>>& mixed, char* weights, int warp_e, int warp_g) {
  using S = Sizes<K>;
  const int lane = threadIdx.x % 32;
  const bool is_odd = lane / 4 % 2 != 0;
  char* const column = weights + (warp_g * S::M::GROUPS * 8 + lane % 4 * 2 + is_odd) * S::COLUMN_BYTES + lane / 8 * 4;
#pragma unroll
  for (int r = 0; r < S::M::PAIRS * 2; ++r) {
#pragma unroll
    for (int c = 0; c < S::M::GROUPS; ++c) {
      float(&x)[4] = mixed[r / 2][r % 2][c];
      // Lanes l and l ^ 4 have neighbouring elements of the same two columns. Each keeps one column and gets the other's.
      const unsigned left = pack(x[0], x[2]), right = pack(x[1], x[3]);
      const unsigned kept = is_odd ? right : left;
      const unsigned got = __shfl_xor_sync(0xffffffff, is_odd ? left : right, 4);
      const unsigned even = is_odd ? got : kept, odd = is_odd ? kept : got;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int chunk = (warp_e * S::M::PAIRS * 2 + r) * 2 + h;
        const int at = place<S::ROW_CHUNKS>(chunk / S::ROW_CHUNKS, chunk % S::ROW_CHUNKS);
        *reinterpret_cast<unsigned*>(column + c * (8 * S::COLUMN_BYTES) + 16 * at) =
            __byte_perm(even, odd, h == 0 ? 0x5410 : 0x7632);
      }
      x[0] = x[1] = x[2] = x[3] = 0.0f;
    }
  }
}

// Adds the products of one step: the weights of a warp's channels, all mixtures, and the pixels of its positions. `slots` are
// those of the lane's position in each pair of groups of eight, `window` the position of the step's rows in a cell's window.
template <class K>
__device__ __forceinline__ void multiply(float (&sums)[Tile<K>::ROWS][Tile<K>::COLS][4], unsigned weights, unsigned pixels,
                                         const int (&slots)[(Tile<K>::COLS + 1) / 2], int sample, int window, int warp_m) {
  using S = Sizes<K>;
  using T = Tile<K>;
  constexpr int WINDOWS = K::GRID_S * K::GRID_I;
  const int lane = threadIdx.x % 32;
  const unsigned columns = weights + sample * (Mixing<K>::MIXTURES * S::COLUMN_BYTES);
#pragma unroll(WINDOWS <= 9 ? WINDOWS : 1)
  for (int n = 0; n < WINDOWS; ++n) {
    const int s = n / K::GRID_I, i = n % K::GRID_I;
    const int offset = Slots<K>::offset(s * K::CELL_SPATIAL + window) + i * Slots<K>::SLOTS;
#pragma unroll
    for (int k = 0; k < K::K_TILE; k += 16) {
      unsigned b[T::COLS + 1][2];
#pragma unroll
      for (int c = 0; c < T::COLS; c += 2) {
        const unsigned from = pixels + 16 * place<S::PIXEL_CHUNKS>(slots[c / 2] + offset, k / 8 + lane / 8 % 2);
        if (c + 1 < T::COLS) {
          unsigned both[4];
          load_matrices(both, from);
          b[c][0] = both[0], b[c][1] = both[1], b[c + 1][0] = both[2], b[c + 1][1] = both[3];
        } else {
          load_two(b[c][0], b[c][1], from);
        }
      }
#pragma unroll
      for (int r = 0; r < T::ROWS; ++r) {
        const int fragment = warp_m * T::ROWS + r, o = fragment / (K::C_TILE / 16);
        const int row = lane / 16 * 8 + lane % 8, chunk = fragment % (K::C_TILE / 16) * 2 + lane / 8 % 2;
        unsigned a[4];
        load_transposed(a, columns + ((o * K::GRID_S + s) * K::GRID_I + i) * S::COLUMN_BYTES +
                               16 * place<S::ROW_CHUNKS>(row, chunk) + k * K::C_TILE * 2);
#pragma unroll
        for (int c = 0; c < T::COLS; ++c) multiply_add(sums[r][c], a, b[c][0], b[c][1]);
      }
    }
  }
}

template <class K>
__device__ void run(const half* input, const half* attention, const half* warehouse, const float* scale, const float* shift,
                    const half* add, half* output, float* averaged, float* parts, unsigned* counters, int batch) {
  using S = Sizes<K>;
  using T = Tile<K>;
  extern __shared__ __align__(128) char mix_conv_shared[];
  const int part = blockIdx.x, c_tile = blockIdx.y;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int warp_e = warp % K::WARPS_E, warp_g = warp / K::WARPS_E;
  const int sample = warp / (K::WARPS_M * K::WARPS_P), warp_m = warp % K::WARPS_M, warp_p = warp / K::WARPS_M % K::WARPS_P;
  // Without its sample a warp only mixes.
  const bool is_there = sample < batch;

  float sums[T::ROWS][T::COLS][4] = {};
  {
    const Cells<K> cells(warehouse, c_tile);
    const Pixels<K> pixels(input, batch);
    int slots[(T::COLS + 1) / 2];
#pragma unroll
    for (int c = 0; c < T::COLS; c += 2) {
      const int eight = warp_p * T::COLS + c + (c + 1 < T::COLS ? lane / 16 : 0);
      slots[c / 2] = Slots<K>::of(eight * 8 + lane % 8) + sample * (K::GRID_I * Slots<K>::SLOTS);
    }
    const unsigned attentions = shared_address(mix_conv_shared), stages = attentions + S::M::ATTENTION_BYTES;
    const unsigned all_pixels = attentions + S::PIXELS_AT, end_of_pixels = all_pixels + S::PIXEL_STAGES * S::PIXEL_BYTES;
    const int first = part * S::PART_STEPS;
    const int end = first + S::PART_STEPS < S::STEPS ? first + S::PART_STEPS : S::STEPS;

    // The next run to copy, and where its step's pixels go.
    int next = first, next_run = 0;
    unsigned next_pixels = all_pixels;
    const auto copy_next = [&](unsigned stage) {
      if (next < end) {
        cells.copy(next, next_run, stage);
        if (next_run == 0) {
          pixels.copy(next, next_pixels);
          next_pixels += S::PIXEL_BYTES;
          if (next_pixels == end_of_pixels) next_pixels = all_pixels;
        }
      }
      copy_commit();
      if (++next_run == S::M::STEPS) next_run = 0, ++next;
    };
    mixing::copy_attention<Mixing<K>>(attention, attentions, 0, batch * Mixing<K>::MIXTURES);
#pragma unroll
    for (int i = 0; i < K::STAGES - 1; ++i) copy_next(stages + i * S::M::STAGE_BYTES);

    mixing::Sums<Mixing<K>> mixed = {};
    unsigned full = stages, empty = stages + (K::STAGES - 1) * S::M::STAGE_BYTES, full_pixels = all_pixels;
#pragma unroll 1
    for (int step = first; step < end; ++step) {
#pragma unroll 1
      for (int run = 0; run < S::M::STEPS; ++run) {
        copy_wait<K::STAGES - 2>();
        __syncthreads();
        copy_next(empty);
        mixing::multiply<Mixing<K>>(mixed, full, attentions, run, warp_e, warp_g);
        empty = full;
        full += S::M::STAGE_BYTES;
        if (full == stages + K::STAGES * S::M::STAGE_BYTES) full = stages;
      }
      round<K>(mixed, mix_conv_shared + S::WEIGHTS_AT, warp_e, warp_g);
      __syncthreads();
      if (is_there) {
        multiply<K>(sums, attentions + S::WEIGHTS_AT, full_pixels, slots, sample, step * K::K_TILE / K::CELL_IN, warp_m);
      }
      full_pixels += S::PIXEL_BYTES;
      if (full_pixels == end_of_pixels) full_pixels = all_pixels;
    }
    copy_wait<0>();
    __syncthreads();
  }

  const int thread = threadIdx.x % T::THREADS;
  if constexpr (K::PARTS > 1) {
    constexpr int PART_SUMS = K::GRID_O * K::C_TILE * K::P_TILE;
    float* const tile_parts = parts + static_cast<long long>(c_tile * batch + sample) * (K::PARTS * PART_SUMS);
    if (!gather<T>(sums, tile_parts, counters + c_tile, part, mix_conv_shared, thread, is_there)) return;
  }

  // One group of output channels after the other; each sample has a place of its own.
  float* const tile = reinterpret_cast<float*>(mix_conv_shared) + sample * (K::C_TILE * K::P_TILE);
#pragma unroll 1
  for (int o = 0; o < K::GRID_O; ++o) {
    if (o > 0) __syncthreads();
#pragma unroll
    for (int r = 0; r < T::ROWS; ++r) {
      const int fragment = warp_m * T::ROWS + r;
      if (fragment / (K::C_TILE / 16) == o) {
        lay<T>(sums[r], tile, fragment % (K::C_TILE / 16) * 16, warp_p * T::COLS * 8);
      }
    }
    __syncthreads();
    const int channels = o * K::CELL_OUT + c_tile * K::C_TILE;
    float totals[8] = {};
    if (is_there) {
      store<T>(reinterpret_cast<const float4*>(tile), channels + thread % S::ROW_CHUNKS * 8, 0, scale, shift, add, output,
               sample, thread, totals);
    }
    if constexpr (K::AVERAGED) {
      using Left = Totals<T, 8>;
      Left::leave(totals, tile, thread);
      for (int local = thread; is_there && local < K::C_TILE; local += T::THREADS) {
        averaged[sample * K::OUT_PITCH + channels + local] = Left::of(tile, local);
      }
    }
  }
}

}  // namespace kwc::mix_conv
