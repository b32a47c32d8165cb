// Convolution of an image in PyTorch's order to channels last.
//
// A block makes TILE_H x TILE_W positions, 128 of them, of TILE_CHANNELS output channels. Block x counts tiles of positions
// over the batch, block y those of channels. The part of the image under the tile comes to shared memory in the precision
// of the products, `[IN_CHANNELS][IMAGE_H][IMAGE_PITCH]`, with zeros outside of the image; the tile's kernel as
// `[DEPTH][KERNEL_PITCH]`, where the terms of the sum are ordered as the image is: channel, row, column.
//
// In half precision the products run on tensor cores. Two neighbouring terms make a word there, so rows of the kernel are
// padded to pairs, and all of it to whole steps of 16 terms. A warp makes 32 positions of all channels. In single precision
// a thread makes eight positions of an eighth of the channels, in pairs.
//
// The results then go through shared memory, so that a thread can finish eight channels of a position at once. With SUMS, a
// block also writes the sums of its results over its positions: `[parts][OUT_PITCH]` per sample, a part for each tile.
//
// K: Element, the convolution's sizes, and the layout of its kernel: BLOCK, BLOCK_PITCH, CHANNEL_BLOCK, and KERNEL_STRIDE
// from one sample's kernel to the next's (0 for a static one).

namespace kwc::stem {

constexpr int POSITIONS = 128;  // of a tile; also the threads of a block

template <class E>
constexpr bool TENSOR = sizeof(E) == 2;

__device__ constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }

template <class K>
struct Sizes {
  using E = typename K::Element;
  static constexpr int ROW = TENSOR<E> ? round_up(K::KERNEL_W, 2) : K::KERNEL_W;  // terms of a row of the kernel
  static constexpr int TERMS = K::IN_CHANNELS * K::KERNEL_H * ROW;
  static constexpr int DEPTH = TENSOR<E> ? round_up(TERMS, 16) : TERMS;
  static constexpr int IMAGE_H = (K::TILE_H - 1) * K::STRIDE_H + (K::KERNEL_H - 1) * K::DILATION_H + 1;
  static constexpr int IMAGE_W = (K::TILE_W - 1) * K::STRIDE_W + (ROW - 1) * K::DILATION_W + 1;
  static constexpr int IMAGE_PITCH = round_up(IMAGE_W, 2);
  static constexpr int IMAGE = round_up(K::IN_CHANNELS * IMAGE_H * IMAGE_PITCH, 16 / sizeof(E));
  // Rows of half precision start at different banks, as the matrices that are loaded of them need.
  static constexpr int KERNEL_PITCH = TENSOR<E> ? K::TILE_CHANNELS + 8 : K::TILE_CHANNELS;
  // The upper halves of all octets of results stand behind the lower ones, so that neither writing pairs nor reading quads
  // of them meets the same bank twice.
  static constexpr int RESULT_UPPER = K::TILE_CHANNELS / 2 + 4;
  static constexpr int RESULT_PITCH = K::TILE_CHANNELS + 8;
  static constexpr int OPERAND_BYTES = (IMAGE + DEPTH * KERNEL_PITCH) * sizeof(E);
  static constexpr int RESULT_BYTES = POSITIONS * RESULT_PITCH * 4;
  static constexpr int BYTES = OPERAND_BYTES > RESULT_BYTES ? OPERAND_BYTES : RESULT_BYTES;
  static constexpr int TILES_W = (K::OUT_W + K::TILE_W - 1) / K::TILE_W;
  static constexpr int TILES_H = (K::OUT_H + K::TILE_H - 1) / K::TILE_H;
  static_assert(K::TILE_H * K::TILE_W == POSITIONS && K::THREADS == POSITIONS);
};

// Where the results of a channel of the tile are.
template <class K>
__device__ __forceinline__ int result_offset(int channel) {
  return channel / 8 * 4 + channel % 4 + (channel % 8 < 4 ? 0 : Sizes<K>::RESULT_UPPER);
}

