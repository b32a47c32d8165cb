// Numbers, vectors of eight, and functions that every family uses.
//
// NVRTC has no header for halves, so they are bits here, converted by instructions of PTX.

namespace kwc {

// IEEE binary16.
struct half {
  unsigned short bits;
};

__device__ __forceinline__ float to_float(half x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}

__device__ __forceinline__ float to_float(float x) { return x; }

// Two floats as two halves in one word, the first in the low half; rounded to nearest even.
__device__ __forceinline__ unsigned pack(float low, float high) {
  unsigned word;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}

__device__ __forceinline__ void unpack(unsigned word, float& low, float& high) {
  asm("{ .reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }" : "=f"(low), "=f"(high) : "r"(word));
}

template <class E>
__device__ __forceinline__ E from_float(float x);

template <>
__device__ __forceinline__ half from_float<half>(float x) {
  half y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}

template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}

// Eight channels: 16 bytes in half precision, 32 in single. `from` and `to` are aligned to 16 bytes.
__device__ __forceinline__ void load8(const half* from, float (&x)[8]) {
  const uint4 words = *reinterpret_cast<const uint4*>(from);
  unpack(words.x, x[0], x[1]);
  unpack(words.y, x[2], x[3]);
  unpack(words.z, x[4], x[5]);
  unpack(words.w, x[6], x[7]);
}

__device__ __forceinline__ void load8(const float* from, float (&x)[8]) {
  const float4 low = reinterpret_cast<const float4*>(from)[0];
  const float4 high = reinterpret_cast<const float4*>(from)[1];
  x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
  x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
}

// Four elements, aligned to as many bytes as they are.
__device__ __forceinline__ float4 load4(const float* from) { return *reinterpret_cast<const float4*>(from); }

__device__ __forceinline__ float4 load4(const half* from) {
  const uint2 words = *reinterpret_cast<const uint2*>(from);
  float4 x;
  unpack(words.x, x.x, x.y);
  unpack(words.y, x.z, x.w);
  return x;
}

// Stores to global memory, aligned to 16 bytes, or to 8 for four halves. PTX, because the compiler splits the store of a
// vector where it knows more of some elements than of others.
__device__ __forceinline__ void store4(float* to, const float (&x)[4]) {
  asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "f"(x[0]), "f"(x[1]),
               "f"(x[2]), "f"(x[3])
               : "memory");
}

__device__ __forceinline__ void store4(half* to, const float (&x)[4]) {
  asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "r"(pack(x[0], x[1])),
               "r"(pack(x[2], x[3]))
               : "memory");
}

__device__ __forceinline__ void store8(half* to, const float (&x)[8]) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(pack(x[0], x[1])),
               "r"(pack(x[2], x[3])), "r"(pack(x[4], x[5])), "r"(pack(x[6], x[7]))
               : "memory");
}

__device__ __forceinline__ void store8(float* to, const float (&x)[8]) {
  store4(to, {x[0], x[1], x[2], x[3]});
  store4(to + 4, {x[4], x[5], x[6], x[7]});
}

// The same to shared memory.
__device__ __forceinline__ void store8_shared(float* to, const float (&x)[8]) {
  reinterpret_cast<float4*>(to)[0] = make_float4(x[0], x[1], x[2], x[3]);
  reinterpret_cast<float4*>(to)[1] = make_float4(x[4], x[5], x[6], x[7]);
}

// Four values from shared memory in one access. Written as an assignment, NVRTC makes two of it now and then, and those
// meet in the banks.
__device__ __forceinline__ float4 load4_shared(const float* from) {
  float4 x;
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(from)))
               : "memory");
  return x;
}

// What is not a number stays so, as it does in PyTorch; fmaxf and fminf would hide it.
__device__ __forceinline__ float relu(float x) { return x < 0.0f ? 0.0f : x; }

__device__ __forceinline__ float relu6(float x) { return x > 6.0f ? 6.0f : relu(x); }

// The exact one: x * (1 + erf(x / sqrt 2)) / 2.
__device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

__device__ __forceinline__ float silu(float x) { return x / (1.0f + expf(-x)); }

__device__ __forceinline__ float hard_swish(float x) { return x * relu6(x + 3.0f) * (1.0f / 6.0f); }

// Scale, shift, addend and activation of eight channels of one position. `channel` is the first; `at` its element in the
// addend. Channels of padding become zero.
template <class K, class E>
__device__ __forceinline__ void finish8(float (&x)[8], int channel, int channels, const float* scale, const float* shift,
                                        const E* add, long long at) {
  float scales[8] = {}, shifts[8] = {}, addends[8] = {};
  if constexpr (K::SCALE) load8(scale + channel, scales);
  if constexpr (K::SHIFT) load8(shift + channel, shifts);
  if constexpr (K::ADD) load8(add + at, addends);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float y = K::finish(x[i], scales[i], shifts[i], addends[i]);
    x[i] = channel + i < channels ? y : 0.0f;
  }
}

}  // namespace kwc
