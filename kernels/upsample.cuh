// Upsampling inside `standardize`: a tile of logits in shared memory, and which classes can win where.
//
// A block makes a tile of the result. It widens the logits that the tile touches into shared
// memory, a thread a position, and notes each position's best class and its lead over the second.
//
// A *cell* is what lies between four neighbouring positions: all its pixels are interpolated from these corners. The
// interpolation is monotonic, rounding included, so that a class which is ahead of another at all corners by more than
// rounding can take back is ahead of it everywhere in the cell. Most cells have one class that is ahead of all others; the rest
// keep a set of candidates, and only these are interpolated. (Monotonic: a and b enter as fl(fl(a (1 - w)) + fl(b w)), twice.
// With u = 2^-24 and corners up to M each value is off by at most 4uM (1 + 4u), the difference of two by 8uM < 5e-7 M.)
//
// Shared memory: classes x positions of float32, candidates of each cell, best class, lead and magnitude of each position.

#pragma once
#include "pixel.cuh"
#include "sampling.cuh"

#ifdef SML_PRUNE
#define PRUNE SML_PRUNE
#else
#define PRUNE args.prune
#endif

// What a block keeps in dynamic shared memory, for `positions` positions of the logits.
struct Tile {
    float* logits;
    int* best;
    float* lead;
    float* magnitude;
    u32* candidates;
    int plane, words;

    __device__ inline Tile(const StandardizeArgs& args, float* memory) {
        int positions = args.source_rows * args.source_columns;
        plane = positions;
        words = (CLASSES + 31) / 32;
        logits = memory;
        lead = logits + CLASSES * plane;
        magnitude = lead + positions;
        best = reinterpret_cast<int*>(magnitude + positions);
        candidates = reinterpret_cast<u32*>(best + positions);
    }
};

// Loads one position of the logits: all its classes. Best class -1 tells that a logit is not finite.
__device__ inline void load_position(const StandardizeArgs& args, const Tile& tile, const Element* from, int position) {
    const int BATCH = 8;
    float first = 0.0f, second = 0.0f, magnitude = 0.0f, probe = 0.0f;
    int best = 0;
#ifdef SML_CLASSES
#pragma unroll
#endif
    for (int start = 0; start < CLASSES; start += BATCH) {
        Element raw[BATCH];
#pragma unroll
        for (int i = 0; i < BATCH; ++i) {
            if (start + i < CLASSES) raw[i] = from[(start + i) * args.stride_c];
        }
#pragma unroll
        for (int i = 0; i < BATCH; ++i) {
            int c = start + i;
            if (c >= CLASSES) continue;
            float v = widen(raw[i]);
            tile.logits[c * tile.plane + position] = v;
            probe = __fmaf_rn(v, 0.0f, probe);
            magnitude = fmaxf(magnitude, fabsf(v));
            bool wins = c == 0 || v > first;
            second = c == 0 ? -3.4e38f : fmaxf(second, wins ? first : v);
            best = wins ? c : best;
            first = wins ? v : first;
        }
    }
    tile.best[position] = probe == 0.0f ? best : -1;
    tile.lead[position] = first - second;
    tile.magnitude[position] = magnitude;
}

// Finds the classes that may win somewhere in the cell with these corners; none where a logit is not finite.
__device__ inline void find_candidates(const StandardizeArgs& args, const Tile& tile, int cell, const int* corners) {
    u32* candidates = tile.candidates + cell * tile.words;
    int best = tile.best[corners[0]];
    float lead = tile.lead[corners[0]], magnitude = tile.magnitude[corners[0]];
    bool same = true, finite = best >= 0;
#pragma unroll
    for (int i = 1; i < 4; ++i) {
        int other = tile.best[corners[i]];
        same = same && other == best;
        finite = finite && other >= 0;
        lead = fminf(lead, tile.lead[corners[i]]);
        magnitude = fmaxf(magnitude, tile.magnitude[corners[i]]);
    }
    float margin = 1e-6f * magnitude + 1e-37f;
    for (int word = 0; word < tile.words; ++word) {
        candidates[word] = finite && best / 32 == word ? 1u << best % 32 : 0u;
    }
    if (!finite || (same && lead > margin)) return;
    const float* winner = tile.logits + best * tile.plane;
    float ahead[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) ahead[i] = winner[corners[i]] - margin;
    for (int word = 0; word < tile.words; ++word) {
        u32 mask = 0;
        int last = min(CLASSES - 32 * word, 32);
        for (int bit = 0; bit < last; ++bit) {
            const float* plane = tile.logits + (32 * word + bit) * tile.plane;
            bool behind = true;
#pragma unroll
            for (int i = 0; i < 4; ++i) behind = behind && plane[corners[i]] < ahead[i];
            mask |= (behind ? 0u : 1u) << bit;
        }
        candidates[word] = mask;
    }
}

// One pixel of the tile, from its cell's candidates or from all classes.
template <class Value>
__device__ inline Pixel tile_pixel(const StandardizeArgs& args, const Tile& tile, int cell, Value value) {
    if (PRUNE) {
        Pixel pixel;
        pixel.prediction = -1;
        pixel.broken = false;
        float best = 0.0f;
        for (int word = 0; word < tile.words; ++word) {
            for (u32 mask = tile.candidates[cell * tile.words + word]; mask != 0; mask &= mask - 1) {
                int c = 32 * word + __ffs((int)mask) - 1;
                float v = value(c);
                if (pixel.prediction < 0 || v > best) best = v, pixel.prediction = c;
            }
        }
        if (pixel.prediction >= 0) {
            // Only scores of the winner alone are pruned, and those need no other logit.
            pixel.score = score_of(args, best, pixel.prediction, [&](int) { return best; });
            return pixel;
        }
    }
#ifdef SML_PRUNE
    return SML_PRUNE ? careful_pixel(args, value) : whole_pixel(args, value);
#else
    return careful_pixel(args, value);
#endif
}
