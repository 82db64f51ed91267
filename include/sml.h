/*
 * Standardized Max Logits: from the logits of a segmentation network to a map of what it has never learned.
 *
 * Made by cbindgen out of src/c_interface: change it there, then `make header`.
 *
 * An engine is made once, for a device, parameters, class statistics and the largest batch that will come. Then each
 * batch of logits is given to it, in host memory (sml_engine_submit, sml_engine_submit_into) or in a GPU's
 * (sml_engine_submit_device). Giving a batch allocates nothing. A finder makes obstacles out of anomaly maps.
 *
 * Results    Functions that can fail return an sml_status: SML_OK, which is 0, or an SML_ERROR_ code. What was
 *            wrong, as a line for a person: sml_last_error_message. After a failure handles are as before, and
 *            places for results hold NULL, 0 or NaN. No exception or panic leaves the library.
 * Handles    Pointers to sml_engine, sml_params, sml_statistics and sml_obstacle_finder are names, not addresses. One
 *            that is NULL, destroyed or of another kind is SML_ERROR_INVALID_HANDLE. Destroy every one that was
 *            made; the order does not matter.
 * Threads    Every function may be called from every thread, and handles go from thread to thread freely. An
 *            engine (or finder) serves one call at a time: a second one from another thread is SML_ERROR_BUSY, at
 *            once. Different engines serve different threads at the same time. Messages are of the thread that failed.
 *            A child of fork() must not use the library when its parent has. Once loaded, the library stays: dlclose
 *            does not unload it.
 * Memory     Pointers are borrowed for the duration of a call, unless a function says otherwise; nothing that is
 *            given is freed. What a function points the caller to belongs to the handle, and ends with it.
 * Versions   Structures begin with their size: set struct_size to sizeof of the structure, and every field that
 *            is not used to 0 (`sml_logits logits = {0};`). So programs run with later releases of the library,
 *            and with earlier ones as long as they use nothing that is newer. sml_version tells the release.
 */


#ifndef SML_H
#define SML_H

#include <stddef.h>
#include <stdint.h>

/**
 * Major number of the release that this header belongs to.
 */
#define SML_VERSION_MAJOR 0

/**
 * Minor number of the release that this header belongs to.
 */
#define SML_VERSION_MINOR 1

/**
 * Patch number of the release that this header belongs to.
 */
#define SML_VERSION_PATCH 0

/**
 * An engine on one device: it takes batches of logits and gives anomaly maps.
 */
typedef struct sml_engine sml_engine;

/**
 * Finds obstacles in one anomaly map after the other, and follows them: 8-connected components of pixels whose score
 * reaches a threshold.
 */
typedef struct sml_obstacle_finder sml_obstacle_finder;

/**
 * Parameters of the method. New ones are those of the paper; each function changes one, and leaves it when it fails.
 */
typedef struct sml_params sml_params;

/**
 * Class statistics: mean and variance of the max logit of each predicted class, measured on normal images.
 */
typedef struct sml_statistics sml_statistics;

/**
 * What a function came to: SML_OK, or one of the SML_ERROR_ codes. Codes keep their numbers; later releases may add some.
 */
typedef int32_t sml_status;

/**
 * What a predicted class without statistics is standardized with.
 */
typedef int32_t sml_missing_statistics;

/**
 * Where an engine runs, and the largest batch that will come: each dimension of a batch may be anything up to it.
 */
typedef struct sml_engine_options {
    /**
     * sizeof(sml_engine_options).
     */
    size_t struct_size;
    /**
     * "cpu", or "cuda:N" for the GPU of that ordinal; NULL for "cpu".
     */
    const char *device;
    /**
     * Images.
     */
    size_t batch;
    /**
     * Classes, 1 to 255.
     */
    size_t classes;
    /**
     * Rows of the logits, before any upsampling.
     */
    size_t logits_height;
    /**
     * Columns of the logits.
     */
    size_t logits_width;
    /**
     * Rows of the result.
     */
    size_t height;
    /**
     * Columns of the result.
     */
    size_t width;
    /**
     * Threads of its own on the CPU; 0 for those that all engines of the process share, one for each processor.
     */
    size_t threads;
    /**
     * On a GPU: 1 to give each frame to the stream as one CUDA graph, 0 for one launch a kernel. Results are the same.
     */
    int32_t cuda_graph;
    /**
     * 0.
     */
    int32_t reserved;
} sml_engine_options;

