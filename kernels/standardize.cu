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
#include "pixel.cuh"
#include "sampling.cuh"
#include "upsample.cuh"

static_assert(sizeof(StandardizeArgs) == SML_ARGUMENT_BYTES, "StandardizeArgs differs from its Rust twin");

// ---------------------------------------------------------------------------------------------------------------------------------
// A block's part

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

// ---------------------------------------------------------------------------------------------------------------------------------
// Any strides, any size: a thread a pixel, blocks along rows.

#if HAS_ENTRY(0)
extern "C" __global__ void __launch_bounds__(256) standardize(const StandardizeArgs args) {
    const Element* logits = static_cast<const Element*>(args.logits);
    bool upsampled = args.out_height != args.height || args.out_width != args.width;
    int chunks = (args.out_width - 1) / (int)blockDim.x + 1;
    u32 blocks = (u32)args.out_height * (u32)chunks;
    for (int n = blockIdx.y; n < args.batch; n += gridDim.y) {
        u32 broken = 0;
        for (u32 b = blockIdx.x; b < blocks; b += gridDim.x) {
            int y = (int)(b / (u32)chunks);
            u32 column = b % (u32)chunks * blockDim.x + threadIdx.x;
            if (column >= (u32)args.out_width) continue;
            int x = (int)column;
            Sample row = {y, y, 0.0f}, col = {x, x, 0.0f};
            if (upsampled) {
                row = sample(y, args.out_height, args.height, args.align_corners);
                col = sample(x, args.out_width, args.width, args.align_corners);
            }
            const Element* upper = logits + n * args.stride_n + row.first * args.stride_y;
            const Element* lower = logits + n * args.stride_n + row.second * args.stride_y;
            i64 left = col.first * args.stride_x, right = col.second * args.stride_x;
            Pixel pixel = whole_pixel(args, [&](int c) {
                i64 plane = c * args.stride_c;
                if (!upsampled) return widen(upper[plane + left]);
                float first = between(widen(upper[plane + left]), widen(lower[plane + left]), row.weight);
                float second = between(widen(upper[plane + right]), widen(lower[plane + right]), row.weight);
                return between(first, second, col.weight);
            });
            i64 index = ((i64)n * args.out_height + y) * args.out_width + x;
            broken += write_pixel(args, index, pixel);
        }
        publish_broken(args, n, broken);
    }
}
#endif

// ---------------------------------------------------------------------------------------------------------------------------------
// NCHW at the result's size: 16-byte loads. The host has checked that addresses and strides are multiples of 16 bytes and
// that width is a multiple of LANES; rows that follow each other without gaps come as one row.

#if HAS_ENTRY(1)

// Lane `i` of a load.
__device__ inline float lane(const uint4& raw, int i) {
#if SML_ELEMENT == 0
    return __uint_as_float(i == 0 ? raw.x : i == 1 ? raw.y : i == 2 ? raw.z : raw.w);
#else
    u32 word = i < 2 ? raw.x : i < 4 ? raw.y : i < 6 ? raw.z : raw.w;
    return widen((u16)(i & 1 ? word >> 16 : word));
#endif
}

// Running maximum and class of a thread's LANES pixels.
#if SML_ELEMENT == 1
// Pairs of float16 in words, never widened: two instructions a logit.
struct Maxima {
    u32 best[4], prediction[4], probe;

    __device__ inline void start(const uint4& raw) {
        best[0] = raw.x, best[1] = raw.y, best[2] = raw.z, best[3] = raw.w;
        probe = 0;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            prediction[i] = 0;
            probe = half2_probe(best[i], probe);
        }
    }
    __device__ inline void add(int c, const uint4& raw) {
        u32 words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            u32 wins = half2_greater(words[i], best[i]);
            best[i] = (words[i] & wins) | (best[i] & ~wins);
            prediction[i] = ((u32)c * 0x10001u & wins) | (prediction[i] & ~wins);
            probe = half2_probe(words[i], probe);
        }
    }
    __device__ inline bool broken() const { return (probe & 0x7fff7fffu) != 0; }
    __device__ inline float maximum(int i) const { return half_to_float((u16)(best[i / 2] >> 16 * (i & 1))); }
    __device__ inline int winner(int i) const { return (int)(prediction[i / 2] >> 16 * (i & 1) & 0xffffu); }
};
#else
struct Maxima {
    float best[LANES], probe;
    int prediction[LANES];