__device__ __forceinline__ void store_pair(half* to, float low, float high) {
  *reinterpret_cast<unsigned*>(to) = pack(low, high);
}

__device__ __forceinline__ void store_pair(float* to, float low, float high) {
  *reinterpret_cast<float2*>(to) = make_float2(low, high);
}

// The part of a sample's image whose top left is at (top, left), which may lie outside.
template <class K>
__device__ __forceinline__ void load_image(typename K::Element* to, const float* image, int top, int left) {
  using S = Sizes<K>;
  constexpr int PAIRS = S::IMAGE_PITCH / 2;
  for (int i = threadIdx.x; i < K::IN_CHANNELS * S::IMAGE_H * PAIRS; i += POSITIONS) {
    const int row = i / PAIRS, channel = row / S::IMAGE_H;
    const int h = top + row % S::IMAGE_H, w = left + 2 * (i % PAIRS);
    const float* from = image + (channel * K::IN_H + h) * K::IN_W + w;
    const bool inside = static_cast<unsigned>(h) < K::IN_H;
    const float low = inside && static_cast<unsigned>(w) < K::IN_W ? from[0] : 0.0f;
    const float high = inside && static_cast<unsigned>(w + 1) < K::IN_W ? from[1] : 0.0f;
    store_pair(to + 2 * i, low, high);
  }
}

// The kernel for the tile's output channels, `channel` being the first; `kernel` is the sample's.
template <class K>
__device__ __forceinline__ void load_kernel(typename K::Element* to, const typename K::Element* kernel, int channel) {
  using S = Sizes<K>;
  using E = typename K::Element;
  constexpr int WINDOW = K::KERNEL_H * K::KERNEL_W, COLUMNS = K::IN_CHANNELS * WINDOW;
  // Output channels of a copy of 16 bytes, where they stand together.
  constexpr int ONLY = K::BLOCK == K::OUT_CHANNELS;
  constexpr int WIDTH = ONLY || K::BLOCK % 8 == 0 ? 16 / sizeof(E) : 1;
  constexpr int ROWS = ONLY ? K::BLOCK_PITCH : K::OUT_CHANNELS, COPIES = K::TILE_CHANNELS / WIDTH;
  for (int i = threadIdx.x; i < S::DEPTH * COPIES; i += POSITIONS) {
    const int term = i / COPIES, row = channel + i % COPIES * WIDTH;
    const int w = term % S::ROW, h = term / S::ROW % K::KERNEL_H, c = term / (S::ROW * K::KERNEL_H);
    const int column = c / K::CHANNEL_BLOCK * (WINDOW * K::CHANNEL_BLOCK) +
                       (h * K::KERNEL_W + w) * K::CHANNEL_BLOCK + c % K::CHANNEL_BLOCK;
    const bool inside = row < ROWS && w < K::KERNEL_W && c < K::IN_CHANNELS;
    const int block = ONLY ? 0 : row / K::BLOCK;
    const E* from = kernel + (block * COLUMNS + column) * K::BLOCK_PITCH + row - block * K::BLOCK;
    E* into = to + term * S::KERNEL_PITCH + i % COPIES * WIDTH;
    if constexpr (WIDTH == 1) {
      *into = inside ? *from : E{};
    } else {
      *reinterpret_cast<uint4*>(into) = inside ? *reinterpret_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
    }
  }
}

// Where a term's image is, from its tile position's top left.
template <class K>
__device__ __forceinline__ int term_offset(int term) {
  using S = Sizes<K>;
  const int w = term % S::ROW, h = term / S::ROW % K::KERNEL_H, c = term / (S::ROW * K::KERNEL_H);
  return (c * S::IMAGE_H + h * K::DILATION_H) * S::IMAGE_PITCH + w * K::DILATION_W;
}

// Where a position of the tile has its top left in the image.
template <class K>
__device__ __forceinline__ int position_offset(int position) {
  return position / K::TILE_W * K::STRIDE_H * Sizes<K>::IMAGE_PITCH + position % K::TILE_W * K::STRIDE_W;
}