/**
 * Time that the stages of a batch took, in nanoseconds.
 */
typedef struct sml_stage_timings {
    /**
     * sizeof(sml_stage_timings), set by the caller. The library sets the others.
     */
    size_t struct_size;
    /**
     * Upsampling, prediction and score.
     */
    uint64_t standardize;
    /**
     * Boundary suppression.
     */
    uint64_t suppress;
    /**
     * Smoothing.
     */
    uint64_t smooth;
} sml_stage_timings;

/**
 * Type of an element.
 */
typedef int32_t sml_element_type;

/**
 * Order of logits in memory.
 */
typedef int32_t sml_layout;

/**
 * A batch of logits in host or device memory. They are read where they lie and never copied.
 */
typedef struct sml_logits {
    /**
     * sizeof(sml_logits).
     */
    size_t struct_size;
    /**
     * The first logit, in the memory of the engine's device, at a multiple of its size.
     */
    const void *data;
    /**
     * SML_F32, SML_F16 or SML_BF16.
     */
    sml_element_type element_type;
    /**
     * SML_NCHW, SML_NHWC or SML_STRIDED.
     */
    sml_layout layout;
    /**
     * N: images.
     */
    size_t batch;
    /**
     * C: classes, 1 to 255.
     */
    size_t classes;
    /**
     * H: rows of the logits themselves, before any upsampling.
     */
    size_t height;
    /**
     * W: columns of the logits themselves.
     */
    size_t width;
    /**
     * With SML_STRIDED: elements from one image, class, row, column to the next. Otherwise not looked at.
     */
    size_t strides[4];
} sml_logits;

/**
 * The result of a batch in the engine's own memory: valid until the next call with this engine that submits, or destroys it.
 */
typedef struct sml_anomaly_map {
    /**
     * sizeof(sml_anomaly_map), set by the caller. The library sets the others.
     */
    size_t struct_size;
    /**
     * N: images.
     */
    size_t batch;
    /**
     * Rows.
     */
    size_t height;
    /**
     * Columns.
     */
    size_t width;
    /**
     * N x `height` x `width` anomaly scores, packed: higher is more anomalous.
     */
    const float *score;
    /**
     * N x `height` x `width` predicted classes, packed.
     */
    const uint8_t *prediction;
    /**
     * For each of the N images, the number of its pixels with a NaN or infinite logit.
     */
    const uint64_t *non_finite;
} sml_anomaly_map;

/**
 * Memory of the caller's for the result of a batch: N images of `height` x `width` pixels, packed one behind the other. It
 * overlaps neither the logits nor itself.
 */
typedef struct sml_output {
    /**
     * sizeof(sml_output).
     */
    size_t struct_size;
    /**
     * Rows of the result.
     */
    size_t height;
    /**
     * Columns of the result.
     */
    size_t width;
    /**
     * SML_F32, or SML_F16: the float32 result, rounded.
     */
    sml_element_type score_type;
    /**
     * 0.
     */
    int32_t reserved;
    /**
     * N x `height` x `width` anomaly scores: higher is more anomalous.
     */
    void *score;
    /**
     * N x `height` x `width` predicted classes.
     */
    uint8_t *prediction;
    /**
     * For each of the N images, the number of its pixels with a NaN or infinite logit.
     */
    uint64_t *non_finite;
} sml_output;

/**
 * What counts as an obstacle, and how large the maps are.
 */
typedef struct sml_obstacle_options {
    /**
     * sizeof(sml_obstacle_options).
     */
    size_t struct_size;
    /**
     * Rows of the maps.
     */
    size_t height;
    /**
     * Columns of the maps.
     */
    size_t width;
    /**
     * Anomaly score from which on a pixel belongs to an obstacle: a finite number.
     */
    float threshold;
    /**
     * 0.
     */
    int32_t reserved;
    /**
     * Pixels that an obstacle has at least; 0 for 50.
     */
    size_t minimum_area;
    /**
     * Predicted classes that can be driven on, with Cityscapes 0 the road and 1 the pavement: obstacles are looked for on
     * them and in their holes. NULL for the whole picture.
     */
    const uint8_t *drivable_classes;
    /**
     * Number of these classes.
     */
    size_t drivable_count;
    /**
     * Rows and columns that the drivable area reaches further, in pixels.
     */
    size_t drivable_margin;
} sml_obstacle_options;

