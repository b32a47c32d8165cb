// Attentions: norm and rectifier of the hidden units, fc2, the basis, the normaliser; in single precision throughout.
//
// A block makes PER_BLOCK mixtures of one sample (y), from the average or, with HIDDEN_GIVEN, from the hidden units. There
// are few blocks, and what takes their time is waiting for loads: weights are loaded ahead of the values that they are
// multiplied with, as far as registers go. K: as attention.cuh, and LAYER_NORM, EPSILON, PER_BLOCK, CELLS; ROWS and
// ROW_PITCH, the logits that fc2 makes of a mixture; LOCAL, RANK and NONLOCAL_PITCH of the basis (RANK is 0 without one);
// TEMPERATURE (0 without one); Output and OUT_PITCH of the attention; FOLDED, whether it is over cells that have the basis
// folded in: [LOCAL | RANK | mixtures], the last of which are constant parts, each for one mixture; DYNAMIC_BYTES of dynamic
// shared memory, 0 where static shared memory suffices.
//
// At run time only: `mixtures`, `parts` and `positions` of the average, and `start`, the first of the layer's own cells.
//
// Layouts: fc1 [HIDDEN][CHANNEL_PITCH], fc2 [mixtures][HIDDEN][ROW_PITCH], fc2_bias [mixtures][ROW_PITCH],
// fc3 [RANK][NONLOCAL_PITCH], bias [mixtures][CELLS + 1], beta [mixtures], output [mixtures][OUT_PITCH].

