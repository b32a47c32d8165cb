// Mixing of warehouse cells into kernels, on tensor cores:
// output[b, i, :] = sum over j of attention[b, i, j] * warehouse[j, :].
//
// A product of matrices, elements of a cell times columns, summed over the cells; column b * mixtures + i is mixture i
// of sample b. A block makes C_TILE columns (x) of TILES tiles of E_TILE elements (y), one tile after the other, with
// WARPS_E x WARPS_C warps. The attentions of its columns stay in shared memory. Of the warehouse, each step of K_TILE
// cells is copied to one of STAGES stages while earlier ones are multiplied; the copies of a tile start before the tile
// ahead of it is finished. In shared memory, with chunks of eight halves:
//   attention [C_TILE][PITCH chunks], an odd pitch, zeros beyond the last cell and the last column,
//   stages    [STAGES][K_TILE][E_TILE], as the warehouse lies in memory, chunks in the order of `place`,
//   results   [warps][2][8][32], eight columns of 32 elements, on their way from fragments to rows.
//
// K: CELL (elements of a cell), CELLS, ATTENTION_PITCH, E_TILE, C_TILE, K_TILE, WARPS_E, WARPS_C, STAGES,
// TILES.
// Layouts: attention [columns][ATTENTION_PITCH], warehouse [CELLS][CELL], output [columns][CELL].

namespace kwc::mix {

using mixing::Sizes;
using mixing::Sums;

// Bytes of eight columns of 32 elements.
constexpr int RESULT_BYTES = 8 * 32 * 2;

// Starts to copy K_TILE cells' elements of a tile.
template <class K>
__device__ __forceinline__ void copy_cells(const half* warehouse, unsigned stage, int tile, int step) {
  using S = Sizes<K>;
  constexpr int ROWS = K::THREADS / S::CHUNKS, COPIES = (K::K_TILE + ROWS - 1) / ROWS;
  const int chunk = threadIdx.x % S::CHUNKS, first = threadIdx.x / S::CHUNKS;
  const int element = tile * K::E_TILE + chunk * 8;
  const half* const from = warehouse + static_cast<long long>(step * K::K_TILE + first) * K::CELL + element;
#pragma unroll
  for (int i = 0; i < COPIES; ++i) {
    const int row = first + i * ROWS;
    if (K::K_TILE % ROWS == 0 || row < K::K_TILE) {
      const bool inside = (K::CELL % K::E_TILE == 0 || element < K::CELL) &&
                          (K::CELLS % K::K_TILE == 0 || step * K::K_TILE + row < K::CELLS);
      const half* const of_row = from + static_cast<long long>(i * ROWS) * K::CELL;
      copy16(stage + 16 * place<S::CHUNKS>(row, chunk), inside ? of_row : warehouse, inside);
    }
  }
}

// Stores a warp's part of a tile, by way of its place in shared memory, and makes the sums zero.
template <class K>
__device__ __forceinline__ void store(Sums<K>& sums, char* results, half* output, int tile, int columns, int warp_e,
                                      int warp_c) {
  using S = Sizes<K>;
  const int lane = threadIdx.x % 32;
  const int column = blockIdx.x * K::C_TILE + warp_c * S::GROUPS * 8 + lane / 4;
  const int element = tile * K::E_TILE + warp_e * S::PAIRS * 32 + lane % 4 * 8;
  half* const to = output + static_cast<long long>(column) * K::CELL + element;
#pragma unroll
  for (int pair = 0; pair < S::PAIRS; ++pair) {
#pragma unroll
    for (int c = 0; c < S::GROUPS; ++c) {
      // One of two places in turn: when it is written again, all lanes have read it.
      char* const place_of_group = results + (pair * S::GROUPS + c) % 2 * RESULT_BYTES;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float(&x)[4] = sums[pair][r][c];
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const unsigned word = pack(x[2 * h], x[2 * h + 1]);
          const int row = lane % 4 * 2, chunk = r * 2 + h;
          half* const first = reinterpret_cast<half*>(place_of_group + 16 * place<4>(row, chunk)) + lane / 4;
          half* const second = reinterpret_cast<half*>(place_of_group + 16 * place<4>(row + 1, chunk)) + lane / 4;
          first->bits = static_cast<unsigned short>(word);
          second->bits = static_cast<unsigned short>(word >> 16);
        }
        x[0] = x[1] = x[2] = x[3] = 0.0f;
      }
      __syncwarp();
      const uint4 row = *reinterpret_cast<const uint4*>(place_of_group + 16 * place<4>(lane / 4, lane % 4));
      if (column + c * 8 < columns && (K::CELL % K::E_TILE == 0 || element + pair * 32 < K::CELL)) {
        *reinterpret_cast<uint4*>(to + static_cast<long long>(c * 8) * K::CELL + pair * 32) = row;
      }
    }
  }
  if constexpr (S::PAIRS * S::GROUPS % 2 == 1) __syncwarp();
}

template <class K>
__device__ void run(const half* attention, const half* warehouse, half* output, int batch, int mixtures) {
  using S = Sizes<K>;
  extern __shared__ __align__(128) char mix_shared[];
  const int warp = threadIdx.x / 32, warp_e = warp % K::WARPS_E, warp_c = warp / K::WARPS_E;
  const int columns = batch * mixtures, first_tile = blockIdx.y * K::TILES;
  const int tiles = first_tile + K::TILES < S::E_TILES ? K::TILES : S::E_TILES - first_tile;
  const unsigned attentions = shared_address(mix_shared), stages = attentions + S::ATTENTION_BYTES;
  char* const results = mix_shared + S::ATTENTION_BYTES + K::STAGES * S::STAGE_BYTES + warp * (2 * RESULT_BYTES);

  // The next step to copy, and its tile.
  int next = 0, next_tile = 0;
  mixing::copy_attention<K>(attention, attentions, blockIdx.x * K::C_TILE, columns);
#pragma unroll
  for (int i = 0; i < K::STAGES - 1; ++i) {
    if (next_tile < tiles) copy_cells<K>(warehouse, stages + i * S::STAGE_BYTES, first_tile + next_tile, next);
    copy_commit();
    if (++next == S::STEPS) next = 0, ++next_tile;
  }
  Sums<K> sums = {};
  unsigned full = stages, empty = stages + (K::STAGES - 1) * S::STAGE_BYTES;
  for (int tile = 0; tile < tiles; ++tile) {
#pragma unroll 1
    for (int step = 0; step < S::STEPS; ++step) {
      copy_wait<K::STAGES - 2>();
      __syncthreads();
      if (next_tile < tiles) copy_cells<K>(warehouse, empty, first_tile + next_tile, next);
      copy_commit();
      if (++next == S::STEPS) next = 0, ++next_tile;
      mixing::multiply<K>(sums, full, attentions, step, warp_e, warp_c);
      empty = full;
      full += S::STAGE_BYTES;
      if (full == stages + K::STAGES * S::STAGE_BYTES) full = stages;
    }
    store<K>(sums, results, output, first_tile + tile, columns, warp_e, warp_c);
  }
  copy_wait<0>();
}

}  // namespace kwc::mix