/**
 * An unexpected object.
 */
typedef struct sml_obstacle {
    /**
     * sizeof(sml_obstacle), set by the caller. The library sets the others.
     */
    size_t struct_size;
    /**
     * The same from frame to frame as long as the object overlaps itself; from 1 on, never used again for another.
     */
    uint64_t id;
    /**
     * First column of the smallest rectangle around its pixels.
     */
    uint32_t left;
    /**
     * First row of the rectangle.
     */
    uint32_t top;
    /**
     * Columns of the rectangle.
     */
    uint32_t width;
    /**
     * Rows of the rectangle.
     */
    uint32_t height;
    /**
     * Number of its pixels.
     */
    uint32_t area;
    /**
     * Mean anomaly score of its pixels.
     */
    float mean_score;
    /**
     * Highest anomaly score of its pixels.
     */
    float max_score;
    /**
     * Mean column of its pixels; whole numbers are pixel centres.
     */
    float centroid_column;
    /**
     * Mean row of its pixels.
     */
    float centroid_row;
    /**
     * The class predicted along most of its outline; -1 where it fills the picture.
     */
    int32_t surrounding_class;
} sml_obstacle;

/**
 * All went well.
 */
#define SML_OK 0

/**
 * An argument is NULL, not aligned, not UTF-8, not a known constant, or overlaps another.
 */
#define SML_ERROR_INVALID_ARGUMENT 1

/**
 * A handle is NULL, of another kind, or was destroyed.
 */
#define SML_ERROR_INVALID_HANDLE 2

/**
 * Another thread is in a call on the same engine. Nothing was done.
 */
#define SML_ERROR_BUSY 3

/**
 * A parameter of the method is out of its range.
 */
#define SML_ERROR_INVALID_PARAMETER 4

/**
 * Logits, outputs and engine do not fit each other.
 */
#define SML_ERROR_SHAPE 5

/**
 * Class statistics are missing, contradict themselves or do not fit the logits.
 */
#define SML_ERROR_STATISTICS 6

/**
 * The operating system refused to read a file.
 */
#define SML_ERROR_IO 7

/**
 * A file does not hold what it should.
 */
#define SML_ERROR_FILE 8

/**
 * The device cannot be used, or is not the one that the engine runs on.
 */
#define SML_ERROR_DEVICE 9

/**
 * The CUDA driver or its compiler refused something.
 */
#define SML_ERROR_CUDA 10

/**
 * The GPU has not enough free memory.
 */
#define SML_ERROR_DEVICE_MEMORY 11

/**
 * Work on the GPU failed earlier: nothing of this process on that GPU can be used any more.
 */
#define SML_ERROR_POISONED 12

/**
 * This library was built without the feature, or is older than the header that the program was compiled with.
 */
#define SML_ERROR_UNSUPPORTED 13

/**
 * There is nothing to tell yet: stages that were not timed.
 */
#define SML_ERROR_NOT_MEASURED 14

/**
 * A defect of this library, caught. The handle that was in use can only be destroyed.
 */
#define SML_ERROR_PANIC 15

/**
 * Mean and variance over all pixels of all classes; the engine has a warning then. The default.
 */
#define SML_MISSING_POOLED 0

/**
 * Engines are not made; the message names the classes.
 */
#define SML_MISSING_ERROR 1

/**
 * Scores become NaN or infinite, as the published code's do.
 */
#define SML_MISSING_PROPAGATE 2

/**
 * IEEE 754 single precision, 4 bytes.
 */
#define SML_F32 0

/**
 * IEEE 754 half precision, 2 bytes.
 */
#define SML_F16 1

/**
 * bfloat16, 2 bytes. Logits only.
 */
