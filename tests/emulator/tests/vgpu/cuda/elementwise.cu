// One element a thread, or several by a loop over the grid.

extern "C" __global__ void axpy(float a, const float* x, float* y, unsigned n) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    y[i] = a * x[i] + y[i];
  }
}

// Four elements an access, and fewer threads than elements.
extern "C" __global__ void scale(float factor, float4* x, unsigned n) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    float4 v = x[i];
    v.x *= factor;
    v.y *= factor;
    v.z *= factor;
    v.w *= factor;
    x[i] = v;
  }
}

// Functions that hardware approximates.
extern "C" __global__ void functions(const float* x, float* y, unsigned n) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) {
    return;
  }
  float v = x[i];
  y[i] = 1.0f / (1.0f + __expf(-v));
  y[n + i] = rsqrtf(v * v + 1.0f);
  y[2 * n + i] = __logf(v * v + 1.0f);
  y[3 * n + i] = tanhf(v);
  y[4 * n + i] = sqrtf(v * v + 0.5f) / (v * v + 2.0f);
  y[5 * n + i] = erff(v);
}

// 64-bit integers and doubles.
extern "C" __global__ void wide(const long long* a, const double* b, long long* c, double* d, unsigned n) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    c[i] = a[i] / (static_cast<long long>(i) - 7 == 0 ? 3 : static_cast<long long>(i) - 7) + __mul64hi(a[i], a[i]);
    d[i] = fma(b[i], b[i], static_cast<double>(a[i])) / 3.0;
  }
}

struct Parameters {
  float scale;
  int offsets[3];
  long long bias;
};

__constant__ float table[4] = {0.5f, 1.5f, 2.5f, 3.5f};

// A structure by value, a table in constant memory, and an array that is indexed at run time.
extern "C" __global__ void spaces(Parameters p, int* out) {
  int local[8];
  for (int i = 0; i < 8; ++i) {
    local[i] = i * i + p.offsets[i % 3];
  }
  int i = threadIdx.x;
  int picked = local[(i * 5 + p.offsets[0]) & 7];
  out[i] = picked + static_cast<int>(p.scale * table[i & 3]) + static_cast<int>(p.bias);
}
