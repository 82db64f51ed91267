// Where a pixel of the result lies between the logits' own (SPEC section 1).
#pragma once
#include "common.cuh"

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
