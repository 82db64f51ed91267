/*
 * Logits that lie in a GPU's memory, on a stream of this program: nothing is copied between network and engine, and
 * nothing waits for the other but by the order of the stream.
 *
 *     cc -std=c99 device_pointers.c $(pkg-config --cflags --libs sml) -ldl -o device_pointers
 *
 * The driver's few functions are looked up at run time, so that this compiles on machines without the CUDA toolkit. A
 * program with the toolkit calls cudaMalloc, cudaMemcpyAsync and so on, and gives its cudaStream_t as it is.
 */
#include <sml.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { CLASSES = 2, ROWS = 64, COLUMNS = 128, HEIGHT = 256, WIDTH = 512, PIXELS = HEIGHT * WIDTH };

/* The driver's functions by the names that its library has for them. All return 0 when they succeed. */
struct driver {
    int (*init)(unsigned flags);
    int (*retain)(void **context, int device);
    int (*release)(int device);
    int (*make_current)(void *context);
    int (*stream_create)(void **stream, unsigned flags);
    int (*stream_synchronize)(void *stream);
    int (*stream_destroy)(void *stream);
    int (*allocate)(unsigned long long *address, size_t bytes);
    int (*deallocate)(unsigned long long address);
    int (*allocate_host)(void **memory, size_t bytes, unsigned flags);
    int (*deallocate_host)(void *memory);
    int (*to_device)(unsigned long long to, const void *from, size_t bytes, void *stream);
    int (*to_host)(void *to, unsigned long long from, size_t bytes, void *stream);
};

static int load(struct driver *driver) {
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    const struct {
        const char *name;
        void *place;
    } functions[] = {
        {"cuInit", &driver->init},
        {"cuDevicePrimaryCtxRetain", &driver->retain},
        {"cuDevicePrimaryCtxRelease_v2", &driver->release},
        {"cuCtxSetCurrent", &driver->make_current},
        {"cuStreamCreate", &driver->stream_create},
        {"cuStreamSynchronize", &driver->stream_synchronize},
        {"cuStreamDestroy_v2", &driver->stream_destroy},
        {"cuMemAlloc_v2", &driver->allocate},
        {"cuMemFree_v2", &driver->deallocate},
        {"cuMemHostAlloc", &driver->allocate_host},
        {"cuMemFreeHost", &driver->deallocate_host},
        {"cuMemcpyHtoDAsync_v2", &driver->to_device},
        {"cuMemcpyDtoHAsync_v2", &driver->to_host},
    };
    if (!library) {
        fprintf(stderr, "no NVIDIA driver: %s\n", dlerror());
        return 0;
    }
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; ++i) {
        /* As POSIX has it: C knows no cast from an object's address to a function's. */
        *(void **)functions[i].place = dlsym(library, functions[i].name);
        if (!*(void **)functions[i].place) {
            fprintf(stderr, "the NVIDIA driver has no %s\n", functions[i].name);
            return 0;
        }
    }
    return 1;
}

/* What a network would leave in the GPU's memory: the first class everywhere, with a spot of low confidence. */
typedef float network_output[CLASSES][ROWS][COLUMNS];

static void network(network_output logits) {
    for (int y = 0; y < ROWS; ++y) {
        for (int x = 0; x < COLUMNS; ++x) {
            int spot = y >= 20 && y < 30 && x >= 60 && x < 75;
            logits[0][y][x] = spot ? 1.0f : 8.0f;
            logits[1][y][x] = 0.0f;
        }
    }
}

/* One frame on the GPU: logits, and memory for the result. `pinned` is host memory that copies can run from by themselves. */
struct frame {
    unsigned long long logits, score, prediction, non_finite;
    void *pinned;
};

static int allocate(const struct driver *driver, struct frame *frame) {
    return driver->allocate_host(&frame->pinned, sizeof(network_output), 0) == 0 &&
           driver->allocate(&frame->logits, sizeof(network_output)) == 0 &&
           driver->allocate(&frame->score, PIXELS * sizeof(float)) == 0 &&
           driver->allocate(&frame->prediction, PIXELS) == 0 &&
           driver->allocate(&frame->non_finite, sizeof(uint64_t)) == 0;
}

