// Lanes of a warp that go different ways and meet again.

// Steps until the Collatz sequence of n reaches 1: a loop that each lane leaves at another time.
extern "C" __global__ void collatz(const unsigned* start, unsigned* steps, unsigned n) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) {
    return;
  }
  unsigned long long value = start[i];
  unsigned count = 0;
  while (value != 1) {
    if (value % 2 == 0) {
      value /= 2;
    } else {
      value = 3 * value + 1;
    }
    ++count;
  }
  steps[i] = count;
}

// Loops in loops with break and continue, whose bounds depend on the lane.
extern "C" __global__ void nested(int* out) {
  int lane = threadIdx.x;
  int sum = 0;
  for (int i = 0; i < lane; ++i) {
    if (i % 5 == 3) {
      continue;
    }
    for (int j = i; j < 40; ++j) {
      if ((i * j + lane) % 11 == 0) {
        break;
      }
      sum += i ^ j;
    }
    if (sum > 5000) {
      break;
    }
  }
  // All lanes are here again: a sum over the warp sees every one of them.
  for (int offset = 16; offset > 0; offset /= 2) {
    sum += __shfl_xor_sync(~0u, sum, offset);
  }
  out[lane] = sum;
}

// A jump table, with cases that fall through.
extern "C" __global__ void cases(const int* which, int* out) {
  int i = threadIdx.x;
  int v = 1;
  switch (which[i]) {
    case 0:
      v = i + 10;
      break;
    case 1:
      v = i * 3;
      break;
    case 2:
      v = i << 4;
      [[fallthrough]];
    case 3:
      v ^= 0x55;
      break;
    case 4:
      v = -i;
      break;
    case 5:
      v = i * i;
      break;
    case 6:
      v = 77;
      break;
    default:
      v = -1;
  }
  out[i] = v;
}