#define SML_BF16 2

/**
 * Packed: image, class, row, column. PyTorch's default.
 */
#define SML_NCHW 0

/**
 * Packed: image, row, column, class. PyTorch's channels_last.
 */
#define SML_NHWC 1

/**
 * Wherever `strides` says.
 */
#define SML_STRIDED 2

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Release of the library that is loaded, such as "0.1.0". The text is constant.
 */
const char *sml_version(void);

/**
 * Text of the latest failure on the calling thread, one line of UTF-8: what was given, what was expected, what to do. Empty
 * before the first one, never NULL. Calls that succeed leave it alone. The text is valid until the next failure on this
 * thread, or the end of the thread.
 */
const char *sml_last_error_message(void);

/**
 * Name of a status, such as "SML_ERROR_SHAPE"; "unknown status" for other numbers. The text is constant.
 */
const char *sml_status_name(sml_status status);

/**
 * The paper's parameters. `*params`: the new handle, NULL after a failure.
 *
 * # Safety
 * `params` may be written to.
 */
sml_status sml_params_create(struct sml_params **params);

/**
 * Parameters from JSON text: {"score": "sml", "suppression": {"width": 4, "iterations": 4}, ...}. What is left out is the
 * paper's; a name that is not known is an error.
 *
 * # Safety
 * `json` is UTF-8 text that ends with a NUL; `params` may be written to.
 */
sml_status sml_params_from_json(const char *json,
                                struct sml_params **params);

/**
 * The score: "sml", "max_logit", "msp", "entropy", "energy" or "energy:TEMPERATURE". Only "sml" needs statistics.
 *
 * # Safety
 * `score` is UTF-8 text that ends with a NUL.
 */
sml_status sml_params_set_score(struct sml_params *params,
                                const char *score);

/**
 * Boundary suppression: width in pixels (0 to 32), and the number of iterations, a divisor of it. 0 iterations switch it off.
 */
sml_status sml_params_set_suppression(struct sml_params *params,
                                      uint8_t width,
                                      uint8_t iterations);

/**
 * Smoothing: taps in each direction (odd, 1 to 31), standard deviation in taps, distance of taps in pixels (1 to 64). 0 taps
 * switch it off.
 */
sml_status sml_params_set_smoothing(struct sml_params *params,
                                    uint8_t taps,
                                    float sigma,
                                    uint8_t dilation);

/**
 * Whether (1) or not (0) the upsampling maps corner pixels onto corner pixels: as the network's own does. Off by default.
 */
sml_status sml_params_set_align_corners(struct sml_params *params,
                                        int32_t on);

/**
 * Whether (1) or not (0) pixels on the frame of the image count as boundary where their class is 2 or more, as in the
 * published code. Off by default.
 */
sml_status sml_params_set_border_labels(struct sml_params *params,
                                        int32_t on);

/**
 * What a predicted class without statistics is standardized with: one of the SML_MISSING_ constants.
 */
sml_status sml_params_set_missing_statistics(struct sml_params *params, sml_missing_statistics policy);

/**
 * The anomaly score of a pixel with a NaN or infinite logit: a finite number. NaN restores the default, in which such
 * logits go through the arithmetic and spoil the pixels around.
 */
sml_status sml_params_set_non_finite(struct sml_params *params,
                                     float score);

/**
 * Ends the parameters. Engines that were made with them keep their own copy. NULL is allowed.
 */
sml_status sml_params_destroy(struct sml_params *params);

/**
 * Reads statistics from a JSON file, as `sml calibrate` and `sml stats` write them.
 *
 * `path`: bytes as the system takes them, with a NUL behind. `*statistics`: the new handle, NULL after a failure.
 *
 * # Safety
 * `path` ends with a NUL; `statistics` may be written to.
 */
sml_status sml_statistics_read(const char *path,
                               struct sml_statistics **statistics);

/**
 * Statistics from JSON text: {"mean": [...], "variance": [...]}, one number a class, null for a class without data.
 *
 * # Safety
 * `json` is UTF-8 text that ends with a NUL; `statistics` may be written to.
 */
sml_status sml_statistics_from_json(const char *json,
                                    struct sml_statistics **statistics);

