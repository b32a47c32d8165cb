// Attentions: norm and rectifier of the hidden units, fc2, the basis, the normaliser; in single precision throughout.
//
// A block makes PER_BLOCK mixtures of one sample (y), from the average or, with HIDDEN_GIVEN, from the hidden units.
// K: as attention.cuh, and LAYER_NORM, EPSILON, MIXTURES, PER_BLOCK, CELLS; ROWS and ROW_PITCH, the logits that fc2 makes of
// a mixture; LOCAL, START, RANK and NONLOCAL_PITCH of the basis (RANK is 0 without one); TEMPERATURE (0 without one);
// Output and OUT_PITCH of the attention; FOLDED, whether it is over cells that have the basis folded in: [LOCAL | RANK |
// MIXTURES], the last of which are constant parts, each for one mixture.
//
// Layouts: fc1 [HIDDEN][CHANNEL_PITCH], fc2 [MIXTURES][HIDDEN][ROW_PITCH], fc2_bias [MIXTURES][ROWS],
// fc3 [RANK][NONLOCAL_PITCH], bias [MIXTURES][CELLS + 1], output [MIXTURES][OUT_PITCH].

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
                    const float* beta, typename K::Output* output) {
  constexpr int LOGITS = K::CELLS + 1, WARPS = K::THREADS / 32;
  __shared__ __align__(16) float average[K::HIDDEN_GIVEN ? 4 : K::CHANNEL_PITCH];
  __shared__ float hidden[K::HIDDEN];
  __shared__ float rows[K::PER_BLOCK][K::ROWS];
  __shared__ float logits[K::RANK > 0 ? K::PER_BLOCK : 1][K::RANK > 0 ? LOGITS : 1];
  __shared__ float norms[K::PER_BLOCK];
  const int sample = blockIdx.y, first = blockIdx.x * K::PER_BLOCK, warp = threadIdx.x / 32, lane = threadIdx.x % 32;

  if constexpr (K::HIDDEN_GIVEN) {
    constexpr int PITCH = (K::HIDDEN + 7) / 8 * 8;
    for (int unit = threadIdx.x; unit < K::HIDDEN; unit += K::THREADS) hidden[unit] = to_float(source[sample * PITCH + unit]);
  } else {
    average_channels<K>(source + (long long)sample * K::PARTS * K::PART_PITCH, average);
    __syncthreads();
    for (int unit = warp; unit < K::HIDDEN; unit += WARPS) {
      const float x = hidden_unit<K>(fc1, fc1_bias, average, unit);
      if (lane == 0) hidden[unit] = x;
    }
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
  for (int unit = threadIdx.x; unit < K::HIDDEN; unit += K::THREADS) {
    hidden[unit] = fmaxf(fmaf((hidden[unit] - centre) * spread, norm_scale[unit], norm_shift[unit]), 0.0f);
  }
  __syncthreads();

  // fc2: neighbouring threads make neighbouring logits.
  for (int index = threadIdx.x; index < K::PER_BLOCK * K::ROWS; index += K::THREADS) {
    const int mixture = first + index / K::ROWS, row = index % K::ROWS;
    if (mixture < K::MIXTURES) {
      const float* column = fc2 + (long long)mixture * K::HIDDEN * K::ROW_PITCH + row;
      float sum = 0.0f;
      for (int unit = 0; unit < K::HIDDEN; ++unit) sum = fmaf(column[(long long)unit * K::ROW_PITCH], hidden[unit], sum);
      rows[index / K::ROWS][row] = fc2_bias ? sum + fc2_bias[mixture * K::ROWS + row] : sum;
    } else {
      rows[index / K::ROWS][row] = 0.0f;
    }
  }
  __syncthreads();

  // The basis: [nonlocal before START | local | nonlocal after | null] + bias.
  if constexpr (K::RANK > 0) {
    for (int index = threadIdx.x; index < K::PER_BLOCK * LOGITS; index += K::THREADS) {
      const int mixture = first + index / LOGITS, cell = index % LOGITS;
      const float* row = rows[index / LOGITS];
      float x = 0.0f;
      if (cell == K::CELLS) {
        x = row[K::LOCAL + K::RANK];
      } else if (cell >= K::START && cell < K::START + K::LOCAL) {
        x = row[cell - K::START];
      } else {
        const int nonlocal = cell < K::START ? cell : cell - K::LOCAL;
        for (int q = 0; q < K::RANK; ++q) x = fmaf(fc3[q * K::NONLOCAL_PITCH + nonlocal], row[K::LOCAL + q], x);
      }
      logits[index / LOGITS][cell] = mixture < K::MIXTURES ? x + bias[mixture * LOGITS + cell] : 0.0f;
    }
    __syncthreads();
  }

  // The normaliser: a warp for each mixture.
  for (int mixture = warp; mixture < K::PER_BLOCK; mixture += WARPS) {
    float sum = 0.0f;
    for (int cell = lane; cell < LOGITS; cell += 32) {
      sum += fabsf(K::RANK > 0 ? logits[mixture][cell] : rows[mixture][cell]);
    }
    sum = warp_sum(sum);
    if (lane == 0) norms[mixture] = 1.0f / (sum + 1e-3f);
  }
  __syncthreads();

  output += ((long long)sample * K::MIXTURES + first) * K::OUT_PITCH;
  for (int index = threadIdx.x; index < K::PER_BLOCK * K::OUT_PITCH; index += K::THREADS) {
    const int mixture = index / K::OUT_PITCH, cell = index % K::OUT_PITCH;
    if (first + mixture >= K::MIXTURES) break;
    float alpha = 0.0f;
    if constexpr (K::FOLDED) {
      float x = cell - K::LOCAL - K::RANK == first + mixture ? 1.0f : 0.0f;
      if (cell < K::LOCAL) {
        x = logits[mixture][K::START + cell];
      } else if (cell < K::LOCAL + K::RANK) {
        x = rows[mixture][cell];
      }
      alpha = x * norms[mixture];
    } else if (cell < K::CELLS) {
      alpha = (K::RANK > 0 ? logits[mixture][cell] : rows[mixture][cell]) * norms[mixture];
      if constexpr (K::TEMPERATURE > 0.0f) {
        const float target = beta[first + mixture] == cell ? 1.0f : 0.0f;
        alpha = (1.0f - K::TEMPERATURE) * alpha + K::TEMPERATURE * target;
      }
    }
    output[index] = from_float<typename K::Output>(alpha);
  }
}

}  // namespace kwc::attention_mixtures
