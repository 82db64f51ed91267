// Stage 2: iterative boundary suppression (paper section 3.3, SPEC section 4): boundaries, their dilation and all iterations
// in one launch.
//
// A block makes a tile of 32 * region_words - 2 * halo columns by tile_rows rows. Masks are bits, 32 columns a word:
//   1  predictions of the tile and its halo, and scores, are copied to shared memory;
//   2  a warp marks the boundary pixels of 32 columns while it walks down the rows, one ballot a row;
//   3  the mask of an iteration, all pixels within an L1 radius of the boundary, is an OR of smeared words: one thread makes 32
//      pixels of it. The next iteration's mask is made while this one is used;
//   4  only words with a masked pixel are visited: its lanes average the unmasked pixels of their 3x3 windows. An iteration
//      writes masked pixels and reads unmasked ones, so that it works in place with one barrier.
// Without a boundary in the tile and its halo nothing but the copy is done.
//
// Halo: an iteration looks one pixel further and the masks another `reach` + 1: rows beyond the tile are iterations (scores),
// + reach (boundary), + 1 (predictions). Columns have the same halo, rounded up to a multiple of 4.
// Bytes: 4 + 1 read (from the L2: the stage before has just written them), 4 or 2 written a pixel; the halo is read again.
//
// The official arithmetic multiplies masked pixels by 0 instead of leaving them out, which differs for NaN and infinity: they
// spread. A tile with such scores keeps a third mask of them.
#include "common.cuh"

static_assert(sizeof(SuppressArgs) == SML_ARGUMENT_BYTES, "SuppressArgs differs from its Rust twin");

#ifdef SML_WIDTH
#define WIDTH SML_WIDTH
#else
#define WIDTH args.boundary_width
#endif
#ifdef SML_ITERATIONS
#define ITERATIONS SML_ITERATIONS
#else
#define ITERATIONS args.iterations
#endif
#ifdef SML_WORDS
#define WORDS SML_WORDS
#else
#define WORDS args.region_words
#endif

// Radius of an iteration's mask.
__device__ inline int radius_of(const SuppressArgs& args, int iteration) {
    return WIDTH == 0 || iteration + 1 >= ITERATIONS ? 0 : WIDTH - WIDTH / ITERATIONS * iteration - 1;
}

// A tile with its halo: where it lies in the image and what shared memory holds of it.
struct Region {
    int left, top;                             // Image coordinates of the first column, and of the first row of scores.
    int columns, rows, reach;                  // Columns; rows of scores and masks; the largest radius.
    float* score;                              // rows x columns
    u8* prediction;                            // (rows + 2 reach + 2) x columns
    u32* boundary;                             // (rows + 2 reach) x words
    u32* masks;                                // 2 x rows x words: of even and odd iterations
    u32* broken;                               // rows x words

    // Where predictions share memory with scores, they are gone when the scores come.
    __device__ inline Region(const SuppressArgs& args, u32* memory) {
        columns = 32 * WORDS;
        rows = args.tile_rows + 2 * ITERATIONS;
        reach = radius_of(args, 0);
        score = reinterpret_cast<float*>(memory);
        boundary = memory + rows * columns;
        masks = boundary + (rows + 2 * reach) * WORDS;
        broken = masks + 2 * rows * WORDS;
        prediction = reinterpret_cast<u8*>(args.share_memory ? memory : broken + rows * WORDS);
    }

    __device__ inline u32* mask(const SuppressArgs& args, int iteration) const { return masks + iteration % 2 * rows * WORDS; }
};