/**
 * Statistics from numbers, one a class in the order of the classes: mean and (unbiased) variance of the max logit, and the
 * number of pixels measured, which may be NULL when it is not known. NaN marks a class without data.
 *
 * # Safety
 * `mean`, `variance` and `count` (unless NULL) point to `classes` numbers; `statistics` may be written to.
 */
sml_status sml_statistics_from_vectors(const double *mean,
                                       const double *variance,
                                       const uint64_t *count,
                                       size_t classes,
                                       struct sml_statistics **statistics);

/**
 * Number of classes.
 *
 * # Safety
 * `classes` may be written to.
 */
sml_status sml_statistics_classes(const struct sml_statistics *statistics, size_t *classes);

/**
 * Ends the statistics. Engines that were made with them keep their own copy. NULL is allowed.
 */
sml_status sml_statistics_destroy(struct sml_statistics *statistics);

/**
 * Makes an engine. Does all that takes long: memory is allocated, and on a GPU kernels are loaded.
 *
 * `params`: NULL for the paper's. `statistics`: NULL where the score needs none. Both are copied. `*engine`: the new
 * handle, NULL after a failure. Not to be called while a stream of its GPU is being captured into a graph.
 *
 * # Safety
 * `options` points to a structure as long as it says, and its text ends with a NUL; `engine` may be written to.
 */
sml_status sml_engine_create(const struct sml_engine_options *options,
                             const struct sml_params *params,
                             const struct sml_statistics *statistics,
                             struct sml_engine **engine);

/**
 * Ends an engine and frees its memory, results in it included. Waits for its work on a GPU. NULL is allowed.
 * SML_ERROR_BUSY, and nothing is done, while another thread is in a call on it.
 */
sml_status sml_engine_destroy(struct sml_engine *engine);

/**
 * Number of things that making the engine found and a person should know.
 *
 * # Safety
 * `count` may be written to.
 */
sml_status sml_engine_warning_count(const struct sml_engine *engine, size_t *count);

/**
 * One of them, counted from 0: a line of UTF-8, valid until the engine is destroyed.
 *
 * # Safety
 * `text` may be written to.
 */
sml_status sml_engine_warning(const struct sml_engine *engine, size_t index, const char **text);

/**
 * Waits until the engine's latest batch is complete. On the CPU it is when it was submitted.
 */
sml_status sml_engine_synchronize(struct sml_engine *engine);

/**
 * Times the stages of each batch from now on (1), or ceases to (0). On the CPU they always are timed; on a GPU it costs an event a
 * stage, and graphs are not used meanwhile.
 */
sml_status sml_engine_profile(struct sml_engine *engine,
                              int32_t on);

/**
 * Time that the stages of the latest batch took. Waits for that batch. SML_ERROR_NOT_MEASURED on a GPU before
 * sml_engine_profile and a batch behind it. On the CPU the stages run side by side, and the batch's time is divided among them by what
 * the threads spent in each.
 *
 * # Safety
 * `timings` points to a structure as long as it says, which may be written to.
 */
sml_status sml_engine_timings(struct sml_engine *engine,
                              struct sml_stage_timings *timings);

/**
 * A CUDA stream (`CUstream`, `cudaStream_t`) that lives as long as the engine and does not wait for the default stream. NULL
 * for an engine on the CPU.
 *
 * # Safety
 * `stream` may be written to.
 */
sml_status sml_engine_stream(const struct sml_engine *engine,
                             void **stream);

/**
 * Bytes of device memory that the engine keeps; 0 on the CPU.
 *
 * # Safety
 * `bytes` may be written to.
 */
sml_status sml_engine_device_bytes(const struct sml_engine *engine, size_t *bytes);

/**
 * Turns a batch of logits in host memory into anomaly maps of `height` x `width`, upsampling them where they are smaller. The
 * result lies in the engine's memory, where `map` then points; after a failure it points nowhere. Complete when it returns.
 * For engines on the CPU.
 *
 * # Safety
 * `logits` and `map` point to structures as long as they say. All memory from the first to the last logit can be read, and
 * nobody writes to it during the call; `map` may be written to.
 */
