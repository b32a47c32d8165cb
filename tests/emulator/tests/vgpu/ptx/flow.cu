// Loops, a switch, an inlined function, labels and scopes of inline PTX.
__device__ __forceinline__ float halve(float x) { return x * 0.5f; }
extern "C" __global__ void flow(float* out, int k, int n) {
  float s = 0;
  for (int i = 0; i < n; i++) {
    if (i % 3 == k) continue;
    for (int j = i; j < n; j += 2) {
      s += halve(out[j]);
      if (s > 100) return;
    }
  }
  switch (k) {
    case 0: out[0] = s; break;
    case 1: out[5] = s * 2; break;
    case 2: out[k] = s / 3; break;
    case 3: out[7] = -s; break;
    default: out[9] = 1;
  }
  unsigned x = 0;
  asm volatile("{\n\t.reg .pred p;\n\t.reg .b32 t, u;\n\tmov.b32 t, 5;\n\tsetp.lt.u32 p, %1, t;\n\t@p bra DONE;\n\t"
      "{ .reg .b32 t; add.u32 t, %1, 1; mul.lo.u32 u, t, t; }\n\tsub.u32 t, t, u;\n\tDONE:\n\tmov.b32 %0, t;\n\t}"
      : "=r"(x) : "r"(k));
  asm volatile("{ .reg .b32 t; \nDONE: add.u32 t, %1, WARP_SZ; mov.b32 %0, t; }" : "=r"(x) : "r"(x));
  out[10] = x;
}
