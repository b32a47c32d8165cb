// Tensor cores: asynchronous copies to shared memory, fragments from there, products.
//
// Tiles in shared memory have rows of CHUNKS chunks of eight halves (16 bytes), a power of two. `place` says where a chunk
// lies, in chunks. Its order is such that eight threads that write all chunks of one or several rows touch each bank once,
// and so do eight threads that read one chunk of eight rows one after the other, which is what `ldmatrix` does.

namespace kwc {

template <int CHUNKS>
__device__ __forceinline__ int place(int row, int chunk) {
  if constexpr (CHUNKS >= 8) {
    return row * CHUNKS + (chunk ^ (row & 7));
  } else {
    return row * CHUNKS + (chunk ^ ((row / (8 / CHUNKS)) & (CHUNKS - 1)));
  }
}

// An address in shared memory, as instructions take it.
__device__ __forceinline__ unsigned shared_address(const void* at) {
  return static_cast<unsigned>(__cvta_generic_to_shared(at));
}

// Starts to copy 16 bytes to shared memory; zeros where `inside` is false. `from` is an address even then.
__device__ __forceinline__ void copy16(unsigned to, const half* from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(__cvta_generic_to_global(from)),
               "r"(inside ? 16 : 0)
               : "memory");
}

// Ends a group of copies.
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until all but the last PENDING groups of this thread have arrived.
template <int PENDING>
__device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// Four 8x8 matrices. Lanes 8i to 8i + 7 give the addresses of the rows of matrix i; lane l gets of each the elements 2(l % 4)
// and 2(l % 4) + 1 of row l / 4.
__device__ __forceinline__ void load_matrices(unsigned (&x)[4], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(from)
               : "memory");
}

// The same with each matrix transposed.
__device__ __forceinline__ void load_transposed(unsigned (&x)[4], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(from)
               : "memory");
}

// Two 8x8 matrices. Lanes 0 to 15 give the addresses of their rows.
__device__ __forceinline__ void load_two(unsigned& x, unsigned& y, unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(x), "=r"(y) : "r"(from) : "memory");
}

// sums[16][8] += a[16][16] * b[16][8]. Lane l has of the sums rows l / 4 (first two) and l / 4 + 8, columns 2(l % 4) and
// 2(l % 4) + 1.
__device__ __forceinline__ void multiply_add(float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace kwc