    __device__ inline void start(const uint4& raw) {
        probe = 0.0f;
#pragma unroll
        for (int i = 0; i < LANES; ++i) {
            best[i] = lane(raw, i);
            prediction[i] = 0;
            probe = __fmaf_rn(best[i], 0.0f, probe);
        }
    }
    __device__ inline void add(int c, const uint4& raw) {
#pragma unroll
        for (int i = 0; i < LANES; ++i) {
            float v = lane(raw, i);
            bool wins = v > best[i];
            prediction[i] = wins ? c : prediction[i];
            best[i] = wins ? v : best[i];
            probe = __fmaf_rn(v, 0.0f, probe);
        }
    }
    __device__ inline bool broken() const { return !(probe == 0.0f); }
    __device__ inline float maximum(int i) const { return best[i]; }
    __device__ inline int winner(int i) const { return prediction[i]; }
};
#endif

// LANES neighbouring pixels of a result, in few stores.
__device__ inline void store_lanes(const StandardizeArgs& args, i64 index, const float* scores, const int* predictions) {
#pragma unroll
    for (int i = 0; i < LANES; i += 4) {
        *reinterpret_cast<u32*>(args.prediction + index + i) = (u32)predictions[i] | (u32)predictions[i + 1] << 8 |
            (u32)predictions[i + 2] << 16 | (u32)predictions[i + 3] << 24;
        if (args.output == ANOMALY_F16) {
            u32 low = (u32)float_to_half(-scores[i]) | (u32)float_to_half(-scores[i + 1]) << 16;
            u32 high = (u32)float_to_half(-scores[i + 2]) | (u32)float_to_half(-scores[i + 3]) << 16;
            *reinterpret_cast<uint2*>(static_cast<u16*>(args.score) + index + i) = make_uint2(low, high);
        } else {
            float4 four = make_float4(scores[i], scores[i + 1], scores[i + 2], scores[i + 3]);
            if (args.output == ANOMALY_F32) four = make_float4(-four.x, -four.y, -four.z, -four.w);
            *reinterpret_cast<float4*>(static_cast<float*>(args.score) + index + i) = four;
        }
    }
}

// Not for bfloat16: its widened copies would need more registers than there are.
#if defined(SML_CLASSES) && SML_CLASSES <= 32 && defined(SML_SCORE) && SML_SCORE != 1 && SML_SCORE != 2 && SML_ELEMENT != 2
#define HELD_CLASSES SML_CLASSES
#else
#define HELD_CLASSES 1
#endif
#if defined(SML_SCORE) && (SML_SCORE == 1 || SML_SCORE == 2)
#define ROWS_BLOCKS 4
#else
#define ROWS_BLOCKS 2
#endif

