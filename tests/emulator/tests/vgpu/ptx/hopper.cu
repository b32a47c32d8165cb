// mbarrier, bulk copies, a cluster, wgmma.
typedef unsigned u32;
extern "C" __global__ void __cluster_dims__(2, 1, 1) hopper(float* out, const float* in, unsigned long long d) {
  __shared__ __align__(128) float tile[64];
  __shared__ unsigned long long bar;
  u32 b = (u32)__cvta_generic_to_shared(&bar), t = (u32)__cvta_generic_to_shared(tile), r;
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(b));
  asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], 256;" ::"r"(b));
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], 256, [%2];" ::"r"(t), "l"(in), "r"(b) : "memory");
  asm volatile("{\n.reg .pred P;\nWAIT:\nmbarrier.try_wait.parity.shared::cta.b64 P, [%0], 0;\n@P bra DONE;\nbra WAIT;\nDONE:\n}" ::"r"(b) : "memory");
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;");
  float c[4] = {0, 0, 0, 0};
  asm volatile("wgmma.fence.sync.aligned;\n{.reg .pred p; setp.ne.b32 p, %6, 0;\nwgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0, %1, %2, %3}, %4, %5, p, 1, 1, 0, 1;}\nwgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "l"(d), "l"(d + 2), "r"(r));
  out[threadIdx.x] = tile[threadIdx.x] + r + c[0] + c[1] + c[2] + c[3];
}
