// Asynchronous copies, ldmatrix, mma, shuffles, votes, atomics, half arithmetic, special registers.
typedef unsigned u32;
extern "C" __global__ void tensor(float* out, const u32* __restrict__ in, int n) {
  __shared__ __align__(16) u32 tile[256];
  u32 at = (u32)__cvta_generic_to_shared(&tile[threadIdx.x * 4]);
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(at), "l"(in + 4), "r"(n));
  asm volatile("cp.async.ca.shared.global [%0+4], [%1-4], 4;" ::"r"(at), "l"(in + 1));
  asm volatile("cp.async.commit_group;\n\tcp.async.wait_group 0;" ::: "memory");
  __syncthreads();
  u32 a0, a1, a2, a3, b0 = in[0], b1 = in[1], h, m, l;
  float c0 = 0, c1 = 0, c2 = 0, c3 = 0;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared::cta.b16 {%0, %1, %2, %3}, [%4];" : "=r"(a0), "=r"(a1), "=r"(a2), "=r"(a3) : "r"(at));
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  asm volatile("{.reg .f16 lo, hi; mov.b32 {lo, hi}, %1; fma.rn.f16 lo, lo, hi, hi; mov.b32 %0, {lo, hi};}" : "=r"(h) : "r"(a0));
  asm volatile("{.reg .pred p, q; setp.gt.and.s32 p|q, %1, 3, !p; shfl.sync.bfly.b32 %0|p, %1, 16, 0x1f, 0xffffffff; @!q add.u32 %0, %0, 1;}" : "=r"(m) : "r"(h));
  asm volatile("mov.u32 %0, %%lanemask_lt;" : "=r"(l));
  out[threadIdx.y] = c0 + c1 + c2 + c3 + m + l + __popc(__ballot_sync(~0u, n > 3)) + clock64();
  atomicAdd(out + 9, 2.5f);
  atomicCAS((int*)out + 1, 1, 2);
  asm volatile("red.global.add.u32 [%0], 1; prefetch.global.L2 [%0];" ::"l"(out));
}
