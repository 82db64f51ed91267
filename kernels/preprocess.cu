// From a picture's bytes to a network's input, in one pass: channel order, resampling, normalisation, element type and layout.
//
// Pixels are 3 or 4 bytes, rows begin `row_stride` bytes apart, on any address. What is written is 1 x 3 x H x W, packed, planes or
// pixels (channels last), float32, float16 or bfloat16: (byte * scale - mean) / std, three operations, each rounded as on the CPU.
//
// preprocess           where the size stays. A thread takes 4 pixels of a row: 12 or 16 bytes in words where the row's address
//                      allows, 4 numbers at a time to each plane (or 12 in a row). A block of 32 x 8 threads: a tile of 8 rows
//                      and 128 columns.
// preprocess_resized   where it changes. A thread makes one pixel: the sum over the rows under it of the sums along them, in the order
//                      of the taps, which is the CPU's. First taps and weights of rows and columns come from tables. A tile of
//                      8 rows and 32 columns; its halo is what the taps reach beyond it: one pixel where the picture grows, the ratio of the sizes
//                      where it shrinks, read through the first-level cache.
//
// Bytes: 3 or 4 read a pixel of the picture, 12 or 6 written a pixel of the input. No shared memory, no barrier.
#include "common.cuh"

static_assert(sizeof(PreprocessArgs) == SML_ARGUMENT_BYTES, "PreprocessArgs differs from its Rust twin");

#ifdef SML_PIXEL_BYTES
#define PIXEL_BYTES SML_PIXEL_BYTES
#else
#define PIXEL_BYTES args.pixel_bytes
#endif
#ifdef SML_SWAPPED
#define SWAPPED SML_SWAPPED
#else
#define SWAPPED args.swapped
#endif
#ifdef SML_CHANNELS_LAST
#define CHANNELS_LAST SML_CHANNELS_LAST
#else
#define CHANNELS_LAST args.channels_last
#endif

#if SML_ELEMENT == 0
typedef float Element;
__device__ inline Element narrowed(float value) { return value; }
__device__ inline void store_vector(Element* to, float a, float b, float c, float d) {
    *reinterpret_cast<float4*>(to) = make_float4(a, b, c, d);
}
#else
typedef u16 Element;
#if SML_ELEMENT == 1
__device__ inline Element narrowed(float value) { return float_to_half(value); }
#else
__device__ inline Element narrowed(float value) { return float_to_brain(value); }
#endif
__device__ inline void store_vector(Element* to, float a, float b, float c, float d) {
    *reinterpret_cast<uint2*>(to) = make_uint2(narrowed(a) | (u32)narrowed(b) << 16, narrowed(c) | (u32)narrowed(d) << 16);
}
#endif

// `values` is a multiple of 4. Together where the address allows.
template <int values> __device__ inline void store_run(Element* to, const float (&from)[values], int count) {
    if (count == values && (u64)to % (4 * sizeof(Element)) == 0) {
#pragma unroll
        for (int i = 0; i < values; i += 4) store_vector(to + i, from[i], from[i + 1], from[i + 2], from[i + 3]);
    } else {
#pragma unroll
        for (int i = 0; i < values; ++i) {
            if (i < count) to[i] = narrowed(from[i]);
        }
    }
}

__device__ inline float normalized(const PreprocessArgs& args, int channel, float value) {
    return (value * args.scale - args.mean[channel]) / args.std[channel];
}

// The bytes of 4 pixels as words; those of pixels beyond `count` are 0.
template <int bytes> __device__ inline void load_pixels(const u8* from, int count, u32 (&words)[bytes]) {
    if (bytes == 4 && count == 4 && (u64)from % 16 == 0) {
        uint4 all = load_once(reinterpret_cast<const uint4*>(from));
        words[0] = all.x, words[1] = all.y, words[2] = all.z, words[bytes - 1] = all.w;
    } else if (count == 4 && (u64)from % 4 == 0) {
#pragma unroll
        for (int i = 0; i < bytes; ++i) words[i] = reinterpret_cast<const u32*>(from)[i];
    } else {
#pragma unroll
        for (int i = 0; i < bytes; ++i) words[i] = 0;
#pragma unroll
        for (int i = 0; i < 4 * bytes; ++i) {
            if (i < count * bytes) words[i / 4] |= (u32)from[i] << i % 4 * 8;
        }
    }
}

// Four pixels of row `y` from column `x` on.
template <int bytes> __device__ inline void four_pixels(const PreprocessArgs& args, int y, int x) {
    int count = min(4, args.width - x);
    u32 words[bytes];
    load_pixels<bytes>(args.pixels + (i64)y * args.row_stride + (i64)x * bytes, count, words);
    float values[3][4];
#pragma unroll
    for (int channel = 0; channel < 3; ++channel) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            int at = i * bytes + channel;
            values[channel][i] = normalized(args, channel, (float)(words[at / 4] >> at % 4 * 8 & 0xffu));
        }
    }
    Element* input = static_cast<Element*>(args.input);
    if (CHANNELS_LAST) {
        float run[12];
#pragma unroll
        for (int i = 0; i < 12; ++i) run[i] = SWAPPED ? values[2 - i % 3][i / 3] : values[i % 3][i / 3];
        store_run(input + ((i64)y * args.width + x) * 3, run, 3 * count);
    } else {
#pragma unroll
        for (int channel = 0; channel < 3; ++channel) {
            int plane = SWAPPED ? 2 - channel : channel;
            store_run(input + ((i64)plane * args.height + y) * args.width + x, values[channel], count);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) preprocess(const PreprocessArgs args) {
    int x = 4 * (int)(blockIdx.x * 32 + threadIdx.x);
    if (x >= args.width) return;
    for (int y = blockIdx.y * 8 + threadIdx.y; y < args.height; y += gridDim.y * 8) {
        if (PIXEL_BYTES == 3) {
            four_pixels<3>(args, y, x);
        } else {
            four_pixels<4>(args, y, x);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) preprocess_resized(const PreprocessArgs args) {
    int x = blockIdx.x * 32 + threadIdx.x;
    if (x >= args.width) return;
    const float* column_weights = args.column_weights + (i64)x * args.column_taps;
    const u8* column = args.pixels + (i64)args.column_first[x] * PIXEL_BYTES;
    Element* input = static_cast<Element*>(args.input);
    for (int y = blockIdx.y * 8 + threadIdx.y; y < args.height; y += gridDim.y * 8) {
        const float* row_weights = args.row_weights + (i64)y * args.row_taps;
        float sums[3] = {0.0f, 0.0f, 0.0f};
        for (int row = 0; row < args.row_taps; ++row) {
            const u8* from = column + (i64)(args.row_first[y] + row) * args.row_stride;
            float along[3] = {0.0f, 0.0f, 0.0f};
            for (int tap = 0; tap < args.column_taps; ++tap) {
                float weight = column_weights[tap];
#pragma unroll
                for (int channel = 0; channel < 3; ++channel) along[channel] += weight * (float)from[channel];
                from += PIXEL_BYTES;
            }
            float weight = row_weights[row];
#pragma unroll
            for (int channel = 0; channel < 3; ++channel) sums[channel] += weight * along[channel];
        }
#pragma unroll
        for (int channel = 0; channel < 3; ++channel) {
            int plane = SWAPPED ? 2 - channel : channel;
            i64 at = CHANNELS_LAST ? ((i64)y * args.width + x) * 3 + plane : ((i64)plane * args.height + y) * args.width + x;
            input[at] = narrowed(normalized(args, channel, sums[channel]));
        }
    }
}