// Copies predictions; beyond the image's borders those at the borders, which changes neither maximum nor minimum of a
// neighbourhood.
__device__ inline void load_predictions(const SuppressArgs& args, const Region& region, const u8* image) {
    int first = region.top - region.reach - 1, rows = region.rows + 2 * region.reach + 2;
    bool aligned = args.width % 4 == 0 && reinterpret_cast<u64>(image) % 4 == 0;
    const int words = 8 * WORDS;
    for (int i = threadIdx.x; i < rows * words; i += blockDim.x) {
        int column = i % words * 4, x = region.left + column;
        const u8* row = image + (i64)clamp(first + i / words, 0, args.height - 1) * args.width;
        u32 four;
        if (aligned && x >= 0 && x < args.width) {
            four = *reinterpret_cast<const u32*>(row + x);
        } else {
            four = 0;
            for (int part = 0; part < 4; ++part) four |= (u32)row[clamp(x + part, 0, args.width - 1)] << 8 * part;
        }
        *reinterpret_cast<u32*>(region.prediction + i / words * region.columns + column) = four;
    }
}

// Copies the scores that lie in the image. Returns whether this thread met one that is not finite.
__device__ inline bool load_scores(const SuppressArgs& args, const Region& region, const float* image) {
    const int vectors = 8 * WORDS;
    bool finite = true;
    for (int i = threadIdx.x; i < region.rows * vectors; i += blockDim.x) {
        int y = region.top + i / vectors, column = i % vectors * 4, x = region.left + column;
        if (y < 0 || y >= args.height) continue;
        const float* from = image + (i64)y * args.width + x;
        float* to = region.score + i / vectors * region.columns + column;
        if (args.width % 4 == 0 && x >= 0 && x < args.width) {
            float4 four = *reinterpret_cast<const float4*>(from);
            *reinterpret_cast<float4*>(to) = four;
            finite = finite && is_finite(four.x) && is_finite(four.y) && is_finite(four.z) && is_finite(four.w);
        } else {
            for (int part = 0; part < 4; ++part) {
                if (x + part < 0 || x + part >= args.width) continue;
                to[part] = from[part];
                finite = finite && is_finite(from[part]);
            }
        }
    }
    return !finite;
}

// Marks boundary pixels, a warp 32 columns of a run of rows. Returns whether this thread's warp found any.
__device__ inline bool mark_boundary(const SuppressArgs& args, const Region& region) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    int rows = region.rows + 2 * region.reach, runs = max(warps / WORDS, 1), length = (rows - 1) / runs + 1;
    bool found = false;
    for (int item = warp; item < runs * WORDS; item += warps) {
        int word = item % WORDS, first = item / WORDS * length, last = min(first + length, rows);
        int column = 32 * word + lane, x = region.left + column;
        int left = max(column - 1, 0), right = min(column + 1, region.columns - 1);
        // Row r of the boundary is row r + 1 of the predictions.
        const u8* row = region.prediction + first * region.columns;
        int above = row[column], above_least = min(min(above, (int)row[left]), (int)row[right]);
        row += region.columns;
        int own = row[column], own_least = min(min(own, (int)row[left]), (int)row[right]);
        int own_most = max(max(own, (int)row[left]), (int)row[right]);
        for (int r = first; r < last; ++r) {
            row += region.columns;
            int below = row[column], l = row[left], o = row[right];
            int below_least = min(min(below, l), o), below_most = max(max(below, l), o);
            int y = region.top - region.reach + r;
            bool marked = max(max(own_most, above), below) != min(min(own_least, above_least), below_least);
            if (args.border_one && own >= 2) {
                marked = marked || x == 0 || x == args.width - 1 || y == 0 || y == args.height - 1;
            }
            bool inside = x >= 0 && x < args.width && y >= 0 && y < args.height;
            u32 bits = __ballot_sync(0xffffffffu, marked && inside);
            if (lane == 0) region.boundary[r * WORDS + word] = bits;
            found = found || bits != 0;
            above = own, above_least = own_least;
            own = below, own_least = below_least, own_most = below_most;
        }
    }
    return found;
}

// Spreads the bits of `own` by up to `distance` columns to both sides, with what comes in from the words beside it.
__device__ inline u32 smear(u32 before, u32 own, u32 after, int distance) {
    u64 up = (u64)own << 32 | before, down = (u64)after << 32 | own;
    for (int covered = 0, step = 1; covered < distance; step *= 2) {
        int shift = min(step, distance - covered);
        up |= up << shift;
        down |= down >> shift;
        covered += shift;
    }
    return (u32)(up >> 32) | (u32)down;
}

