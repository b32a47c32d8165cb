// Variables of all kinds and what they start with.
struct Mixed { int a; float f; const char* s; int* p; double d; short h[3]; };
struct __attribute__((packed)) Packed { char c; int* p; };
__device__ int numbers[4] = {1, -2, 3, 4};
__device__ int* second = &numbers[2];
__constant__ float coefficients[2][3] = {{1.5f, 2.0f, -0.25f}, {0, 1e10f, 3}};
__device__ Mixed mixed = {7, 1.5f, "hello", &numbers[1], -2.5, {1, 2, 3}};
__device__ Packed packed[2] = {{1, &numbers[1]}, {2, &numbers[2]}};
__device__ unsigned long long ones = 0xffffffffffffffffull;
__device__ double doubles[2] = {1.0, -3.5};
__device__ char text[16] = "abc";
__device__ __managed__ int managed;
extern __shared__ float dynamic[];
extern "C" __global__ void data(float* out, int n) {
  __shared__ float tile[32][33];
  float local[16];
  int t = threadIdx.x;
  tile[t][t] = coefficients[t & 1][t % 3];
  for (int i = 0; i < 16; i++) local[i] = dynamic[i * n] + i;
  __syncthreads();
  out[t] = tile[t & 31][n] + local[n & 15] + *second + mixed.s[n] + packed[1].p[0] + text[n] + ones + doubles[n] + managed;
}
