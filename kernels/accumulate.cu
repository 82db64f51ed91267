// Calibration: count, mean and sum of squared deviations of the max logit of each predicted class (SPEC section 3).
//
// `accumulate`: a block takes chunks of 256 x 16 pixels, which stay in registers. For each class that occurs in a chunk it sums
// in float64, then sums squared deviations from that mean: two passes over registers, so that nothing is lost to cancellation.
// The chunk's moments are merged into the block's (Chan et al.), in the order of the chunks.
// `merge_moments`: a warp a class merges the blocks' moments and adds them to what was there before.
// Every sum has a fixed order: the result depends on the number of blocks and on nothing else, and repeats to the last bit.
//
// Bytes: 4 + 1 read a pixel. A max logit that is not finite is counted, in the slot behind the classes, and left out.
#include "common.cuh"

static_assert(sizeof(AccumulateArgs) == SML_ARGUMENT_BYTES, "AccumulateArgs differs from its Rust twin");

const int THREADS = 256, PIXELS = 16, WARPS = THREADS / 32;

// All that both have seen.
__device__ inline Moments merged(const Moments& a, const Moments& b) {
    if (b.count == 0) return a;
    if (a.count == 0) return b;
    Moments sum;
    double n = (double)a.count, m = (double)b.count, difference = b.mean - a.mean;
    sum.count = a.count + b.count;
    sum.mean = a.mean + difference * (m / (n + m));
    sum.squared_deviations = a.squared_deviations + b.squared_deviations + difference * difference * (n * m / (n + m));
    return sum;
}

// The sum over all threads of the block, in a fixed order, for thread 0. Begins with a barrier, so that the memory may be that of
// the sum before.
__device__ inline double block_sum(double value, double* partial) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
    __syncthreads();
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    double sum = 0.0;
    for (int warp = 0; warp < WARPS; ++warp) sum += partial[warp];
    return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS) accumulate(const AccumulateArgs args) {
    // Classes of a chunk, in turns: a slow warp may still look at those of the chunk before.
    SML_SHARED u32 found[2][8];
    SML_SHARED double partial[WARPS];
    Moments* own = args.partials + (i64)blockIdx.x * (args.classes + 1);
    for (int c = threadIdx.x; c <= args.classes; c += THREADS) own[c] = Moments{0, 0.0, 0.0};
    i64 chunks = (args.pixels - 1) / (THREADS * PIXELS) + 1;
    for (i64 chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        u32* present = found[chunk / gridDim.x % 2];
        if (threadIdx.x < 8) present[threadIdx.x] = 0;
        __syncthreads();
        float values[PIXELS];
        int classes[PIXELS];
        int left_out = 0;
#pragma unroll
        for (int i = 0; i < PIXELS; ++i) {
            i64 pixel = (chunk * PIXELS + i) * THREADS + threadIdx.x;
            classes[i] = -1;
            values[i] = 0.0f;
            if (pixel >= args.pixels) continue;
            values[i] = args.sign * args.max_logit[pixel];
            if (is_finite(values[i])) {
                classes[i] = args.prediction[pixel];
                // Most pixels find their class marked already.
                u32 bit = 1u << classes[i] % 32;
                if (!(present[classes[i] / 32] & bit)) atomicOr(&present[classes[i] / 32], bit);
            } else {
                ++left_out;
            }
        }
        double broken = block_sum((double)left_out, partial);
        if (threadIdx.x == 0) own[args.classes].count += (u64)broken;
        for (int c = 0; c < args.classes; ++c) {
            if (!(present[c / 32] >> c % 32 & 1u)) continue;
            double count = 0.0, sum = 0.0, squares = 0.0;
#pragma unroll
            for (int i = 0; i < PIXELS; ++i) {
                bool mine = classes[i] == c;
                count += mine ? 1.0 : 0.0;
                sum += mine ? (double)values[i] : 0.0;
            }
            count = block_sum(count, partial);
            double mean = block_sum(sum, partial) / count;
#pragma unroll
            for (int i = 0; i < PIXELS; ++i) {
                double deviation = (double)values[i] - mean;
                squares += classes[i] == c ? deviation * deviation : 0.0;
            }
            squares = block_sum(squares, partial);
            if (threadIdx.x == 0) own[c] = merged(own[c], Moments{(u64)count, mean, squares});
        }
    }
}

extern "C" __global__ void __launch_bounds__(32) merge_moments(const AccumulateArgs args) {
    int c = blockIdx.x, stride = args.classes + 1;
    Moments sum = {0, 0.0, 0.0};
    for (int block = threadIdx.x; block < args.blocks; block += 32) sum = merged(sum, args.partials[(i64)block * stride + c]);
    for (int step = 16; step > 0; step /= 2) {
        Moments other;
        other.count = __shfl_down_sync(0xffffffffu, sum.count, step);
        other.mean = __shfl_down_sync(0xffffffffu, sum.mean, step);
        other.squared_deviations = __shfl_down_sync(0xffffffffu, sum.squared_deviations, step);
        sum = merged(sum, other);
    }
    if (threadIdx.x == 0) args.moments[c] = merged(args.moments[c], sum);
}