// Those of the 32 columns from image column x on that lie in the image.
__device__ inline u32 columns_inside(int x, int width) {
    u32 from = x < 0 ? (x <= -32 ? 0u : 0xffffffffu << -x) : 0xffffffffu;
    int left = width - x;
    u32 to = left >= 32 ? 0xffffffffu : left <= 0 ? 0u : (1u << left) - 1u;
    return from & to;
}

// Fills the mask of an iteration: the pixels within its radius of the boundary.
__device__ inline void make_mask(const SuppressArgs& args, const Region& region, int iteration) {
    int radius = radius_of(args, iteration);
    u32* mask = region.mask(args, iteration);
    for (int i = threadIdx.x; i < region.rows * WORDS; i += blockDim.x) {
        int word = i % WORDS;
        u32 bits = 0;
        for (int dy = -radius; dy <= radius; ++dy) {
            const u32* row = region.boundary + (i / WORDS + region.reach + dy) * WORDS;
            u32 before = word > 0 ? row[word - 1] : 0, after = word + 1 < WORDS ? row[word + 1] : 0;
            bits |= smear(before, row[word], after, radius - (dy < 0 ? -dy : dy));
        }
        mask[i] = bits & columns_inside(region.left + 32 * word, args.width);
    }
}

// Marks the scores that are not finite. Only tiles that have one come here.
__device__ inline void mark_broken(const SuppressArgs& args, const Region& region) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (int i = warp; i < region.rows * WORDS; i += warps) {
        int column = 32 * (i % WORDS) + lane, x = region.left + column, y = region.top + i / WORDS;
        bool inside = x >= 0 && x < args.width && y >= 0 && y < args.height;
        u32 bits = __ballot_sync(0xffffffffu, inside && !is_finite(region.score[i / WORDS * region.columns + column]));
        if (lane == 0) region.broken[i] = bits;
    }
}

// Bits of one row of a mask at and beside this lane's column: 4 for the left neighbour, 2 for its own, 1 for the right. At the
// image's borders a pixel is its own neighbour.
__device__ inline u32 window_bits(const SuppressArgs& args, const u32* row, int word, int lane, int x) {
    u32 own = row[word], before = word > 0 ? row[word - 1] : 0, after = word + 1 < WORDS ? row[word + 1] : 0;
    u32 left = own << 1 | before >> 31, right = own >> 1 | after << 31;
    u32 o = own >> lane & 1u;
    u32 l = x == 0 ? o : left >> lane & 1u;
    u32 r = x == args.width - 1 ? o : right >> lane & 1u;
    return l << 2 | o << 1 | r;
}

// Averages the masked pixels of one word. `row` counts from the region's first row of scores.
__device__ inline void average_word(const SuppressArgs& args, const Region& region, const u32* mask, int row, int word, bool broken) {
    int lane = threadIdx.x % 32, column = 32 * word + lane, x = region.left + column, y = region.top + row;
    int rows[3] = {y > 0 ? row - 1 : row, row, y < args.height - 1 ? row + 1 : row};
    int columns[3] = {x > 0 ? max(column - 1, 0) : column, column,
        x < args.width - 1 ? min(column + 1, region.columns - 1) : column};
    u32 masked[3];
#pragma unroll
    for (int i = 0; i < 3; ++i) masked[i] = window_bits(args, mask + rows[i] * WORDS, word, lane, x);
    if (!(masked[1] & 2u)) return;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        const float* scores = region.score + rows[i] * region.columns;
#pragma unroll
        for (int j = 0; j < 3; ++j) {
            if (!(masked[i] >> (2 - j) & 1u)) sum += scores[columns[j]];
        }
    }
    if (broken) {
        u32 spread = 0;
#pragma unroll
        for (int i = 0; i < 3; ++i) {
            spread |= masked[i] & window_bits(args, region.broken + rows[i] * WORDS, word, lane, x);
        }
        if (spread) sum = not_a_number();
    }
    int count = 9 - __popc(masked[0]) - __popc(masked[1]) - __popc(masked[2]);
    if (count > 0) region.score[row * region.columns + column] = sum / (float)count;
}

