// Mixing with multiply-adds in single precision: output[b, i, :] = sum over j of attention[b, i, j] * warehouse[j, :].
//
// A block makes ELEMENTS elements of a cell (x) of COLUMNS mixtures (y), counted over all samples. A thread makes eight
// elements of every eighth of these mixtures. K: Element, CELL, CELLS, MIXTURES, ATTENTION_PITCH, ELEMENTS, COLUMNS.

namespace kwc::mix_f32 {

template <class K>
__device__ void run(const typename K::Element* attention, const typename K::Element* warehouse,
                    typename K::Element* output, int batch) {
  constexpr int CHUNK = 64, GROUPS = K::ELEMENTS / 8, ROWS = K::THREADS / GROUPS, EACH = K::COLUMNS / ROWS;
  __shared__ float alphas[K::COLUMNS][CHUNK];
  const int group = threadIdx.x % GROUPS, row = threadIdx.x / GROUPS;
  const long long element = (long long)blockIdx.x * K::ELEMENTS + 8 * group;
  const int first = blockIdx.y * K::COLUMNS, columns = batch * K::MIXTURES;
  float sums[EACH][8] = {};
  for (int start = 0; start < K::CELLS; start += CHUNK) {
    __syncthreads();
    for (int index = threadIdx.x; index < K::COLUMNS * CHUNK; index += K::THREADS) {
      const int column = first + index / CHUNK, cell = start + index % CHUNK;
      const bool there = column < columns && cell < K::CELLS;
      alphas[index / CHUNK][index % CHUNK] =
          there ? to_float(attention[(long long)column * K::ATTENTION_PITCH + cell]) : 0.0f;
    }
    __syncthreads();
    if (element < K::CELL) {
      const int cells = min(CHUNK, K::CELLS - start);
      for (int cell = 0; cell < cells; ++cell) {
        float x[8];
        load8(warehouse + (long long)(start + cell) * K::CELL + element, x);
#pragma unroll
        for (int each = 0; each < EACH; ++each) {
          const float alpha = alphas[row + each * ROWS][cell];
#pragma unroll
          for (int i = 0; i < 8; ++i) sums[each][i] = fmaf(alpha, x[i], sums[each][i]);
        }
      }
    }
  }
  if (element >= K::CELL) return;
#pragma unroll
  for (int each = 0; each < EACH; ++each) {
    const int column = first + row + each * ROWS;
    if (column < columns) store8(output + (long long)column * K::CELL + element, sums[each]);
  }
}

}  // namespace kwc::mix_f32
