// A product of f16 or bf16 matrices on tensor cores, C = A B with f32 sums, as a real kernel does it: tiles arrive by
// cp.async three stages ahead, ldmatrix takes fragments from swizzled shared memory, mma.sync multiplies.
// A is m x k, B is k x n, C is m x n, all by rows; m and n are multiples of 64, k of 32. FORMAT is f16 or bf16.

constexpr int TILE = 64, DEPTH = 32, STAGES = 3;

using Half = unsigned short;

struct Stage {
  Half a[TILE][DEPTH];
  Half b[DEPTH][TILE];
};

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

__device__ unsigned shared_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

// Rows of A are 64 bytes, so two share the 32 banks; chunks of 16 bytes are permuted such that eight rows of one
// column lie in different banks.
__device__ Half* in_a(Stage& stage, int row, int chunk) { return &stage.a[row][(chunk ^ (row / 2 % 4)) * 8]; }

// Rows of B are 128 bytes: all banks.
__device__ Half* in_b(Stage& stage, int row, int chunk) { return &stage.b[row][(chunk ^ (row % 8)) * 8]; }

__device__ void copy(Half* to, const Half* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from));
}

// 128 threads bring 64 x 32 of A and 32 x 64 of B: 256 chunks each.
__device__ void fetch(Stage& stage, const Half* a, const Half* b, int n, int k, int from) {
  for (int i = threadIdx.x; i < 256; i += 128) {
    copy(in_a(stage, i / 4, i % 4), a + i / 4 * k + from + i % 4 * 8);
    copy(in_b(stage, i / 8, i % 8), b + (from + i / 8) * n + i % 8 * 8);
  }
}

extern "C" __global__ void __launch_bounds__(128) product(const Half* a, const Half* b, float* c, int n, int k) {
  __shared__ __align__(128) Stage stages[STAGES];
  a += blockIdx.y * TILE * k;
  b += blockIdx.x * TILE;
  // Four warps, each with a quarter of the tile, 32 x 32: two fragments of A by four of B.
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, top = warp / 2 * 32, left = warp % 2 * 32;
  float sum[2][4][4] = {};

  int steps = k / DEPTH;
  for (int i = 0; i < STAGES - 1; ++i) {
    if (i < steps) {
      fetch(stages[i], a, b, n, k, i * DEPTH);
    }
    asm volatile("cp.async.commit_group;");
  }
  for (int step = 0; step < steps; ++step) {
    asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2));
    __syncthreads();
    int ahead = step + STAGES - 1;
    if (ahead < steps) {
      fetch(stages[ahead % STAGES], a, b, n, k, ahead * DEPTH);
    }
    asm volatile("cp.async.commit_group;");
    Stage& stage = stages[step % STAGES];
    for (int inner = 0; inner < DEPTH; inner += 16) {
      unsigned fa[2][4], fb[2][4];
      for (int i = 0; i < 2; ++i) {
        // Four 8 x 8 matrices: rows 0-7 and 8-15 of columns 0-7, then of columns 8-15.
        const Half* p = in_a(stage, top + i * 16 + lane % 16, inner / 8 + lane / 16);
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(fa[i][0]), "=r"(fa[i][1]), "=r"(fa[i][2]), "=r"(fa[i][3])
                     : "r"(shared_address(p)));
      }
      for (int j = 0; j < 2; ++j) {
        // The same of B, transposed: two fragments of 16 x 8.
        const Half* p = in_b(stage, inner + lane % 16, left / 8 + j * 2 + lane / 16);
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(fb[j][0]), "=r"(fb[j][1]), "=r"(fb[j][2]), "=r"(fb[j][3])
                     : "r"(shared_address(p)));
      }
      for (int i = 0; i < 2; ++i) {
        for (int j = 0; j < 4; ++j) {
          float* d = sum[i][j];
          unsigned* right = &fb[j / 2][j % 2 * 2];
          asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." TEXT(FORMAT) "." TEXT(FORMAT)
                       ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                       : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                       : "r"(fa[i][0]), "r"(fa[i][1]), "r"(fa[i][2]), "r"(fa[i][3]), "r"(right[0]), "r"(right[1]));
        }
      }
    }
  }
  asm volatile("cp.async.wait_all;");

  int row = blockIdx.y * TILE + top + lane / 4, column = blockIdx.x * TILE + left + lane % 4 * 2;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      float* to = c + (row + i * 16) * n + column + j * 8;
      *reinterpret_cast<float2*>(to) = make_float2(sum[i][j][0], sum[i][j][1]);
      *reinterpret_cast<float2*>(to + 8 * n) = make_float2(sum[i][j][2], sum[i][j][3]);
    }
  }
}
