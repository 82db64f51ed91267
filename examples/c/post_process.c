/*
 * From the logits of any network, saved as .npy, to an anomaly map as .npy: the C interface on the CPU.
 *
 *     cc -std=c99 post_process.c $(pkg-config --cflags --libs sml) -o post_process
 *     ./post_process LOGITS.npy STATISTICS.json ROWS COLUMNS SCORE.npy
 *
 * LOGITS.npy holds float32 logits in C order, (classes, rows, columns) or (1, classes, rows, columns), such as numpy.save
 * writes them on a little-endian machine. ROWS and COLUMNS are those of the picture: logits are upsampled to it.
 */
#include <sml.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads the header of a .npy file up to the first element, and puts the last three dimensions into `shape`. */
static int read_npy_header(FILE *file, size_t shape[3]) {
    unsigned char start[10];
    if (fread(start, 1, sizeof start, file) != sizeof start || memcmp(start, "\x93NUMPY\x01", 7) != 0) return 0;
    size_t length = start[8] + 256u * start[9];
    char *header = calloc(length + 1, 1);
    int found = 0;
    if (header && fread(header, 1, length, file) == length && strstr(header, "'<f4'") && strstr(header, ": False")) {
        const char *place = strstr(header, "'shape': (");
        unsigned long batch = 1, c = 0, h = 0, w = 0;
        if (place && sscanf(place, "'shape': (%lu, %lu, %lu, %lu)", &batch, &c, &h, &w) == 4) {
            found = batch == 1;
        } else if (place) {
            found = sscanf(place, "'shape': (%lu, %lu, %lu)", &c, &h, &w) == 3;
        }
        shape[0] = c, shape[1] = h, shape[2] = w;
    }
    free(header);
    return found;
}

/* All logits of the file, to be freed; NULL if it is not such a file. */
static float *read_logits(const char *path, size_t shape[3]) {
    FILE *file = fopen(path, "rb");
    float *logits = NULL;
    if (file && read_npy_header(file, shape)) {
        size_t count = shape[0] * shape[1] * shape[2];
        logits = malloc(count * sizeof *logits);
        if (logits && fread(logits, sizeof *logits, count, file) != count) {
            free(logits);
            logits = NULL;
        }
    }
    if (file) fclose(file);
    return logits;
}

/* The header of version 1 is padded with spaces to 128 bytes. */
static int write_npy(const char *path, const float *map, size_t height, size_t width) {
    char shape[80], header[129];
    snprintf(shape, sizeof shape, "'shape': (%lu, %lu), }", (unsigned long)height, (unsigned long)width);
    snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, %-76s\n", shape);
    FILE *file = fopen(path, "wb");
    if (!file) return 0;
    int whole = fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, file) == 10 && fwrite(header, 1, 118, file) == 118 &&
                fwrite(map, sizeof *map, height * width, file) == height * width;
    return (fclose(file) == 0) & whole;
}

/* Whether a call failed; says so then. */
static int failed(sml_status status, const char *what) {
    if (status != SML_OK) fprintf(stderr, "%s: %s: %s\n", what, sml_status_name(status), sml_last_error_message());
    return status != SML_OK;
}

static sml_engine *make_engine(const char *statistics_file, const size_t shape[3], size_t height, size_t width) {
    sml_statistics *statistics = NULL;
    sml_engine *engine = NULL;
    sml_engine_options options = {0};
    options.struct_size = sizeof options;
    options.device = "cpu";
    options.batch = 1;
    options.classes = shape[0];
    options.logits_height = shape[1];
    options.logits_width = shape[2];
    options.height = height;
    options.width = width;
    if (!failed(sml_statistics_read(statistics_file, &statistics), "statistics")) {
        failed(sml_engine_create(&options, NULL, statistics, &engine), "engine");
    }
    sml_statistics_destroy(statistics); /* the engine has its own copy */
    return engine;
}

/* What a program does with each frame. The map lies in the engine's memory until the next one. */
static int process(sml_engine *engine, const float *frame, const size_t shape[3], size_t height, size_t width,
                   sml_anomaly_map *map) {
    sml_logits logits = {0};
    logits.struct_size = sizeof logits;
    logits.data = frame;
    logits.element_type = SML_F32;
    logits.layout = SML_NCHW;
    logits.batch = 1;
    logits.classes = shape[0];
    logits.height = shape[1];
    logits.width = shape[2];
    return !failed(sml_engine_submit(engine, &logits, height, width, map), "frame");
}

static void tell(sml_engine *engine, const sml_anomaly_map *map) {
    size_t highest = 0, warnings = 0;
    sml_stage_timings timings = {0};
    timings.struct_size = sizeof timings;
    for (size_t pixel = 0; pixel < map->height * map->width; ++pixel) {
        if (map->score[pixel] > map->score[highest]) highest = pixel;
    }
    printf("most anomalous: row %lu, column %lu, score %.9g, class %d\n", (unsigned long)(highest / map->width),
           (unsigned long)(highest % map->width), (double)map->score[highest], map->prediction[highest]);
    if (map->non_finite[0] > 0) printf("pixels with a NaN or infinite logit: %" PRIu64 "\n", map->non_finite[0]);
    sml_engine_warning_count(engine, &warnings);
    for (size_t i = 0; i < warnings; ++i) {
        const char *text;
        if (sml_engine_warning(engine, i, &text) == SML_OK) fprintf(stderr, "warning: %s\n", text);
    }
    if (!failed(sml_engine_timings(engine, &timings), "timings")) {
        fprintf(stderr, "microseconds: standardize %" PRIu64 ", suppress %" PRIu64 ", smooth %" PRIu64 "\n",
                timings.standardize / 1000, timings.suppress / 1000, timings.smooth / 1000);
    }
}

int main(int count, char **arguments) {
    if (count != 6) {
        fprintf(stderr, "usage: post_process LOGITS.npy STATISTICS.json ROWS COLUMNS SCORE.npy\n");
        return 2;
    }
    size_t height = strtoul(arguments[3], NULL, 10), width = strtoul(arguments[4], NULL, 10), shape[3] = {0};
    float *logits = read_logits(arguments[1], shape);
    if (!logits) {
        fprintf(stderr, "%s: expected float32 logits of shape (classes, rows, columns) as .npy\n", arguments[1]);
        return 1;
    }
    sml_engine *engine = make_engine(arguments[2], shape, height, width);
    sml_anomaly_map map = {0};
    map.struct_size = sizeof map;
    int done = engine && process(engine, logits, shape, height, width, &map);
    if (done) {
        tell(engine, &map);
        done = write_npy(arguments[5], map.score, height, width);
        if (!done) fprintf(stderr, "%s: cannot be written\n", arguments[5]);
    }
    sml_engine_destroy(engine);
    free(logits);
    return done ? 0 : 1;
}
