// Stage 1: upsampling, prediction and score of each pixel (paper section 3.2, SPEC sections 1, 2 and 6).
//
// Four entry points, of which the host picks one a frame; every one writes the same bits:
//   standardize           any strides, any size, one thread a pixel. The others' fallback.
//   standardize_rows      logits of the result's size in NCHW: 16 bytes a load, 4 or 8 pixels a thread.
//   standardize_pixels    logits of the result's size in NHWC: a block's pixels are staged through shared memory.
//   standardize_upsample  smaller logits in any order: a tile of them in shared memory, and most classes ruled out for whole
//                         cells of the tile.
// Bytes: each logit once (upsampling: once a tile that it touches), 4 (or 2) + 1 written a pixel.
//
// A logit that is not finite is found by a sum of products with 0, one instruction a logit; only pixels that have
// one take the branch that knows what NaN does. Nothing is contracted to fused multiply-adds: the CPU engine computes the same
// bits, but for the exponential and logarithm of msp, entropy and energy.
#include "common.cuh"

static_assert(sizeof(StandardizeArgs) == SML_STANDARDIZE_BYTES, "StandardizeArgs differs from its Rust twin");

#ifdef SML_CLASSES
#define CLASSES SML_CLASSES
#else
#define CLASSES args.classes
#endif
#ifdef SML_SCORE
#define SCORE_KIND SML_SCORE
#else
#define SCORE_KIND args.score_kind
#endif
#ifdef SML_ENTRY
#define HAS_ENTRY(number) (SML_ENTRY == number)
#else
#define HAS_ENTRY(number) 1
#endif

enum ScoreKind { MSP = 0, MAX_LOGIT = 1, SML = 2, ENTROPY = 3, ENERGY = 4 };

#if SML_ELEMENT == 0
typedef float Element;
__device__ inline float widen(Element value) { return value; }
#elif SML_ELEMENT == 1
typedef u16 Element;
__device__ inline float widen(Element bits) { return half_to_float(bits); }
#elif SML_ELEMENT == 2
typedef u16 Element;
__device__ inline float widen(Element bits) { return __uint_as_float((u32)bits << 16); }
#else
#error "SML_ELEMENT must be 0 (float32), 1 (float16) or 2 (bfloat16)"
#endif

// Pixels of a 16-byte load.
const int LANES = 16 / sizeof(Element);

// ---------------------------------------------------------------------------------------------------------------------------------
// One pixel

struct Pixel {
    float score;
    int prediction;
    bool broken;
};

// Prediction of a pixel with a logit that is not finite: the first NaN wins over all numbers, as in PyTorch. With
// replacement, the first largest of the finite ones, or 0.
template <class Value>
__device__ inline float broken_maximum(const StandardizeArgs& args, Value value, int& prediction) {
    float best = value(0);
    prediction = 0;
    bool found = is_finite(best);
    for (int c = 1; c < CLASSES; ++c) {
        float v = value(c);
        if (args.replace ? is_finite(v) && !(found && best >= v) : !is_nan(best) && (v > best || is_nan(v))) {
            best = v;
            prediction = c;
            found = true;
        }
    }
    return best;
}

// The score of the softmax family, from the maximum and all logits.
template <class Value>
__device__ inline float softmax_score(const StandardizeArgs& args, float maximum, Value value) {
    float sum = 0.0f, weighted = 0.0f;
    float inverse = SCORE_KIND == ENERGY ? 1.0f / args.temperature : 1.0f;
#ifdef SML_CLASSES
#pragma unroll
#endif
    for (int c = 0; c < CLASSES; ++c) {
        float distance = (value(c) - maximum) * inverse;
        float exponential = fast_exp(distance);
        sum += exponential;
        // A vanished class adds nothing, however far away it is.
        weighted += exponential == 0.0f ? 0.0f : exponential * distance;
    }
    if (SCORE_KIND == MSP) return 1.0f / sum;
    if (SCORE_KIND == ENERGY) return maximum + args.temperature * logf(sum);
    return CLASSES == 1 ? 0.0f : (weighted / sum - logf(sum)) / logf((float)CLASSES);
}

// Score from the maximum; `value(c)` is the pixel's logit of class c.
template <class Value>
__device__ inline float score_of(const StandardizeArgs& args, const float2* table, float maximum, int prediction, Value value) {
    if (SCORE_KIND == MAX_LOGIT) return maximum;
    if (SCORE_KIND == SML) {
        float2 moments = table[prediction];
        return (maximum - moments.x) / moments.y;
    }
    return softmax_score(args, maximum, value);
}

// What a broken pixel becomes.
template <class Value>
__device__ inline Pixel broken_pixel(const StandardizeArgs& args, const float2* table, Value value) {
    Pixel pixel;
    float maximum = broken_maximum(args, value, pixel.prediction);
    pixel.score = args.replace ? -args.replacement : score_of(args, table, maximum, pixel.prediction, value);
    pixel.broken = true;
    return pixel;
}

// A pixel whose logits `fetch(c)` gives. They are fetched once where the classes are few enough for registers.
template <class Fetch>
__device__ inline Pixel whole_pixel(const StandardizeArgs& args, const float2* table, Fetch fetch) {
#if defined(SML_CLASSES) && SML_CLASSES <= 32
    float held[CLASSES];
#pragma unroll
    for (int c = 0; c < CLASSES; ++c) held[c] = fetch(c);
    auto value = [&](int c) { return held[c]; };
#else
    auto value = fetch;
#endif
    float best = value(0), probe = best * 0.0f;
    int prediction = 0;
#ifdef SML_CLASSES
#pragma unroll
#endif
    for (int c = 1; c < CLASSES; ++c) {
        float v = value(c);
        probe = __fmaf_rn(v, 0.0f, probe);
        bool wins = v > best;
        prediction = wins ? c : prediction;
        best = wins ? v : best;
    }
    if (!(probe == 0.0f)) return broken_pixel(args, table, fetch);
    Pixel pixel;
    pixel.score = score_of(args, table, best, prediction, value);
    pixel.prediction = prediction;
    pixel.broken = false;
    return pixel;
}

