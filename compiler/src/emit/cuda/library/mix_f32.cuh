// Mixing with multiply-adds in single precision: output[b, i, :] = sum over j of attention[b, i, j] * warehouse[j, :].
//
// A product of matrices, elements of a cell times columns; column b * mixtures + i is mixture i of sample b. A block
// makes 256 elements (x) of COLUMNS columns (y): a thread four elements of a quarter of the columns. Each step of 16
// cells goes through shared memory, by way of registers that hold the next one meanwhile:
//   cells  [16][256],
//   alphas [16][PITCH], columns innermost.
//
// K: Element, CELL, CELLS, ATTENTION_PITCH, COLUMNS (8, 16, 32 or 64); 256 threads.
// Layouts: attention [columns][ATTENTION_PITCH], warehouse [CELLS][CELL], output [columns][CELL].

namespace kwc::mix_f32 {

constexpr int STEP = 16, FOURS = 64;

// What a thread carries from global to shared memory: four elements of every fourth cell, and alphas of eight cells
// side by side.
template <class K>
struct Carried {
  // Four more than a multiple of 32: then lanes that write eight cells of four columns touch each bank once.
  static constexpr int PITCH = (K::COLUMNS + 31) / 32 * 32 + 4;
  static constexpr int CELLS = STEP * FOURS / K::THREADS;
  static constexpr int ALPHAS = (STEP * K::COLUMNS + K::THREADS - 1) / K::THREADS;

  float4 cells[CELLS];
  float alphas[ALPHAS];

  __device__ __forceinline__ void load(const typename K::Element* attention, const typename K::Element* warehouse,
                                       int start, int columns) {
    const long long element = (static_cast<long long>(blockIdx.x) * FOURS + threadIdx.x % FOURS) * 4;
#pragma unroll
    for (int i = 0; i < CELLS; ++i) {
      const int cell = start + threadIdx.x / FOURS + i * (K::THREADS / FOURS);
      const bool inside = cell < K::CELLS && element < K::CELL;
      cells[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if (inside) cells[i] = load4(warehouse + static_cast<long long>(cell) * K::CELL + element);
    }
#pragma unroll
    for (int i = 0; i < ALPHAS; ++i) {
      const int index = threadIdx.x + i * K::THREADS;
      const int cell = start + index % 8 + index / (8 * K::COLUMNS) * 8;
      const int column = blockIdx.y * K::COLUMNS + index / 8 % K::COLUMNS;
      const bool inside = index < STEP * K::COLUMNS && cell < K::CELLS && column < columns;
      alphas[i] = inside ? to_float(attention[static_cast<long long>(column) * K::ATTENTION_PITCH + cell]) : 0.0f;
    }
  }

  __device__ __forceinline__ void store(float4* shared_cells, float* shared_alphas) const {
#pragma unroll
    for (int i = 0; i < CELLS; ++i) shared_cells[threadIdx.x + i * K::THREADS] = cells[i];
#pragma unroll
    for (int i = 0; i < ALPHAS; ++i) {
      const int index = threadIdx.x + i * K::THREADS;
      if (index < STEP * K::COLUMNS) {
        shared_alphas[(index % 8 + index / (8 * K::COLUMNS) * 8) * PITCH + index / 8 % K::COLUMNS] = alphas[i];
      }
    }
  }
};

template <class K>
__device__ void run(const typename K::Element* attention, const typename K::Element* warehouse,
                    typename K::Element* output, int batch, int mixtures) {
  constexpr int EACH = K::COLUMNS / (K::THREADS / FOURS), PITCH = Carried<K>::PITCH;
  __shared__ float4 cells[STEP * FOURS];
  __shared__ __align__(16) float alphas[STEP * PITCH];
  const int four = threadIdx.x % FOURS, first = threadIdx.x / FOURS * EACH, columns = batch * mixtures;
  float sums[EACH][4] = {};
  Carried<K> carried;
  carried.load(attention, warehouse, 0, columns);
#pragma unroll 1
  for (int start = 0; start < K::CELLS; start += STEP) {
    __syncthreads();
    carried.store(cells, alphas);
    __syncthreads();
    if (start + STEP < K::CELLS) carried.load(attention, warehouse, start + STEP, columns);
#pragma unroll 4
    for (int cell = 0; cell < STEP; ++cell) {
      const float4 x = cells[cell * FOURS + four];
#pragma unroll
      for (int pair = 0; pair < EACH; pair += 2) {
        const float2 alpha = *reinterpret_cast<const float2*>(&alphas[cell * PITCH + first + pair]);
        const float two[2] = {alpha.x, alpha.y};
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float(&sum)[4] = sums[pair + i];
          sum[0] = fmaf(two[i], x.x, sum[0]);
          sum[1] = fmaf(two[i], x.y, sum[1]);
          sum[2] = fmaf(two[i], x.z, sum[2]);
          sum[3] = fmaf(two[i], x.w, sum[3]);
        }
      }
    }
  }
  const long long element = (static_cast<long long>(blockIdx.x) * FOURS + four) * 4;
  if (element >= K::CELL) return;
#pragma unroll
  for (int each = 0; each < EACH; ++each) {
    const int column = blockIdx.y * K::COLUMNS + first + each;
    if (column < columns) store4(output + static_cast<long long>(column) * K::CELL + element, sums[each]);
  }
}

}  // namespace kwc::mix_f32