// Two neighbouring terms of a row.
template <class K>
__device__ __forceinline__ unsigned load_terms(const half* image) {
  if constexpr (K::STRIDE_W % 2 == 0 && K::DILATION_W == 1) {
    return *reinterpret_cast<const unsigned*>(image);
  } else {
    return image[0].bits | static_cast<unsigned>(image[K::DILATION_W].bits) << 16;
  }
}

// Two operands of 16 terms x 8 channels each, from rows of terms.
__device__ __forceinline__ void load_matrices(unsigned (&b)[2][2], const half* from) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(from));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(b[0][0]), "=r"(b[0][1]), "=r"(b[1][0]), "=r"(b[1][1])
               : "r"(address)
               : "memory");
}

__device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// On tensor cores. `shared` has image and kernel, and then the results, `[POSITIONS][RESULT_PITCH]`.
template <class K>
__device__ __forceinline__ void multiply(half* shared, float* results) {
  using S = Sizes<K>;
  constexpr int PAIRS = K::TILE_CHANNELS / 16;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4, term = lane % 4 * 2;
  int positions[2][2];
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int h = 0; h < 2; ++h) positions[m][h] = position_offset<K>(32 * warp + 16 * m + 8 * h + group);
  }
  const half* kernel = shared + S::IMAGE + lane % 16 * S::KERNEL_PITCH + lane / 16 * 8;
  float sums[2][2 * PAIRS][4] = {};
#pragma unroll
  for (int step = 0; step < S::DEPTH; step += 16) {
    int offsets[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int at = step + term + 8 * h;
      // Terms of padding are multiplied by zeros.
      offsets[h] = at < S::TERMS ? term_offset<K>(at) : 0;
    }
    unsigned a[2][4];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i) a[m][i] = load_terms<K>(shared + positions[m][i % 2] + offsets[i / 2]);
    }
#pragma unroll
    for (int pair = 0; pair < PAIRS; ++pair) {
      unsigned b[2][2];
      load_matrices(b, kernel + step * S::KERNEL_PITCH + 16 * pair);
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        multiply_add(sums[m][2 * pair], a[m], b[0]);
        multiply_add(sums[m][2 * pair + 1], a[m], b[1]);
      }
    }
  }
  __syncthreads();
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < 2 * PAIRS; ++n) {
      float* to = results + (32 * warp + 16 * m + group) * S::RESULT_PITCH + result_offset<K>(8 * n + term);
      store_pair(to, sums[m][n][0], sums[m][n][1]);
      store_pair(to + 8 * S::RESULT_PITCH, sums[m][n][2], sums[m][n][3]);
    }
  }
}

// In single precision.
template <class K>
__device__ __forceinline__ void multiply(float* shared, float* results) {
  using S = Sizes<K>;
  constexpr int PAIRS = K::TILE_CHANNELS / 16;
  const int group = threadIdx.x / 8, channel = threadIdx.x % 8 * 2;
  int positions[8];
#pragma unroll
  for (int p = 0; p < 8; ++p) positions[p] = position_offset<K>(group + 16 * p);
  float sums[8][PAIRS][2] = {};
#pragma unroll 1
  for (int c = 0; c < K::IN_CHANNELS; ++c) {
#pragma unroll 1
    for (int h = 0; h < K::KERNEL_H; ++h) {
      const float* image = shared + (c * S::IMAGE_H + h * K::DILATION_H) * S::IMAGE_PITCH;
      const float* kernel = shared + S::IMAGE + (c * K::KERNEL_H + h) * S::ROW * S::KERNEL_PITCH + channel;
#pragma unroll
      for (int w = 0; w < K::KERNEL_W; ++w) {
        float x[8];
#pragma unroll
        for (int p = 0; p < 8; ++p) x[p] = image[positions[p] + w * K::DILATION_W];
#pragma unroll
        for (int pair = 0; pair < PAIRS; ++pair) {
          const float2 k = *reinterpret_cast<const float2*>(kernel + w * S::KERNEL_PITCH + 16 * pair);
#pragma unroll
          for (int p = 0; p < 8; ++p) {
            sums[p][pair][0] = fmaf(x[p], k.x, sums[p][pair][0]);
            sums[p][pair][1] = fmaf(x[p], k.y, sums[p][pair][1]);
          }
        }
      }
    }
  }
  __syncthreads();
#pragma unroll
  for (int p = 0; p < 8; ++p) {
#pragma unroll
    for (int pair = 0; pair < PAIRS; ++pair) {
      float* to = results + (group + 16 * p) * S::RESULT_PITCH + result_offset<K>(16 * pair + channel);
      store_pair(to, sums[p][pair][0], sums[p][pair][1]);
    }
  }
}