// ---------------------------------------------------------------------------------------------------------------------------------
// A block's part

// The class table in shared memory: pixels of a warp look up different classes. Ends with a barrier.
__device__ inline void load_table(const StandardizeArgs& args, float2* table) {
    if (SCORE_KIND == SML) {
        for (int c = threadIdx.x; c < CLASSES; c += blockDim.x) table[c] = args.standardization[c];
    }
    __syncthreads();
}

// Adds this thread's broken pixels of image n. The last block of the image writes the sum and leaves the running counts at
// zero for the next frame. Called once by all threads of all blocks of an image.
__device__ inline void publish_broken(const StandardizeArgs& args, int n, u32 broken) {
    if (broken) {
        atomicAdd(&args.counts[n], (u64)broken);
        __threadfence();
    }
    __syncthreads();
    if (threadIdx.x == 0 && atomicAdd(&args.tickets[n], 1u) == gridDim.x - 1) {
        __threadfence();
        args.non_finite[n] = atomicExch(&args.counts[n], 0ull);
        args.tickets[n] = 0;
    }
}

// Neighbours of a position of the result along one axis of the logits, and the second's weight: as
// src/cpu/sampling.rs, exact in integers. Up to 32768 samples 32 bits hold every product, and the division of two such
// integers in float32 rounds as that in float64 does.
struct Sample {
    int first, second;
    float weight;
};

__device__ inline Sample sample(int position, int output, int input, int align_corners) {
    Sample at;
    if (output <= 32768 && input <= 32768) {
        u32 denominator = align_corners ? (u32)max(output - 1, 1) : 2u * (u32)output;
        u32 shifted = (2u * (u32)position + 1u) * (u32)input;
        u32 numerator = align_corners ? (u32)position * (u32)(input - 1) : shifted - min(shifted, (u32)output);
        u32 first = min(numerator / denominator, (u32)input - 1);
        at.first = (int)first;
        at.weight = (float)(numerator - first * denominator) / (float)denominator;
    } else {
        u64 denominator = align_corners ? (u64)max(output - 1, 1) : 2ull * (u64)output;
        u64 shifted = (2ull * (u64)position + 1ull) * (u64)input;
        u64 below = shifted < (u64)output ? shifted : (u64)output;
        u64 numerator = align_corners ? (u64)position * (u64)(input - 1) : shifted - below;
        u64 last = (u64)input - 1, quotient = numerator / denominator;
        u64 first = quotient < last ? quotient : last;
        at.first = (int)first;
        at.weight = (float)((double)(numerator - first * denominator) / (double)denominator);
    }
    at.second = min(at.first + 1, input - 1);
    return at;
}

// Between two values: three roundings, as on the CPU. Monotonic in both.
__device__ inline float between(float first, float second, float weight) { return first * (1.0f - weight) + second * weight; }

// ---------------------------------------------------------------------------------------------------------------------------------
// Any strides, any size: a thread a pixel, blocks along rows.

#if HAS_ENTRY(0)
extern "C" __global__ void __launch_bounds__(256) standardize(const StandardizeArgs args) {
    SML_SHARED float2 table[256];
    load_table(args, table);
    const Element* logits = static_cast<const Element*>(args.logits);
    bool upsampled = args.out_height != args.height || args.out_width != args.width;
    int chunks = (args.out_width - 1) / (int)blockDim.x + 1;
    i64 blocks = (i64)args.out_height * chunks;
    for (int n = blockIdx.y; n < args.batch; n += gridDim.y) {
        u32 broken = 0;
        for (i64 b = blockIdx.x; b < blocks; b += gridDim.x) {
            int y = (int)(b / chunks);
            i64 column = (b % chunks) * blockDim.x + threadIdx.x;
            if (column >= args.out_width) continue;
            int x = (int)column;
            const Element* image = logits + n * args.stride_n;
            Pixel pixel;
            if (upsampled) {
                Sample row = sample(y, args.out_height, args.height, args.align_corners);
                Sample col = sample(x, args.out_width, args.width, args.align_corners);
                const Element* upper = image + row.first * args.stride_y;
                const Element* lower = image + row.second * args.stride_y;
                i64 left = col.first * args.stride_x, right = col.second * args.stride_x;
                pixel = whole_pixel(args, table, [&](int c) {
                    i64 plane = c * args.stride_c;
                    float first = between(widen(upper[plane + left]), widen(lower[plane + left]), row.weight);
                    float second = between(widen(upper[plane + right]), widen(lower[plane + right]), row.weight);
                    return between(first, second, col.weight);
                });
            } else {
                const Element* own = image + y * args.stride_y + x * args.stride_x;
                pixel = whole_pixel(args, table, [&](int c) { return widen(own[c * args.stride_c]); });
            }
            i64 index = ((i64)n * args.out_height + y) * args.out_width + x;
            store(args.score, index, pixel.score, args.output);
            args.prediction[index] = (u8)pixel.prediction;
            broken += pixel.broken;
        }
        publish_broken(args, n, broken);
    }
}
#endif
