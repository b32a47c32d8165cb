// Products of attentions and warehouse cells, on tensor cores: elements of a cell times columns, summed over the cells. Column
// b * mixtures + i is mixture i of sample b.
//
// WARPS_E x WARPS_C warps make C_TILE columns of E_TILE elements, from steps of K_TILE cells. In shared memory, with chunks of
// eight halves:
//   attention [C_TILE][PITCH chunks], an odd pitch, zeros beyond the last cell and the last column,
//   a stage   [K_TILE][E_TILE], chunks in the order of `place`, zeros beyond the last cell.
//
// K: these constants, CELL (elements of a cell), CELLS, ATTENTION_PITCH, THREADS.
// Layout of attentions in memory: [columns][ATTENTION_PITCH].

namespace kwc::mixing {

template <class K>
struct Sizes {
  static constexpr int STEPS = (K::CELLS + K::K_TILE - 1) / K::K_TILE;
  static constexpr int E_TILES = (K::CELL + K::E_TILE - 1) / K::E_TILE;
  static constexpr int CHUNKS = K::E_TILE / 8;
  static constexpr int ATTENTION_CHUNKS = STEPS * K::K_TILE / 8;
  static constexpr int PITCH = ATTENTION_CHUNKS | 1;
  static constexpr int ATTENTION_BYTES = 16 * PITCH * K::C_TILE;
  static constexpr int STAGE_BYTES = 2 * K::K_TILE * K::E_TILE;
  // What a warp makes: pairs of 16 elements, and groups of 8 columns.
  static constexpr int PAIRS = K::E_TILE / K::WARPS_E / 32;
  static constexpr int GROUPS = K::C_TILE / K::WARPS_C / 8;
};

template <class K>
using Sums = float[Sizes<K>::PAIRS][2][Sizes<K>::GROUPS][4];

// Starts to copy the attentions of a block's columns, from `first_column` on, of `columns` that there are.
template <class K>
__device__ __forceinline__ void copy_attention(const half* attention, unsigned to, int first_column, int columns) {
  using S = Sizes<K>;
  // Neighbouring threads write neighbouring chunks, those of the padding included.
  for (int index = threadIdx.x; index < K::C_TILE * S::PITCH; index += K::THREADS) {
    const int row = index / S::PITCH, chunk = index % S::PITCH;
    const int column = first_column + row;
    const bool inside = column < columns && chunk * 8 < K::ATTENTION_PITCH;
    const half* const from = attention + static_cast<long long>(column) * K::ATTENTION_PITCH + chunk * 8;
    copy16(to + 16 * index, inside ? from : attention, inside);
  }
}

// Adds the products of one step.
template <class K>
__device__ __forceinline__ void multiply(Sums<K>& sums, unsigned stage, unsigned attention, int step, int warp_e,
                                         int warp_c) {
  using S = Sizes<K>;
  const int lane = threadIdx.x % 32;
  const int cell = lane / 16 * 8 + lane % 8, chunk = warp_e * S::PAIRS * 4 + lane / 8 % 2;
  const int column = warp_c * S::GROUPS * 8 + lane / 16 * 8 + lane % 8;
  attention += 16 * (column * S::PITCH + step * (K::K_TILE / 8) + lane / 8 % 2);
#pragma unroll
  for (int k = 0; k < K::K_TILE; k += 16) {
    unsigned a[S::PAIRS][2][4];
#pragma unroll
    for (int r = 0; r < S::PAIRS * 2; ++r) {
      load_transposed(a[r / 2][r % 2], stage + 16 * (place<S::CHUNKS>(cell, chunk + r * 2) + k * S::CHUNKS));
    }
#pragma unroll
    for (int c = 0; c < S::GROUPS; c += 2) {
      const unsigned from = attention + 16 * (c * 8 * S::PITCH + k / 8);
      unsigned b[4];
      if (c + 1 < S::GROUPS) {
        load_matrices(b, from);
      } else {
        // Lanes 16 to 31 repeat the addresses of the others: theirs would be beyond the tile.
        load_two(b[0], b[1], from - lane / 16 * (16 * 8 * S::PITCH));
      }
#pragma unroll
      for (int r = 0; r < S::PAIRS * 2; ++r) {
        multiply_add(sums[r / 2][r % 2][c], a[r / 2][r % 2], b[0], b[1]);
        if (c + 1 < S::GROUPS) multiply_add(sums[r / 2][r % 2][c + 1], a[r / 2][r % 2], b[2], b[3]);
      }
    }
  }
}

}  // namespace kwc::mixing