static void deallocate(const struct driver *driver, const struct frame *frame) {
    const unsigned long long addresses[] = {frame->logits, frame->score, frame->prediction, frame->non_finite};
    for (int i = 0; i < 4; ++i) {
        if (addresses[i]) driver->deallocate(addresses[i]);
    }
    if (frame->pinned) driver->deallocate_host(frame->pinned);
}

static sml_engine *make_engine(void) {
    const double mean[CLASSES] = {8.0, 6.0}, variance[CLASSES] = {4.0, 1.0};
    sml_statistics *statistics = NULL;
    sml_engine *engine = NULL;
    sml_engine_options options = {0};
    options.struct_size = sizeof options;
    options.device = "cuda:0";
    options.batch = 1;
    options.classes = CLASSES;
    options.logits_height = ROWS;
    options.logits_width = COLUMNS;
    options.height = HEIGHT;
    options.width = WIDTH;
    if (sml_statistics_from_vectors(mean, variance, NULL, CLASSES, &statistics) != SML_OK ||
        sml_engine_create(&options, NULL, statistics, &engine) != SML_OK) {
        fprintf(stderr, "engine: %s\n", sml_last_error_message());
    }
    sml_statistics_destroy(statistics);
    return engine;
}

/* Gives the engine's work to the stream, and returns before it is done. */
static sml_status submit(sml_engine *engine, const struct frame *frame, void *stream) {
    sml_logits logits = {0};
    sml_output output = {0};
    logits.struct_size = sizeof logits;
    logits.data = (const void *)(uintptr_t)frame->logits;
    logits.element_type = SML_F32;
    logits.layout = SML_NCHW;
    logits.batch = 1;
    logits.classes = CLASSES;
    logits.height = ROWS;
    logits.width = COLUMNS;
    output.struct_size = sizeof output;
    output.height = HEIGHT;
    output.width = WIDTH;
    output.score_type = SML_F32;
    output.score = (void *)(uintptr_t)frame->score;
    output.prediction = (uint8_t *)(uintptr_t)frame->prediction;
    output.non_finite = (uint64_t *)(uintptr_t)frame->non_finite;
    return sml_engine_submit_device(engine, &logits, &output, stream);
}

static int process(const struct driver *driver, sml_engine *engine, const struct frame *frame, void *stream) {
    static float score[PIXELS];
    size_t highest = 0;
    network(frame->pinned);
    int given = driver->to_device(frame->logits, frame->pinned, sizeof(network_output), stream) == 0 &&
                submit(engine, frame, stream) == SML_OK &&
                driver->to_host(score, frame->score, sizeof score, stream) == 0;
    if (driver->stream_synchronize(stream) != 0 || !given) {
        fprintf(stderr, "frame: %s\n", sml_last_error_message());
        return 0;
    }
    for (size_t pixel = 0; pixel < PIXELS; ++pixel) {
        if (score[pixel] > score[highest]) highest = pixel;
    }
    printf("most anomalous: row %lu, column %lu, score %.9g\n", (unsigned long)(highest / WIDTH),
           (unsigned long)(highest % WIDTH), (double)score[highest]);
    return 1;
}

int main(void) {
    const unsigned not_blocking = 1; /* CU_STREAM_NON_BLOCKING */
    struct driver driver;
    struct frame frame = {0, 0, 0, 0, NULL};
    void *context = NULL, *stream = NULL;
    int done = 0;
    if (!load(&driver)) return 1;
    /* The primary context: that of the CUDA runtime, of PyTorch, and of the engine. */
    if (driver.init(0) != 0 || driver.retain(&context, 0) != 0 || driver.make_current(context) != 0) {
        fprintf(stderr, "no GPU can be used\n");
        return 1;
    }
    sml_engine *engine = make_engine();
    if (engine && allocate(&driver, &frame) && driver.stream_create(&stream, not_blocking) == 0) {
        done = process(&driver, engine, &frame, stream);
    }
    /* First the engine, which waits for its work; then what the work used. */
    sml_engine_destroy(engine);
    if (stream) driver.stream_destroy(stream);
    deallocate(&driver, &frame);
    driver.release(0);
    return done ? 0 : 1;
}
