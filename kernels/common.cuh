// What every kernel shares: the structs that the host fills, element conversions, memory access with hints.
//
// Header-free: NVRTC compiles it without a toolkit. Inline PTX stands only here, each piece beside its twin for the host
// (SML_ON_HOST), where the tests run these very files. Names in capitals that begin with SML_ come from the host as -D: they
// pin fields of the arguments to constants, and all but SML_ELEMENT may be absent.
#pragma once

#ifdef SML_ON_HOST
#define SML_SHARED SML_HOST_SHARED
#define SML_DYNAMIC_SHARED(type, name) type* name = static_cast<type*>(sml_host_dynamic_shared())
#else
#define SML_SHARED __shared__
#define SML_DYNAMIC_SHARED(type, name)                               \
    extern __shared__ __align__(16) unsigned char sml_dynamic_shared[]; \
    type* name = reinterpret_cast<type*>(sml_dynamic_shared)
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

// Twins of the structs of the same names in src/cuda/plan/arguments.rs; see there for the fields.
struct StandardizeArgs {
    const void* logits;
    const float2* standardization;
    void* score;
    u8* prediction;
    u64* non_finite;
    u64* counts;
    u32* tickets;
    i64 stride_n, stride_c, stride_y, stride_x;
    int batch, classes, height, width, out_height, out_width;
    int output, score_kind, align_corners, replace;
    float replacement, temperature;
    int tile_rows, tile_columns, source_rows, source_columns, prune, padding;
};

struct SuppressArgs {
    const float* score;
    const u8* prediction;
    void* suppressed;
    int batch, height, width, output;
    int boundary_width, iterations, border_one, tile_rows, region_words, halo, share_memory, padding;
};

struct SmoothArgs {
    const float* score;
    void* smoothed;
    int batch, height, width, output;
    int taps, dilation, rows, columns;
    float weights[32];
};

struct Moments {
    u64 count;
    double mean, squared_deviations;
};

struct AccumulateArgs {
    const float* max_logit;
    const u8* prediction;
    Moments* partials;
    Moments* moments;
    i64 pixels;
    int classes, blocks;
    float sign;
    int padding;
};

struct PreprocessArgs {
    const u8* pixels;
    void* input;
    const int* row_first;
    const float* row_weights;
    const int* column_first;
    const float* column_weights;
    i64 row_stride;
    int height, width, pixel_bytes, swapped, channels_last, row_taps, column_taps;
    float scale, mean[3], std[3];
};

// Blocks and tiles of an image are counted in 32 bits: an image with more of them would not fit any memory. Everything that counts
// pixels or logits has 64.

// What a stage writes: the score for the next stage, or the anomaly score, which is its negation.
enum Output { SCORE = 0, ANOMALY_F32 = 1, ANOMALY_F16 = 2 };

__device__ inline bool is_nan(float value) { return (__float_as_uint(value) & 0x7fffffffu) > 0x7f800000u; }
__device__ inline bool is_finite(float value) { return (__float_as_uint(value) & 0x7fffffffu) < 0x7f800000u; }

__device__ inline float not_a_number() { return __uint_as_float(0x7fc00000u); }

__device__ inline int clamp(int value, int low, int high) { return min(max(value, low), high); }

// float16 as bits. Both conversions are exact or round to nearest even.
#ifndef SML_ON_HOST
__device__ inline float half_to_float(u16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}
__device__ inline u16 float_to_half(float value) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
// Two float16 in a word. 0xffff in each half where a > b; false for NaN.
__device__ inline u32 half2_greater(u32 a, u32 b) {
    u32 mask;
    asm("set.gt.u32.f16x2 %0, %1, %2;" : "=r"(mask) : "r"(a), "r"(b));
    return mask;
}
// value * 0 + sum in each half: NaN once a value is not finite, else zero.
__device__ inline u32 half2_probe(u32 value, u32 sum) {
    u32 result;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(value), "r"(0u), "r"(sum));
    return result;
}
// e^x with a relative error of about 2^-22 near 0; 0 far below; NaN for NaN.
__device__ inline float fast_exp(float x) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * 1.4426950408889634f));
    return power;
}
// Reads that come once: they leave the first-level cache to others.
__device__ inline uint4 load_once(const uint4* from) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
    return v;
}
#else
inline float half_to_float(u16 bits) {
    u32 magnitude = bits & 0x7fffu;
    float rebiased = __uint_as_float(magnitude << 13) * __uint_as_float((254u - 15u) << 23);
    u32 exponent = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
    return __uint_as_float(__float_as_uint(rebiased) | exponent | (u32)(bits & 0x8000u) << 16);
}
inline u16 float_to_half(float value) {
    u32 bits = __float_as_uint(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (u16)(sign | 0x7fffu);
    if (magnitude >= 0x477ff000u) return (u16)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) {
        // Adding this number shifts the significant bits to where float16 keeps them, rounded.
        float shifted = __uint_as_float(magnitude) + 0.5f;
        return (u16)(sign | (__float_as_uint(shifted) - 0x3f000000u));
    }
    u32 odd = magnitude >> 13 & 1u;
    return (u16)(sign | (magnitude - (112u << 23) + 0xfffu + odd) >> 13);
}
inline u32 half2_greater(u32 a, u32 b) {
    u32 low = half_to_float((u16)a) > half_to_float((u16)b) ? 0xffffu : 0u;
    u32 high = half_to_float((u16)(a >> 16)) > half_to_float((u16)(b >> 16)) ? 0xffff0000u : 0u;
    return high | low;
}
inline u32 half2_probe(u32 value, u32 sum) {
    u32 low = float_to_half(half_to_float((u16)value) * 0.0f + half_to_float((u16)sum));
    u32 high = float_to_half(half_to_float((u16)(value >> 16)) * 0.0f + half_to_float((u16)(sum >> 16)));
    return high << 16 | low;
}
inline float fast_exp(float x) { return exp2f(x * 1.4426950408889634f); }
inline uint4 load_once(const uint4* from) { return *from; }
#endif

// bfloat16 as bits, rounded to nearest even.
__device__ inline u16 float_to_brain(float value) {
    u32 bits = __float_as_uint(value);
    return is_nan(value) ? (u16)0x7fff : (u16)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// The value that leaves a stage.
__device__ inline void store(void* to, i64 index, float score, int output) {
    if (output == SCORE) {
        static_cast<float*>(to)[index] = score;
    } else if (output == ANOMALY_F32) {
        static_cast<float*>(to)[index] = -score;
    } else {
        static_cast<u16*>(to)[index] = float_to_half(-score);
    }
}
