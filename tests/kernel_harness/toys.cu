// Small kernels for the tests of the execution harness: SML_FAULT chooses what is wrong with them, 0 nothing.
#ifndef SML_FAULT
#define SML_FAULT 0
#endif

struct ToyArgs {
    const float* input;
    float* output;
    int count, unused;
};

// The sum of each block's 64 inputs, as seen by each of its threads: through static and dynamic shared memory.
extern "C" __global__ void __launch_bounds__(64) block_sum(const ToyArgs args) {
    SML_HOST_SHARED float stage[64];
    float* sums = static_cast<float*>(sml_host_dynamic_shared());
    int t = (int)threadIdx.x, i = (int)(blockIdx.x * 64 + threadIdx.x);
    stage[t] = i < args.count ? args.input[i] : 0.0f;
    sums[t] = stage[t];
#if SML_FAULT != 1
    __syncthreads();
#endif
    for (int step = 1; step < 64; step *= 2) {
        float other = sums[t ^ step];
#if SML_FAULT != 2
        __syncthreads();
#endif
        sums[t] += other;
#if SML_FAULT == 3
        if (t < 32) __syncthreads();
#elif SML_FAULT == 4
        if (t < 32) __syncthreads();
        else __syncthreads();
#else
        __syncthreads();
#endif
    }
#if SML_FAULT == 5
    if (i <= args.count) args.output[i] = sums[t];
#elif SML_FAULT == 6
    if (i < args.count) args.output[i] = sums[t + 1];
#elif SML_FAULT == 7
    if (i < args.count) args.output[i] = stage[t + (sums[t] > 0.0f)];
#else
    if (i < args.count) args.output[i] = sums[t];
#endif
}

// Each warp's sum, by shuffles; then how many of its inputs are positive, and whether all lanes agree on the sum.
extern "C" __global__ void warp_sum(const ToyArgs args) {
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    float value = i < args.count ? args.input[i] : 0.0f;
    unsigned positive = __ballot_sync(0xffffffffu, value > 0.0f);
#if SML_FAULT == 8
    if (threadIdx.x % 32 == 7) return;
#endif
#if SML_FAULT == 9
    if (threadIdx.x % 32 < 16) positive |= __ballot_sync(0xffffffffu, 1);
#endif
    for (int bits = 1; bits < 32; bits *= 2) value += __shfl_xor_sync(0xffffffffu, value, bits);
    float first = __shfl_sync(0xffffffffu, value, 0);
    if (__any_sync(0xffffffffu, first != value)) value = -1.0f;
    // Halves of the warp may go their own ways.
    unsigned half = threadIdx.x % 32 < 16 ? 0xffffu : 0xffff0000u;
    if (threadIdx.x % 32 < 16) __syncwarp(half);
    int own = __popc(__match_any_sync(half, i % 4));
    int up = __shfl_up_sync(half, i, 1, 16), down = __shfl_down_sync(half, i, 1, 16);
    int edges = (up == i) + (down == i);
    if (i < args.count) args.output[i] = value + 1000.0f * (float)__popc(positive) + 0.25f * (float)(own - 4) + (float)(threadIdx.x % 16 % 15 == 0 ? edges - 1 : edges);
}

// Copies 16 bytes a thread; threads without work end before the others meet.
extern "C" __global__ void copy_quads(const ToyArgs args) {
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i * 4 >= args.count) return;
    int some = __syncthreads_or(i == 0), all = __syncthreads_and(1), count = __syncthreads_count(1);
    const float* from = args.input;
#if SML_FAULT == 10
    from += 1;
#endif
    float4 quad = *reinterpret_cast<const float4*>(from + 4 * i);
#if SML_FAULT == 11
    quad = __ldg(reinterpret_cast<const float4*>(from + 1));
#endif
    quad.w += (some == (blockIdx.x == 0) && all && count > 0) ? 0.0f : 1.0f;
    reinterpret_cast<float4*>(args.output)[i] = quad;
}

// Each block that comes last adds up what all have counted, or runs for ever.
extern "C" __global__ void last_block(const ToyArgs args) {
#if SML_FAULT == 12
    volatile int turns = 0;
    while (args.count > 0) turns = 1 - turns;
#elif SML_FAULT == 13
    int big = args.count + 0x7fffffff;
    args.output[blockIdx.x] = (float)big;
#else
    float before = atomicAdd(&args.output[0], 1.0f);
    if (before == (float)(gridDim.x - 1)) args.output[1] = before;
#endif
}
