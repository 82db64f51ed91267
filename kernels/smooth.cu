// Stage 3: dilated Gaussian smoothing (paper section 3.4, SPEC section 5), both directions in one launch.
//
// Taps lie `dilation` pixels apart, so that the rows y, y + dilation, y + 2 dilation, ... form an image of their own (a phase)
// that an ordinary small Gaussian smooths. A block takes `rows` rows of one phase and `columns` columns, and walks down:
//   - each thread keeps the last `taps` scores of its two columns in registers, so that every row is read once; their weighted
//     sum goes to a row in shared memory (two of them, used in turn: one barrier a row);
//   - from there the horizontal taps are read, and the result is written.
// The next row is on its way while one is worked on.
//
// Halo: (taps / 2) rows of the phase above and below, (taps / 2) * dilation columns on both sides; coordinates are clamped to
// the image. Bytes: 4 read (from the L2) times (1 + halo), 4 or 2 written a pixel. Sums run in the order of the taps, vertical
// first, without fused multiply-adds, as on the CPU.
//
// Without SML_TAPS (or with so many that registers cannot hold them) every tap is read again. The host sees to an even number
// of columns.
#include "common.cuh"

static_assert(sizeof(SmoothArgs) == SML_ARGUMENT_BYTES, "SmoothArgs differs from its Rust twin");

#ifdef SML_TAPS
#define TAPS SML_TAPS
#else
#define TAPS args.taps
#endif
#ifdef SML_DILATION
#define DILATION SML_DILATION
#else
#define DILATION args.dilation
#endif

// Two neighbouring columns of one row of the image, clamped to it.
struct Columns {
    int x;
    bool together;

    __device__ inline Columns(const SmoothArgs& args, int first) : x(first) {
        together = first % 2 == 0 && args.width % 2 == 0 && first >= 0 && first < args.width;
    }
    __device__ inline float2 load(const SmoothArgs& args, const float* image, int y) const {
        const float* row = image + (i64)clamp(y, 0, args.height - 1) * args.width;
        if (together) return *reinterpret_cast<const float2*>(row + x);
        return make_float2(row[clamp(x, 0, args.width - 1)], row[clamp(x + 1, 0, args.width - 1)]);
    }
};

__device__ inline void add_tap(float2& sum, float weight, float2 value, bool first) {
    sum.x = first ? weight * value.x : sum.x + weight * value.x;
    sum.y = first ? weight * value.y : sum.y + weight * value.y;
}

// The horizontal taps of two neighbouring columns; `padded` points at their first tap.
__device__ inline float2 across(const SmoothArgs& args, const float* padded) {
    float2 sum = make_float2(0.0f, 0.0f);
#ifdef SML_TAPS
#pragma unroll
#endif
    for (int tap = 0; tap < TAPS; ++tap) {
        const float* from = padded + tap * DILATION;
        float2 value = DILATION % 2 == 0 ? *reinterpret_cast<const float2*>(from) : make_float2(from[0], from[1]);
        add_tap(sum, args.weights[tap], value, tap == 0);
    }
    return sum;
}

__device__ inline void store_two(const SmoothArgs& args, i64 index, int x, float2 value, bool together) {
    if (together && args.output != ANOMALY_F16) {
        if (args.output == ANOMALY_F32) value = make_float2(-value.x, -value.y);
        *reinterpret_cast<float2*>(static_cast<float*>(args.smoothed) + index) = value;
        return;
    }
    store(args.smoothed, index, value.x, args.output);
    if (x + 1 < args.width) store(args.smoothed, index + 1, value.y, args.output);
}

extern "C" __global__ void __launch_bounds__(512) smooth(const SmoothArgs args) {
    SML_DYNAMIC_SHARED(float, memory);
    const int half = TAPS / 2, reach = half * DILATION;
    const int region = args.columns + 2 * reach;
    int phases = min(DILATION, args.height);
    int across_tiles = (args.width - 1) / args.columns + 1;
    int longest = (args.height - 1) / DILATION + 1;
    int chunks = (longest - 1) / args.rows + 1;
    u32 tiles = (u32)across_tiles * (u32)phases * (u32)chunks;
    bool aligned = args.width % 2 == 0 && reinterpret_cast<u64>(args.smoothed) % 8 == 0;
    for (int n = blockIdx.y; n < args.batch; n += gridDim.y) {
        const float* image = args.score + (i64)n * args.height * args.width;
        for (u32 b = blockIdx.x; b < tiles; b += gridDim.x) {
            u32 band = b / (u32)across_tiles;
            int left = (int)(b % (u32)across_tiles) * args.columns;
            int phase = (int)(band % (u32)phases), first = (int)(band / (u32)phases) * args.rows;
            int count = min(args.rows, (args.height - 1 - phase) / DILATION + 1 - first);
            int y = phase + first * DILATION;
#ifdef SML_TAPS
            // A thread's two columns of the region; the host gives a block as many threads as the region has pairs.
            Columns own(args, left - reach + 2 * (int)threadIdx.x);
            float2 window[TAPS];
#pragma unroll
            for (int tap = 1; tap < TAPS; ++tap) window[tap] = own.load(args, image, y + (tap - 1 - half) * DILATION);
            float2 next = own.load(args, image, y + half * DILATION);
#endif
            for (int row = 0; row < count; ++row, y += DILATION) {
                float* padded = memory + row % 2 * region;
#ifdef SML_TAPS
#pragma unroll
                for (int tap = 0; tap + 1 < TAPS; ++tap) window[tap] = window[tap + 1];
                window[TAPS - 1] = next;
                if (row + 1 < count) next = own.load(args, image, y + (half + 1) * DILATION);
                float2 sum = make_float2(0.0f, 0.0f);
#pragma unroll
                for (int tap = 0; tap < TAPS; ++tap) add_tap(sum, args.weights[tap], window[tap], tap == 0);
                *reinterpret_cast<float2*>(padded + 2 * threadIdx.x) = sum;
#else
                for (int i = 2 * threadIdx.x; i < region; i += 2 * blockDim.x) {
                    Columns own(args, left - reach + i);
                    float2 sum = make_float2(0.0f, 0.0f);
                    for (int tap = 0; tap < TAPS; ++tap) {
                        add_tap(sum, args.weights[tap], own.load(args, image, y + (tap - half) * DILATION), tap == 0);
                    }
                    *reinterpret_cast<float2*>(padded + i) = sum;
                }
#endif
                __syncthreads();
                for (int i = 2 * threadIdx.x; i < args.columns; i += 2 * blockDim.x) {
                    int x = left + i;
                    if (x >= args.width) break;
                    float2 sum = across(args, padded + i);
                    store_two(args, ((i64)n * args.height + y) * args.width + x, x, sum, aligned);
                }
            }
            // The next tile overwrites rows that this one still reads.
            __syncthreads();
        }
    }
}
