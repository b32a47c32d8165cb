// Recursion, a call through a table, aggregates by value, printf.
struct Six { float v[6]; };
__device__ int counter = 7;
__device__ __noinline__ int triple(int x) { return x * 3 + counter; }
__device__ __noinline__ int minus7(int x) { return x - 7; }
__device__ int (*table[2])(int) = {triple, minus7};
__device__ __noinline__ int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
__device__ __noinline__ Six bump(Six s, int i) { s.v[i & 3] += 1; return s; }
extern "C" __global__ void __launch_bounds__(128, 4) calls(int* out, Six s, int n) {
  Six t = bump(s, n);
  out[threadIdx.x] = table[n & 1](n) + fib(n) + (int)t.v[2];
  printf("%d\n", n);
}