sml_status sml_engine_submit(struct sml_engine *engine,
                             const struct sml_logits *logits,
                             size_t height,
                             size_t width,
                             struct sml_anomaly_map *map);

/**
 * As sml_engine_submit, with the result in the caller's memory. Complete when it returns. For engines on the CPU.
 *
 * # Safety
 * As for sml_engine_submit; `output` points to a structure as long as it says, its memory may be written to, is as large as
 * it says, and nobody else uses it during the call.
 */
sml_status sml_engine_submit_into(struct sml_engine *engine,
                                  const struct sml_logits *logits,
                                  const struct sml_output *output);

/**
 * Turns a batch of logits in a GPU's memory into anomaly maps there. Nothing is copied and nothing waited for: the work is
 * given to `stream`, behind what that was given before, and behind this engine's earlier batches on whatever stream. For
 * engines on a GPU.
 *
 * `stream`: a `CUstream` or `cudaStream_t` of the GPU's primary context (the runtime's is that); NULL for the legacy default
 * stream. A stream that is being captured takes the launches into its graph; whoever replays that keeps the engine, and
 * lets neither two replays nor a replay and another batch of this engine run at the same time.
 *
 * # Safety
 * `logits` and `output` point to structures as long as they say; these may change as soon as this returns. Their addresses
 * are of the engine's GPU, or ones that it can use, and as large as they say until the work is complete; nobody writes to the
 * logits or uses the output meanwhile. `stream` is alive.
 */
sml_status sml_engine_submit_device(struct sml_engine *engine,
                                    const struct sml_logits *logits,
                                    const struct sml_output *output,
                                    void *stream);

/**
 * Makes a finder, and allocates all that it will need. `*finder`: the new handle, NULL after a failure.
 *
 * # Safety
 * `options` points to a structure as long as it says, whose `drivable_classes` are NULL or as many as it says; `finder` may be
 * written to.
 */
sml_status sml_obstacle_finder_create(const struct sml_obstacle_options *options,
                                      struct sml_obstacle_finder **finder);

/**
 * Finds the obstacles of one image, and gives those that overlap one of the image before its id. `*count`: how many there
 * are, 0 after a failure; sml_obstacle_finder_get tells of each. Allocates nothing.
 *
 * # Safety
 * `score` and `prediction` point to as many pixels as the finder was made for, packed, which nobody writes to during the
 * call; `count` may be written to.
 */
sml_status sml_obstacle_finder_find(struct sml_obstacle_finder *finder,
                                    const float *score,
                                    const uint8_t *prediction,
                                    size_t *count);

/**
 * One of the obstacles of the latest image, counted from 0, most anomalous first: by maximum score, of equal ones by area,
 * then by their first pixels.
 *
 * # Safety
 * `obstacle` points to a structure as long as it says, which may be written to.
 */
sml_status sml_obstacle_finder_get(const struct sml_obstacle_finder *finder,
                                   size_t index,
                                   struct sml_obstacle *obstacle);

/**
 * Forgets the latest image, where another scene begins: all obstacles of the next one get new ids.
 */
sml_status sml_obstacle_finder_forget(struct sml_obstacle_finder *finder);

/**
 * Ends a finder. NULL is allowed.
 */
sml_status sml_obstacle_finder_destroy(struct sml_obstacle_finder *finder);

/**
 * The threshold at which the fraction `rate` (0 to 1) of normal pixels is reported wrongly, out of a calibration that
 * measured thresholds with these parameters (NULL for the paper's). `*threshold` is NaN after a failure.
 *
 * # Safety
 * `threshold` may be written to.
 */
sml_status sml_statistics_threshold_at_fpr(const struct sml_statistics *statistics,
                                           const struct sml_params *params,
                                           double rate,
                                           float *threshold);

/**
 * The threshold at which the fraction `rate` (0 to 1) of unexpected pixels is found, as sml_statistics_threshold_at_fpr.
 *
 * # Safety
 * `threshold` may be written to.
 */
sml_status sml_statistics_threshold_at_tpr(const struct sml_statistics *statistics,
                                           const struct sml_params *params,
                                           double rate,
                                           float *threshold);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SML_H */
