// Reverses the numbers of each block in place.
extern "C" __global__ void reverse(int* numbers) {
    __shared__ int tile[256];
    int thread = threadIdx.x, place = blockIdx.x * 256 + thread;
    tile[thread] = numbers[place];
#ifdef BARRIER
    __syncthreads();
#endif
    numbers[place] = tile[255 - thread];
}