namespace kwc::attention_mixtures {

// The sum over the hidden units, divided by their number; every thread gets it.
template <class K>
__device__ __forceinline__ float mean(const float* x) {
  float sum = 0.0f;
  for (int unit = threadIdx.x % 32; unit < K::HIDDEN; unit += 32) sum += x[unit];
  return warp_sum(sum) * (1.0f / K::HIDDEN);
}

template <class K>
__device__ void run(const typename K::Average* source, const float* fc1, const float* fc1_bias, const float* norm_scale,
                    const float* norm_shift, const float* fc2, const float* fc2_bias, const float* fc3, const float* bias,
                    const float* beta, typename K::Output* output, int mixtures, int parts, int positions, int start) {
  constexpr int LOGITS = K::CELLS + 1, WARPS = K::THREADS / 32;
  // fc2: a thread makes four logits from SLICE hidden units; EARLY of their weights are loaded ahead.
  constexpr int LENGTH = K::PER_BLOCK * K::ROW_PITCH, QUADS = LENGTH / 4, FIT = K::THREADS / QUADS;
  constexpr int SPLIT = FIT < 1 ? 1 : FIT < K::HIDDEN ? FIT : K::HIDDEN;
  constexpr int SLICE = (K::HIDDEN + SPLIT - 1) / SPLIT, EARLY = SLICE < 8 ? SLICE : 8;
  constexpr int AVERAGE_SCRATCH = K::HIDDEN_GIVEN ? 0 : AverageChannels<K>::SCRATCH;
  constexpr int SCRATCH = AVERAGE_SCRATCH > SPLIT * LENGTH ? AVERAGE_SCRATCH : SPLIT * LENGTH;
  constexpr int NORMS = (K::HIDDEN + K::THREADS - 1) / K::THREADS;
  // Shared memory: average, scratch, hidden units, logits from the basis.
  constexpr int AVERAGE = K::HIDDEN_GIVEN ? 4 : K::CHANNEL_PITCH, EXPANDED = K::RANK > 0 ? K::PER_BLOCK * LOGITS : 1;
  constexpr bool DYNAMIC = K::DYNAMIC_BYTES > 0;
  static_assert(!DYNAMIC || K::DYNAMIC_BYTES == (AVERAGE + SCRATCH + K::HIDDEN + EXPANDED) * 4, "dynamic shared memory");
  extern __shared__ __align__(16) float attention_shared[];
  __shared__ __align__(16) float static_average[DYNAMIC ? 4 : AVERAGE];
  __shared__ float static_hidden[DYNAMIC ? 1 : K::HIDDEN];
  __shared__ __align__(16) float static_scratch[DYNAMIC ? 4 : SCRATCH];
  __shared__ float static_expanded[DYNAMIC ? 1 : EXPANDED];
  float* const average = DYNAMIC ? attention_shared : static_average;
  float* const scratch = DYNAMIC ? attention_shared + AVERAGE : static_scratch;
  float* const hidden = DYNAMIC ? attention_shared + AVERAGE + SCRATCH : static_hidden;
  float* const expanded = DYNAMIC ? attention_shared + AVERAGE + SCRATCH + K::HIDDEN : static_expanded;
  const int sample = blockIdx.y, first = blockIdx.x * K::PER_BLOCK, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int rows_left = (mixtures - first) * K::ROW_PITCH;

  // Weights that each thread needs first.
  float4 early[EARLY];
#pragma unroll
  for (int i = 0; i < EARLY; ++i) {
    const int quad = threadIdx.x % QUADS, unit = threadIdx.x / QUADS * SLICE + i, mixture = first + 4 * quad / K::ROW_PITCH;
    early[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (unit < K::HIDDEN && mixture < mixtures) {
      early[i] = load4(fc2 + ((long long)mixture * K::HIDDEN + unit) * K::ROW_PITCH + 4 * quad % K::ROW_PITCH);
    }
  }
  float scales[NORMS], shifts[NORMS];
#pragma unroll
  for (int i = 0; i < NORMS; ++i) {
    const int unit = threadIdx.x + i * K::THREADS;
    scales[i] = unit < K::HIDDEN ? norm_scale[unit] : 0.0f;
    shifts[i] = unit < K::HIDDEN ? norm_shift[unit] : 0.0f;
  }
  float early_bias = 0.0f;
  if (fc2_bias && threadIdx.x < LENGTH && threadIdx.x < rows_left) {
    early_bias = fc2_bias[(long long)first * K::ROW_PITCH + threadIdx.x];
  }

  if constexpr (K::HIDDEN_GIVEN) {
    constexpr int PITCH = (K::HIDDEN + 7) / 8 * 8;
    for (int unit = threadIdx.x; unit < K::HIDDEN; unit += K::THREADS) hidden[unit] = to_float(source[sample * PITCH + unit]);
  } else {
    HiddenUnits<K, (K::HIDDEN + WARPS - 1) / WARPS> units;
    units.load(fc1, warp, 0);
    AverageChannels<K>::make(source + (long long)sample * parts * K::CHANNEL_PITCH, parts, positions, average, scratch);
    units.run(fc1, fc1_bias, average, warp, 0, hidden);
  }
  __syncthreads();

  float centre = 0.0f, spread = 1.0f;
  if constexpr (K::LAYER_NORM) {
    // Every warp computes the same.
    centre = mean<K>(hidden);
    float squares = 0.0f;
    for (int unit = lane; unit < K::HIDDEN; unit += 32) {
      const float distance = hidden[unit] - centre;
      squares = fmaf(distance, distance, squares);
    }
    spread = 1.0f / sqrtf(warp_sum(squares) * (1.0f / K::HIDDEN) + K::EPSILON);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < NORMS; ++i) {
    const int unit = threadIdx.x + i * K::THREADS;
    if (unit < K::HIDDEN) {
      const float x = fmaf((hidden[unit] - centre) * spread, scales[i], shifts[i]);
      // What is not a number stays so.
      hidden[unit] = x < 0.0f ? 0.0f : x;
    }
  }
  __syncthreads();

  for (int slot = threadIdx.x; slot < SPLIT * QUADS; slot += K::THREADS) {
    const int quad = slot % QUADS, begin = slot / QUADS * SLICE, end = min(begin + SLICE, K::HIDDEN);
    const int mixture = first + 4 * quad / K::ROW_PITCH;
    float4 sums = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (mixture < mixtures) {
      int unit = begin;
      if (slot == threadIdx.x) {
#pragma unroll
        for (int i = 0; i < EARLY; ++i) {
          if (begin + i < end) add_scaled(sums, early[i], hidden[begin + i]);
        }
        unit += EARLY;
      }
      const float* column = fc2 + (long long)mixture * K::HIDDEN * K::ROW_PITCH + 4 * quad % K::ROW_PITCH;
#pragma unroll 8
      for (; unit < end; ++unit) add_scaled(sums, load4(column + unit * K::ROW_PITCH), hidden[unit]);
    }
    reinterpret_cast<float4*>(scratch)[slot] = sums;
  }
  __syncthreads();

  // The slices are added in order, each logit by a thread.
  for (int index = threadIdx.x; index < LENGTH; index += K::THREADS) {
    float sum = 0.0f;
#pragma unroll 8
    for (int slice = 0; slice < SPLIT; ++slice) sum += scratch[slice * LENGTH + index];
    if (fc2_bias) {
      if (index == threadIdx.x) {
        sum += early_bias;
      } else if (index < rows_left) {
        sum += fc2_bias[(long long)first * K::ROW_PITCH + index];
      }
    }
    scratch[index] = sum;
  }
  __syncthreads();

  // The basis: [nonlocal before `start` | local | nonlocal after | null] + bias.
  if constexpr (K::RANK > 0) {
    if constexpr (K::CELLS > K::LOCAL) {
      constexpr int COLUMNS = K::NONLOCAL_PITCH / 4;
      for (int index = threadIdx.x; index < K::PER_BLOCK * COLUMNS; index += K::THREADS) {
        const int mixture = index / COLUMNS, quad = index % COLUMNS;
        if (first + mixture >= mixtures) break;
        const float* row = scratch + mixture * K::ROW_PITCH + K::LOCAL;
        float4 sums = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 8
        for (int q = 0; q < K::RANK; ++q) add_scaled(sums, load4(fc3 + q * K::NONLOCAL_PITCH + 4 * quad), row[q]);
        const float x[4] = {sums.x, sums.y, sums.z, sums.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int nonlocal = 4 * quad + i, cell = nonlocal < start ? nonlocal : nonlocal + K::LOCAL;
          if (nonlocal < K::CELLS - K::LOCAL) {
            expanded[mixture * LOGITS + cell] = x[i] + bias[(first + mixture) * LOGITS + cell];
          }
        }
      }
    }
    for (int index = threadIdx.x; index < K::PER_BLOCK * (K::LOCAL + 1); index += K::THREADS) {
      const int mixture = index / (K::LOCAL + 1), own = index % (K::LOCAL + 1);
      if (first + mixture >= mixtures) break;
      const float* row = scratch + mixture * K::ROW_PITCH;
      const int cell = own < K::LOCAL ? start + own : K::CELLS;
      const float x = row[own < K::LOCAL ? own : K::LOCAL + K::RANK];
      expanded[mixture * LOGITS + cell] = x + bias[(first + mixture) * LOGITS + cell];
    }
    __syncthreads();
  }

  // The normaliser: each of SHARE warps computes that of its mixture, and writes a part of it.
  constexpr int SHARE = WARPS < K::PER_BLOCK ? 1 : WARPS / K::PER_BLOCK;
  for (int mixture = warp / SHARE; mixture < K::PER_BLOCK; mixture += WARPS) {
    if (first + mixture >= mixtures) break;
    const float* logits = K::RANK > 0 ? expanded + mixture * LOGITS : scratch + mixture * K::ROW_PITCH;
    float sum = 0.0f;
#pragma unroll 4
    for (int cell = lane; cell < LOGITS; cell += 32) sum += fabsf(logits[cell]);
    const float factor = 1.0f / (warp_sum(sum) + 1e-3f);
    typename K::Output* to = output + ((long long)sample * mixtures + first + mixture) * K::OUT_PITCH;
    for (int cell = warp % SHARE * 32 + lane; cell < K::OUT_PITCH; cell += SHARE * 32) {
      float alpha = 0.0f;
      if constexpr (K::FOLDED) {
        float x = cell - K::LOCAL - K::RANK == first + mixture ? 1.0f : 0.0f;
        if (cell < K::LOCAL) {
          x = logits[start + cell];
        } else if (cell < K::LOCAL + K::RANK) {
          x = scratch[mixture * K::ROW_PITCH + cell];
        }
        alpha = x * factor;
      } else if (cell < K::CELLS) {
        alpha = logits[cell] * factor;
        if constexpr (K::TEMPERATURE > 0.0f) {
          const float target = beta[first + mixture] == cell ? 1.0f : 0.0f;
          alpha = (1.0f - K::TEMPERATURE) * alpha + K::TEMPERATURE * target;
        }
      }
      to[cell] = from_float<typename K::Output>(alpha);
    }
  }
}

}  // namespace kwc::attention_mixtures