// Scores the LANES pixels whose first class lies at `own`; returns how many of them are broken. The softmax scores need every
// logit twice: where the classes are few they stay in registers, else each pixel is read again out of the caches.
__device__ inline u32 score_lanes(const StandardizeArgs& args, const Element* own, i64 index) {
    const int BATCH = 8;
    uint4 held[HELD_CLASSES];
    auto load = [&](int c) { return load_once(reinterpret_cast<const uint4*>(own + c * args.stride_c)); };
    Maxima maxima;
    held[0] = load(0);
    maxima.start(held[0]);
#ifdef SML_CLASSES
#pragma unroll
#endif
    for (int first = 1; first < CLASSES; first += BATCH) {
        uint4 raw[BATCH];
#pragma unroll
        for (int i = 0; i < BATCH; ++i) {
            if (first + i < CLASSES) raw[i] = load(first + i);
        }
#pragma unroll
        for (int i = 0; i < BATCH; ++i) {
            if (first + i >= CLASSES) continue;
            maxima.add(first + i, raw[i]);
#if HELD_CLASSES > 1
            held[first + i] = raw[i];
#endif
        }
    }
    const bool again = HELD_CLASSES == 1 && SCORE_KIND != MAX_LOGIT && SCORE_KIND != SML;
    if (again || maxima.broken()) {
        u32 broken = 0;
#pragma unroll 1
        for (int i = 0; i < LANES; ++i) {
            Pixel pixel = careful_pixel(args, [&](int c) { return widen(own[c * args.stride_c + i]); });
            broken += write_pixel(args, index + i, pixel);
        }
        return broken;
    }
    float scores[LANES];
    int predictions[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        auto value = [&](int c) { return lane(held[HELD_CLASSES > 1 ? c : 0], i); };
        predictions[i] = maxima.winner(i);
        scores[i] = score_of(args, maxima.maximum(i), predictions[i], value);
    }
    store_lanes(args, index, scores, predictions);
    return 0;
}

extern "C" __global__ void __launch_bounds__(256, ROWS_BLOCKS) standardize_rows(const StandardizeArgs args) {
    int vectors = args.width / LANES;
    int chunks = (vectors - 1) / (int)blockDim.x + 1;
    u32 blocks = (u32)args.height * (u32)chunks;
    for (int n = blockIdx.y; n < args.batch; n += gridDim.y) {
        u32 broken = 0;
        for (u32 b = blockIdx.x; b < blocks; b += gridDim.x) {
            int y = (int)(b / (u32)chunks);
            int vector = (int)(b % (u32)chunks * blockDim.x + threadIdx.x);
            if (vector >= vectors) continue;
            i64 x = (i64)vector * LANES;
            const Element* own = static_cast<const Element*>(args.logits) + n * args.stride_n + y * args.stride_y + x;
            broken += score_lanes(args, own, ((i64)n * args.height + y) * args.width + x);
        }
        publish_broken(args, n, broken);
    }
}
#endif

// ---------------------------------------------------------------------------------------------------------------------------------
// NHWC at the result's size, without gaps: the logits of a block's pixels are one run of memory. It is copied to shared
// memory 16 bytes a thread; then each thread reads its own pixel there. Where a pixel is an even number of words, one word of
// padding keeps the threads on different banks.

