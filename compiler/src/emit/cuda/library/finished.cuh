// What convolutions on tensor cores do with their sums: gather parts of them, finish and store them, leave their totals.
//
// A tile is C_TILE output channels of P_TILE output positions of one sample. THREADS threads have its sums, each those of
// ROWS x COLS fragments of 16 channels and 8 positions; `thread` is a thread's number among them. All threads of the block
// call what has a barrier, those without a sample too (`is_there` is false for them).
//
// T: these constants, POSITIONS (of an output), PARTS (of a sum), OUT_CHANNELS, OUT_PITCH, and an epilogue.

namespace kwc {

// Where four channels of a finished tile, [P_TILE][C_TILE] floats, lie in shared memory, in fours: so that fragments are
// written and channels read without conflicts.
template <class T>
__device__ __forceinline__ int place_sum(int position, int four) {
  return (position * (T::C_TILE / 4) + four) ^ (position / 2 % 4 * 2);
}

// Leaves this block's part of a sum in memory. The last block of a tile to do so gets the sum of all parts, and true.
template <class T>
__device__ __forceinline__ bool gather(float (&sums)[T::ROWS][T::COLS][4], float* parts, unsigned* counter, int part,
                                       char* shared, int thread, bool is_there) {
  float4* const fragments = reinterpret_cast<float4*>(parts);
  constexpr int FRAGMENTS = T::ROWS * T::COLS * T::THREADS;
#pragma unroll
  for (int r = 0; r < T::ROWS; ++r) {
#pragma unroll
    for (int c = 0; c < T::COLS; ++c) {
      float(&x)[4] = sums[r][c];
      const float4 fragment = make_float4(x[0], x[1], x[2], x[3]);
      if (is_there) fragments[part * FRAGMENTS + (r * T::COLS + c) * T::THREADS + thread] = fragment;
      x[0] = x[1] = x[2] = x[3] = 0.0f;
    }
  }
  __threadfence();
  __syncthreads();
  volatile unsigned* const arrived = reinterpret_cast<unsigned*>(shared);
  if (threadIdx.x == 0) *arrived = atomicAdd(counter, 1u);
  __syncthreads();
  const bool is_last = *arrived == T::PARTS - 1;
  __syncthreads();
  if (!is_last) return false;
  if (threadIdx.x == 0) atomicExch(counter, 0u);
  __threadfence();
  if (!is_there) return true;
#pragma unroll 1
  for (int i = 0; i < T::PARTS; ++i) {
#pragma unroll
    for (int r = 0; r < T::ROWS; ++r) {
#pragma unroll
      for (int c = 0; c < T::COLS; ++c) {
        const float4 x = __ldcg(&fragments[i * FRAGMENTS + (r * T::COLS + c) * T::THREADS + thread]);
        float(&total)[4] = sums[r][c];
        total[0] += x.x, total[1] += x.y, total[2] += x.z, total[3] += x.w;
      }
    }
  }
  return true;
}

// Puts a warp's sums of 16 channels into the tile, from these channels and positions of it on.
template <class T>
__device__ __forceinline__ void lay(const float (&sums)[T::COLS][4], float* tile, int first_channel, int first_position) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int c = 0; c < T::COLS; ++c) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int channel = first_channel + i / 2 * 8 + lane / 4, position = first_position + c * 8 + lane % 4 * 2 + i % 2;
      tile[place_sum<T>(position, channel / 4) * 4 + channel % 4] = sums[c][i];
    }
  }
}

// Finishes a tile of sums in shared memory, eight channels of a position at a time, and stores it. A thread's channels are
// chunk `thread % (C_TILE / 8)` of the tile, and start at `channel` of the output. Leaves in `totals` this thread's sums of
// finished values over its positions.
template <class T>
__device__ __forceinline__ void store(const float4* tile, int channel, int p_tile, const float* scale, const float* shift,
                                      const half* add, half* output, long long sample, int thread, float (&totals)[8]) {
  constexpr int CHUNKS = T::C_TILE / 8, STRIDE = T::THREADS / CHUNKS;
  const int chunk = thread % CHUNKS;
  // Every second four threads read their second half first: so all eight that share a cycle touch different banks.
  const int swap = thread / 4 % 2;
  if (channel >= T::OUT_PITCH) return;
  float scales[8] = {}, shifts[8] = {};
  if constexpr (T::SCALE) load8(scale + channel, scales);
  if constexpr (T::SHIFT) load8(shift + channel, shifts);
#pragma unroll 2
  for (int row = thread / CHUNKS; row < T::P_TILE; row += STRIDE) {
    const int position = p_tile * T::P_TILE + row;
    if (position >= T::POSITIONS) break;
    const float4 one = tile[place_sum<T>(row, chunk * 2 + swap)];
    const float4 other = tile[place_sum<T>(row, chunk * 2 + 1 - swap)];
    const float4 low = swap ? other : one, high = swap ? one : other;
    float x[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    const long long at = (sample * T::POSITIONS + position) * T::OUT_PITCH + channel;
    float addends[8] = {};
    if constexpr (T::ADD) load8(add + at, addends);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float y = T::finish(x[i], scales[i], shifts[i], addends[i]);
      x[i] = channel + i < T::OUT_CHANNELS ? y : 0.0f;
      totals[i] += x[i];
    }
    store8(output + at, x);
  }
}

// Totals of a tile's channels over its positions, of threads that have WIDTH channels each, neighbours neighbouring ones:
// LANES threads leave one sum of each channel in shared memory.
template <class T, int WIDTH>
struct Totals {
  static constexpr int COLUMNS = T::C_TILE / WIDTH, LANES = COLUMNS < 32 ? 32 : COLUMNS;
  static constexpr int PITCH = COLUMNS % 8 == 0 ? COLUMNS + 4 : COLUMNS;

  // Leaves the threads' totals, each summed over a warp's threads that have the same channels. A barrier before and after.
  static __device__ __forceinline__ void leave(float (&totals)[WIDTH], float* shared, int thread) {
    __syncthreads();
#pragma unroll
    for (int other = COLUMNS; other < 32; other *= 2) {
#pragma unroll
      for (int i = 0; i < WIDTH; ++i) totals[i] += __shfl_xor_sync(0xffffffff, totals[i], other);
    }
    if (COLUMNS >= 32 || thread % 32 < COLUMNS) {
#pragma unroll
      for (int i = 0; i < WIDTH; ++i) shared[(thread / LANES * WIDTH + i) * PITCH + thread % COLUMNS] = totals[i];
    }
    __syncthreads();
  }

  // The total of a channel of the tile: what has been left, in order.
  static __device__ __forceinline__ float of(const float* shared, int channel) {
    float total = 0.0f;
#pragma unroll
    for (int group = 0; group < T::THREADS / LANES; ++group) {
      total += shared[(group * WIDTH + channel % WIDTH) * PITCH + channel / WIDTH];
    }
    return total;
  }
};

}  // namespace kwc