template <class K>
__device__ void run(const float* input, const typename K::Element* kernel, const float* scale, const float* shift,
                    const typename K::Element* add, typename K::Element* output, float* sums, int batch) {
  using S = Sizes<K>;
  using E = typename K::Element;
  __shared__ alignas(16) unsigned char bytes[S::BYTES];
  E* shared = reinterpret_cast<E*>(bytes);
  float* results = reinterpret_cast<float*>(bytes);
  const int sample = blockIdx.x / (S::TILES_H * S::TILES_W), channel = blockIdx.y * K::TILE_CHANNELS;
  const int out_h = blockIdx.x / S::TILES_W % S::TILES_H * K::TILE_H, out_w = blockIdx.x % S::TILES_W * K::TILE_W;

  input += (long long)sample * K::IN_CHANNELS * (K::IN_H * K::IN_W);
  load_image<K>(shared, input, out_h * K::STRIDE_H - K::PADDING_H, out_w * K::STRIDE_W - K::PADDING_W);
  load_kernel<K>(shared + S::IMAGE, kernel + (long long)sample * K::KERNEL_STRIDE, channel);
  __syncthreads();
  multiply<K>(shared, results);
  __syncthreads();

  // A thread finishes eight channels, the same ones of several positions; some threads may be left over.
  constexpr int OCTETS = K::TILE_CHANNELS / 8, GROUPS = POSITIONS / OCTETS;
  const int octet = threadIdx.x % OCTETS, group = threadIdx.x / OCTETS, first = channel + 8 * octet;
  float totals[8] = {};
  if (group < GROUPS && first < K::OUT_PITCH) {
    for (int position = group; position < POSITIONS; position += GROUPS) {
      const int h = out_h + position / K::TILE_W, w = out_w + position % K::TILE_W;
      if (h >= K::OUT_H || w >= K::OUT_W) continue;
      const long long at = ((long long)sample * (K::OUT_H * K::OUT_W) + h * K::OUT_W + w) * K::OUT_PITCH + first;
      const float* from = results + position * S::RESULT_PITCH + 4 * octet;
      const float4 low = *reinterpret_cast<const float4*>(from);
      const float4 high = *reinterpret_cast<const float4*>(from + S::RESULT_UPPER);
      float x[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
      finish8<K>(x, first, K::OUT_CHANNELS, scale, shift, add, at);
      store8(output + at, x);
      for (int i = 0; i < 8; ++i) totals[i] += x[i];
    }
  }
  if constexpr (K::SUMS) {
    __syncthreads();
    if (group < GROUPS) {
      for (int i = 0; i < 8; ++i) results[group * K::TILE_CHANNELS + 8 * octet + i] = totals[i];
    }
    __syncthreads();
    if (threadIdx.x < K::TILE_CHANNELS && channel + threadIdx.x < K::OUT_PITCH) {
      float total = 0.0f;
      for (int g = 0; g < GROUPS; ++g) total += results[g * K::TILE_CHANNELS + threadIdx.x];
      sums[(long long)blockIdx.x * K::OUT_PITCH + channel + threadIdx.x] = total;
    }
  }
}

}  // namespace kwc::stem
