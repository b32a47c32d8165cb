// Device functions: recursion, several parameters, structures by value, divergent calls.

__device__ __noinline__ unsigned fibonacci(unsigned n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

extern "C" __global__ void recursion(unsigned* out) { out[threadIdx.x] = fibonacci(threadIdx.x % 16); }

struct Complex {
  double re, im;
};

__device__ __noinline__ Complex multiply(Complex a, Complex b, int times, short sign) {
  Complex c = a;
  for (int i = 0; i < times; ++i) {
    c = {c.re * b.re - c.im * b.im, c.re * b.im + c.im * b.re};
  }
  return {sign * c.re, sign * c.im};
}

extern "C" __global__ void structures(double* out) {
  int i = threadIdx.x;
  Complex c = multiply({1.0 + i, 2.0}, {0.5, -0.25 * i}, i % 4, i % 2 == 0 ? 1 : -1);
  out[2 * i] = c.re;
  out[2 * i + 1] = c.im;
}

__device__ __noinline__ int even(int n);
__device__ __noinline__ int odd(int n) { return n == 0 ? 0 : even(n - 1); }
__device__ __noinline__ int even(int n) { return n == 0 ? 1 : odd(n - 1); }

__device__ __noinline__ void store(int* where, int value) { *where = value; }

// Each lane calls or doesn't, to another depth; an array in local memory is passed by address.
extern "C" __global__ void divergent(int* out) {
  int i = threadIdx.x;
  int local[4] = {-1, -2, -3, -4};
  if (i % 3 != 0) {
    store(&local[i % 4], even(i));
  }
  out[i] = local[0] * 1000 + local[1] * 100 + local[2] * 10 + local[3];
}