// One iteration. Each lane looks at one word for masked pixels; the warp then visits those that have any.
__device__ inline void average(const SuppressArgs& args, const Region& region, int iteration, bool broken) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    // Rows that the iterations still to come will read.
    int margin = ITERATIONS - 1 - iteration;
    int first = max(ITERATIONS - margin, -region.top);
    int last = min(ITERATIONS + args.tile_rows + margin, args.height - region.top);
    const u32* mask = region.mask(args, iteration);
    for (int base = first * WORDS + warp; base < last * WORDS; base += 32 * warps) {
        int own = base + lane * warps;
        u32 visits = __ballot_sync(0xffffffffu, own < last * WORDS && mask[own] != 0);
        for (; visits != 0; visits &= visits - 1) {
            int item = base + (__ffs((int)visits) - 1) * warps;
            average_word(args, region, mask, item / WORDS, item % WORDS, broken);
        }
    }
}

// Writes the tile.
__device__ inline void store_tile(const SuppressArgs& args, const Region& region, i64 image) {
    int vectors = (region.columns - 2 * args.halo) / 4;
    bool aligned = args.width % 4 == 0 && reinterpret_cast<u64>(args.suppressed) % 16 == 0;
    for (int i = threadIdx.x; i < args.tile_rows * vectors; i += blockDim.x) {
        int row = ITERATIONS + i / vectors, column = args.halo + i % vectors * 4;
        int y = region.top + row, x = region.left + column;
        if (y >= args.height || x >= args.width) continue;
        float4 four = *reinterpret_cast<const float4*>(region.score + row * region.columns + column);
        i64 index = image + (i64)y * args.width + x;
        if (aligned && args.output != ANOMALY_F16) {
            if (args.output == ANOMALY_F32) four = make_float4(-four.x, -four.y, -four.z, -four.w);
            *reinterpret_cast<float4*>(static_cast<float*>(args.suppressed) + index) = four;
        } else {
            float parts[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
            for (int part = 0; part < 4; ++part) {
                if (x + part < args.width) store(args.suppressed, index + part, parts[part], args.output);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 4) suppress(const SuppressArgs args) {
    SML_DYNAMIC_SHARED(u32, memory);
    Region region(args, memory);
    int interior = region.columns - 2 * args.halo, across = (args.width - 1) / interior + 1;
    u32 tiles = (u32)((args.height - 1) / args.tile_rows + 1) * (u32)across;
    for (int n = blockIdx.y; n < args.batch; n += gridDim.y) {
        i64 image = (i64)n * args.height * args.width;
        for (u32 b = blockIdx.x; b < tiles; b += gridDim.x) {
            region.left = (int)(b % (u32)across) * interior - args.halo;
            region.top = (int)(b / (u32)across) * args.tile_rows - ITERATIONS;
            load_predictions(args, region, args.prediction + image);
            bool broken = !args.share_memory && load_scores(args, region, args.score + image);
            __syncthreads();
            bool found = __syncthreads_or(mark_boundary(args, region));
            if (args.share_memory) broken = load_scores(args, region, args.score + image);
            broken = __syncthreads_or(broken);
            if (found) {
                make_mask(args, region, 0);
                __syncthreads();
#pragma unroll 1
                for (int i = 0; i < ITERATIONS; ++i) {
                    if (broken) {
                        mark_broken(args, region);
                        __syncthreads();
                    }
                    average(args, region, i, broken);
                    if (i + 1 < ITERATIONS) make_mask(args, region, i + 1);
                    __syncthreads();
                }
            }
            store_tile(args, region, image);
            // The next tile overwrites what this one still reads.
            __syncthreads();
        }
    }
}
