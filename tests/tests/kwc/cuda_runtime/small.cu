// Two kernels of a network that can be worked out by hand.
//
// hidden[s][i] = a[s][i] * weight[i] + b[s][i % 2], twice[s][i] = 2 * hidden[s][i], total[s] = the sum of hidden[s].

constexpr int WIDTH = 4;

extern "C" __global__ void combine(const float* a, const float* b, const float* weight, float* hidden, int batch)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < batch * WIDTH; i += gridDim.x * blockDim.x) {
        hidden[i] = a[i] * weight[i % WIDTH] + b[i / WIDTH * 2 + i % 2];
    }
}

// Two blocks a sample, of which the second to come adds up what both have summed.
extern "C" __global__ void finish(const float* hidden, float* parts, unsigned* arrived, float* twice, float* total)
{
    extern __shared__ float values[];
    __shared__ unsigned before;
    int sample = blockIdx.y, half = blockIdx.x, lane = threadIdx.x;
    if (lane < 2) {
        int i = sample * WIDTH + half * 2 + lane;
        values[lane] = hidden[i];
        twice[i] = 2.0f * hidden[i];
    }
    __syncthreads();
    if (lane == 0) {
        parts[sample * 2 + half] = values[0] + values[1];
        __threadfence();
        before = atomicAdd(&arrived[sample], 1u);
        __threadfence();
        if (before == 1) {
            const volatile float* both = parts + sample * 2;
            total[sample] = both[0] + both[1];
            arrived[sample] = 0;
        }
    }
}