#if HAS_ENTRY(2)
extern "C" __global__ void __launch_bounds__(256) standardize_pixels(const StandardizeArgs args) {
    SML_DYNAMIC_SHARED(u32, staged);
    const int words = CLASSES * (int)sizeof(Element) / 4;
    const bool whole_words = CLASSES * sizeof(Element) % 4 == 0;
    const int padding = whole_words && words % 2 == 0 ? 1 : 0;
    const int pitch = CLASSES + padding * (int)(4 / sizeof(Element));
    Element* elements = reinterpret_cast<Element*>(staged);
    int pixels = args.height * args.width;
    int blocks = (pixels - 1) / (int)blockDim.x + 1;
    for (int n = blockIdx.y; n < args.batch; n += gridDim.y) {
        const Element* image = static_cast<const Element*>(args.logits) + n * args.stride_n;
        u32 broken = 0;
        for (int b = blockIdx.x; b < blocks; b += gridDim.x) {
            int first = b * (int)blockDim.x, count = min((int)blockDim.x, pixels - first);
            const Element* from = image + (i64)first * CLASSES;
            int length = count * CLASSES, vectors = 0;
            if (reinterpret_cast<u64>(from) % 16 == 0) {
                vectors = length / LANES;
                for (int i = threadIdx.x; i < vectors; i += blockDim.x) {
                    uint4 raw = load_once(reinterpret_cast<const uint4*>(from) + i);
                    if (padding) {
                        u32 parts[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
                        for (int part = 0; part < 4; ++part) {
                            int word = 4 * i + part;
                            staged[word + word / words] = parts[part];
                        }
                    } else {
                        reinterpret_cast<uint4*>(staged)[i] = raw;
                    }
                }
            }
            for (int i = vectors * LANES + threadIdx.x; i < length; i += blockDim.x) {
                elements[i + (padding ? i / CLASSES * (pitch - CLASSES) : 0)] = from[i];
            }
            __syncthreads();
            if ((int)threadIdx.x < count) {
                const Element* own = elements + (int)threadIdx.x * pitch;
                Pixel pixel = whole_pixel(args, [&](int c) { return widen(own[c]); });
                i64 index = (i64)n * pixels + first + threadIdx.x;
                broken += write_pixel(args, index, pixel);
            }
            __syncthreads();
        }
        publish_broken(args, n, broken);
    }
}
#endif

// ---------------------------------------------------------------------------------------------------------------------------------
// Smaller logits, in any order: a tile of the result a block (see upsample.cuh).

#if HAS_ENTRY(3)
extern "C" __global__ void __launch_bounds__(256) standardize_upsample(const StandardizeArgs args) {
    const int MOST_ROWS = 32, MOST_COLUMNS = 128;
    SML_SHARED Sample rows[MOST_ROWS];
    SML_SHARED Sample columns[MOST_COLUMNS];
    SML_DYNAMIC_SHARED(float, memory);
    Tile tile(args, memory);
    const int thread = threadIdx.x, threads = blockDim.x, lane = thread % 32;
    int across = (args.out_width - 1) / args.tile_columns + 1;
    u32 tiles = (u32)((args.out_height - 1) / args.tile_rows + 1) * (u32)across;
    for (int n = blockIdx.y; n < args.batch; n += gridDim.y) {
        const Element* image = static_cast<const Element*>(args.logits) + n * args.stride_n;
        u32 broken = 0;
        for (u32 b = blockIdx.x; b < tiles; b += gridDim.x) {
            int top = (int)(b / (u32)across) * args.tile_rows, left = (int)(b % (u32)across) * args.tile_columns;
            int height = min(args.tile_rows, args.out_height - top), width = min(args.tile_columns, args.out_width - left);
            for (int i = thread; i < height; i += threads) {
                rows[i] = sample(top + i, args.out_height, args.height, args.align_corners);
            }
            for (int i = thread; i < width; i += threads) {
                columns[i] = sample(left + i, args.out_width, args.width, args.align_corners);
            }
            __syncthreads();
            int upper = rows[0].first, source_rows = rows[height - 1].second - upper + 1;
            int outer = columns[0].first, source_columns = columns[width - 1].second - outer + 1;
            for (int i = thread; i < source_rows * source_columns; i += threads) {
                int y = upper + i / source_columns, x = outer + i % source_columns;
                load_position(args, tile, image + y * args.stride_y + x * args.stride_x, i);
            }
            __syncthreads();
            if (PRUNE) {
                for (int i = thread; i < source_rows * source_columns; i += threads) {
                    int y = i / source_columns, x = i % source_columns;
                    int below = min(y + 1, source_rows - 1) * source_columns, right = min(x + 1, source_columns - 1);
                    int corners[4] = {i, y * source_columns + right, below + x, below + right};
                    find_candidates(args, tile, i, corners);
                }
                __syncthreads();
            }
            for (int x = lane; x < width; x += 32) {
                Sample column = columns[x];
                int first = column.first - outer, second = column.second - outer;
                for (int y = thread / 32; y < height; y += threads / 32) {
                    Sample row = rows[y];
                    int above = (row.first - upper) * source_columns, below = (row.second - upper) * source_columns;
                    Pixel pixel = tile_pixel(args, tile, above + first, [&](int c) {
                        const float* plane = tile.logits + c * tile.plane;
                        return between(between(plane[above + first], plane[below + first], row.weight),
                            between(plane[above + second], plane[below + second], row.weight), column.weight);
                    });
                    i64 index = ((i64)n * args.out_height + top + y) * args.out_width + left + x;
                    broken += write_pixel(args, index, pixel);
                }
            }
            __syncthreads();
        }
        publish_broken(args, n, broken);
    }
}
#endif
