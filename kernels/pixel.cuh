// One pixel's prediction and score, from a function that gives its logits (SPEC sections 2 and 6), for every entry point of
// standardize.cu. Defines what is pinned there: element type, classes, score.
#pragma once
#include "common.cuh"

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

struct Pixel {
    float score;
    int prediction;
    bool broken;
};

// Writes a pixel of the result; 1 for a broken one, to be counted.
__device__ inline u32 write_pixel(const StandardizeArgs& args, i64 index, const Pixel& pixel) {
    store(args.score, index, pixel.score, args.output);
    args.prediction[index] = (u8)pixel.prediction;
    return pixel.broken;
}

// Prediction of a pixel with a logit that is not finite: the first NaN wins over all numbers, as in PyTorch. With
// replacement, the first largest of the finite ones, or 0.
template <class Value>
__device__ inline float broken_maximum(const StandardizeArgs& args, Value value, int& prediction) {
    float best = value(0);
    prediction = 0;
    bool found = is_finite(best);
#pragma unroll 1
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
#else
#pragma unroll 1
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
__device__ inline float score_of(const StandardizeArgs& args, float maximum, int prediction, Value value) {
    if (SCORE_KIND == MAX_LOGIT) return maximum;
    if (SCORE_KIND == SML) {
        // A few classes a warp: the first-level cache answers.
        float2 moments = __ldg(args.standardization + prediction);
        return (maximum - moments.x) / moments.y;
    }
    return softmax_score(args, maximum, value);
}

// Completes a pixel from its largest logit and that one's class, found without regard to NaN; `probe` is 0 if all logits are
// finite.
template <class Value>
__device__ inline Pixel finished_pixel(const StandardizeArgs& args, float maximum, int prediction, float probe, Value value) {
    Pixel pixel;
    pixel.broken = !(probe == 0.0f);
    if (pixel.broken) maximum = broken_maximum(args, value, prediction);
    pixel.prediction = prediction;
    pixel.score = pixel.broken && args.replace ? -args.replacement : score_of(args, maximum, prediction, value);
    return pixel;
}

// A pixel in a loop of few registers: for the rare ones, for the rest of a load that holds a broken one, and where the number
// of classes is no constant.
template <class Value>
__device__ inline Pixel careful_pixel(const StandardizeArgs& args, Value value) {
    float best = value(0), probe = best * 0.0f;
    int prediction = 0;
#ifdef SML_CLASSES
#pragma unroll 1
#else
#pragma unroll 4
#endif
    for (int c = 1; c < CLASSES; ++c) {
        float v = value(c);
        probe = __fmaf_rn(v, 0.0f, probe);
        if (v > best) best = v, prediction = c;
    }
    return finished_pixel(args, best, prediction, probe, value);
}

// A pixel whose logits `fetch(c)` gives. They are fetched once where the classes are few enough for registers.
template <class Fetch>
__device__ inline Pixel whole_pixel(const StandardizeArgs& args, Fetch fetch) {
#if defined(SML_CLASSES) && SML_CLASSES <= 32
    float held[CLASSES];
#pragma unroll
    for (int c = 0; c < CLASSES; ++c) held[c] = fetch(c);
    float best = held[0], probe = best * 0.0f;
    int prediction = 0;
#pragma unroll
    for (int c = 1; c < CLASSES; ++c) {
        probe = __fmaf_rn(held[c], 0.0f, probe);
        bool wins = held[c] > best;
        prediction = wins ? c : prediction;
        best = wins ? held[c] : best;
    }
    if (!(probe == 0.0f)) return finished_pixel(args, best, prediction, probe, fetch);
    return finished_pixel(args, best, prediction, 0.0f, [&](int c) { return held[c]; });
#else
    return careful_pixel(args, fetch);
#endif
}
