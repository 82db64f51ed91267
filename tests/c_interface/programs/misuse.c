/* Everything that a caller may get wrong is an error code with a message, and harms nothing. */
#include <sml.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int wrong = 0;

static void expect(sml_status expected, sml_status status, int line, const char *call) {
    const char *message = sml_last_error_message();
    if (status != expected || (status != SML_OK && message[0] == '\0') || strchr(message, '\n')) {
        printf("line %d: %s is %s, expected %s: %s\n", line, call, sml_status_name(status), sml_status_name(expected),
               message);
        wrong = 1;
    }
}
#define EXPECT(expected, call) expect(expected, call, __LINE__, #call)

enum { C = 3, H = 4, W = 6, HEIGHT = 8, WIDTH = 12, PIXELS = HEIGHT * WIDTH };

static float frame[C * H * W];
static union { float f32[PIXELS + C * H * W]; char bytes[1]; } score;
static uint8_t prediction[PIXELS];
static uint64_t non_finite[2];

static sml_engine_options options_of(const char *device) {
    sml_engine_options options = {0};
    options.struct_size = sizeof options;
    options.device = device;
    options.batch = 1;
    options.classes = C;
    options.logits_height = H;
    options.logits_width = W;
    options.height = HEIGHT;
    options.width = WIDTH;
    return options;
}

static sml_logits logits(void) {
    sml_logits logits = {0};
    logits.struct_size = sizeof logits;
    logits.data = frame;
    logits.batch = 1;
    logits.classes = C;
    logits.height = H;
    logits.width = W;
    return logits;
}

static sml_output output(void) {
    sml_output output = {0};
    output.struct_size = sizeof output;
    output.height = HEIGHT;
    output.width = WIDTH;
    output.score = score.f32;
    output.prediction = prediction;
    output.non_finite = non_finite;
    return output;
}

static void statistics_and_parameters(void) {
    const double mean[] = {1, 2}, variance[] = {1, -1}, positive[] = {1, 1};
    sml_statistics *statistics = (sml_statistics *)&wrong;
    sml_params *params = NULL;
    size_t classes = 7;
    EXPECT(SML_ERROR_IO, sml_statistics_read("/nowhere/statistics.json", &statistics));
    if (statistics != NULL) wrong = 1;
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_statistics_read(NULL, &statistics));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_statistics_read("statistics.json", NULL));
    EXPECT(SML_ERROR_FILE, sml_statistics_read("/dev/null", &statistics));
    EXPECT(SML_ERROR_STATISTICS, sml_statistics_from_json("{", &statistics));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_statistics_from_json("\xff", &statistics));
    EXPECT(SML_ERROR_STATISTICS, sml_statistics_from_vectors(mean, variance, NULL, 2, &statistics));
    EXPECT(SML_ERROR_STATISTICS, sml_statistics_from_vectors(mean, positive, NULL, 0, &statistics));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_statistics_from_vectors(NULL, positive, NULL, 2, &statistics));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_statistics_from_vectors(mean, positive, NULL, SIZE_MAX / 4, &statistics));
    EXPECT(SML_ERROR_INVALID_HANDLE, sml_statistics_classes(NULL, &classes));
    EXPECT(SML_ERROR_INVALID_HANDLE, sml_statistics_classes((sml_statistics *)mean, &classes));
    EXPECT(SML_OK, sml_statistics_destroy(NULL));

    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_params_create(NULL));
    EXPECT(SML_ERROR_INVALID_HANDLE, sml_params_set_score(NULL, "sml"));
    EXPECT(SML_ERROR_INVALID_PARAMETER, sml_params_from_json("{\"scores\": \"sml\"}", &params));
    EXPECT(SML_OK, sml_params_from_json("{\"score\": \"energy:2\"}", &params));
    EXPECT(SML_ERROR_INVALID_PARAMETER, sml_params_set_score(params, "sum"));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_params_set_score(params, NULL));
    EXPECT(SML_ERROR_INVALID_PARAMETER, sml_params_set_suppression(params, 4, 3));
    EXPECT(SML_ERROR_INVALID_PARAMETER, sml_params_set_smoothing(params, 2, 1.0f, 1));
    EXPECT(SML_ERROR_INVALID_PARAMETER, sml_params_set_smoothing(params, 7, (float)NAN, 1));
    EXPECT(SML_ERROR_INVALID_PARAMETER, sml_params_set_non_finite(params, (float)INFINITY));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_params_set_missing_statistics(params, 3));
    EXPECT(SML_ERROR_INVALID_HANDLE, sml_statistics_classes((sml_statistics *)params, &classes));
    EXPECT(SML_OK, sml_params_destroy(params));
    EXPECT(SML_ERROR_INVALID_HANDLE, sml_params_destroy(params));
    EXPECT(SML_ERROR_INVALID_HANDLE, sml_params_set_score(params, "sml"));
}

static void engines(void) {
    sml_engine *engine = (sml_engine *)&wrong;
    sml_engine_options options = options_of("cpu");
    sml_statistics *statistics = NULL;
    EXPECT(SML_ERROR_STATISTICS, sml_engine_create(&options, NULL, NULL, &engine));
    if (engine != NULL) wrong = 1;
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_engine_create(NULL, NULL, NULL, &engine));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_engine_create(&options, NULL, NULL, NULL));
    options.struct_size = 0;
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_engine_create(&options, NULL, NULL, &engine));
    options = options_of("cpu");
    EXPECT(SML_ERROR_INVALID_HANDLE, sml_engine_create(&options, (sml_params *)frame, NULL, &engine));
    EXPECT(SML_ERROR_INVALID_HANDLE, sml_engine_create(&options, NULL, (sml_statistics *)frame, &engine));
    EXPECT(SML_OK, sml_statistics_from_json("{\"mean\": [1, 2], \"variance\": [1, 1]}", &statistics));
    EXPECT(SML_ERROR_STATISTICS, sml_engine_create(&options, NULL, statistics, &engine));
    EXPECT(SML_OK, sml_statistics_destroy(statistics));
    EXPECT(SML_ERROR_INVALID_HANDLE, sml_engine_create(&options, NULL, statistics, &engine));
    options.cuda_graph = 1;
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_engine_create(&options, NULL, NULL, &engine));
    options.cuda_graph = 0, options.reserved = 1;
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_engine_create(&options, NULL, NULL, &engine));
    options = options_of("gpu");
    EXPECT(SML_ERROR_INVALID_PARAMETER, sml_engine_create(&options, NULL, NULL, &engine));
    options = options_of("auto");
    EXPECT(SML_ERROR_DEVICE, sml_engine_create(&options, NULL, NULL, &engine));
    EXPECT(SML_ERROR_INVALID_HANDLE, sml_engine_synchronize(NULL));
    EXPECT(SML_ERROR_INVALID_HANDLE, sml_engine_destroy((sml_engine *)frame));
}

static void capacities(const sml_params *params) {
    sml_engine *engine = NULL;
    sml_engine_options options = options_of(NULL);
    options.classes = 256;
    EXPECT(SML_ERROR_SHAPE, sml_engine_create(&options, params, NULL, &engine));
    options = options_of(NULL);
    options.height = 0;
    EXPECT(SML_ERROR_SHAPE, sml_engine_create(&options, params, NULL, &engine));
    options.height = options.width = (size_t)1 << 30;
    EXPECT(SML_ERROR_SHAPE, sml_engine_create(&options, params, NULL, &engine));
    options.height = SIZE_MAX;
    EXPECT(SML_ERROR_SHAPE, sml_engine_create(&options, params, NULL, &engine));
    options = options_of("cuda:99");
    sml_status status = sml_engine_create(&options, params, NULL, &engine);
    if (status != SML_ERROR_UNSUPPORTED && status != SML_ERROR_DEVICE) EXPECT(SML_ERROR_DEVICE, status);
}

/* A good structure with changes in it, made in the variable `one`. */
#define WITH(structure, ...) (one = structure(), one.__VA_ARGS__, &one)

static void wrong_logits(sml_engine *engine) {
    sml_logits one;
    sml_anomaly_map map = {0};
    map.struct_size = sizeof map;
#define SUBMIT(...) sml_engine_submit(engine, WITH(logits, __VA_ARGS__), HEIGHT, WIDTH, &map)
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_engine_submit(engine, NULL, HEIGHT, WIDTH, &map));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, SUBMIT(struct_size = 8));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, SUBMIT(data = NULL));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, SUBMIT(data = (char *)frame + 2));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, SUBMIT(element_type = 3));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, SUBMIT(layout = -1));
    EXPECT(SML_ERROR_SHAPE, SUBMIT(batch = 0));
    EXPECT(SML_ERROR_SHAPE, SUBMIT(batch = 2));
    EXPECT(SML_ERROR_SHAPE, SUBMIT(classes = 4));
    EXPECT(SML_ERROR_SHAPE, SUBMIT(height = SIZE_MAX));
    EXPECT(SML_ERROR_SHAPE, SUBMIT(width = W + 1));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, SUBMIT(layout = SML_STRIDED, one.strides[2] = (size_t)-6));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, SUBMIT(layout = SML_STRIDED, one.strides[1] = SIZE_MAX / 8));
    one = logits();
    EXPECT(SML_ERROR_SHAPE, sml_engine_submit(engine, &one, 0, WIDTH, &map));
    EXPECT(SML_ERROR_SHAPE, sml_engine_submit(engine, &one, SIZE_MAX, SIZE_MAX, &map));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_engine_submit(engine, &one, HEIGHT, WIDTH, NULL));
    EXPECT(SML_ERROR_INVALID_HANDLE, sml_engine_submit(NULL, &one, HEIGHT, WIDTH, &map));
    if (map.score != NULL || map.batch != 0) wrong = 1;
    map.struct_size = 0;
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_engine_submit(engine, &one, HEIGHT, WIDTH, &map));
}

static void wrong_outputs(sml_engine *engine) {
    const sml_logits good = logits();
    sml_output one;
#define INTO(change) sml_engine_submit_into(engine, &good, WITH(output, change))
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_engine_submit_into(engine, &good, NULL));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, INTO(score = NULL));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, INTO(score = score.bytes + 1));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, INTO(score = frame + 4));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, INTO(score_type = SML_BF16));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, INTO(reserved = 1));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, INTO(prediction = NULL));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, INTO(prediction = (uint8_t *)(score.f32 + PIXELS) - 1));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, INTO(non_finite = (uint64_t *)score.f32));
    EXPECT(SML_ERROR_SHAPE, INTO(height = HEIGHT + 1));
    EXPECT(SML_ERROR_SHAPE, INTO(width = 0));
    one = output();
    sml_status status = sml_engine_submit_device(engine, &good, &one, NULL);
    if (status != SML_ERROR_UNSUPPORTED && status != SML_ERROR_DEVICE) EXPECT(SML_ERROR_DEVICE, status);
}

/* A structure of a later release than the library's. */
static void newer(sml_engine *engine) {
    struct { sml_logits known; size_t later; } future = {logits(), 0};
    sml_anomaly_map map = {0};
    map.struct_size = sizeof map;
    future.known.struct_size = sizeof future;
    EXPECT(SML_OK, sml_engine_submit(engine, &future.known, HEIGHT, WIDTH, &map));
    future.later = 1;
    EXPECT(SML_ERROR_UNSUPPORTED, sml_engine_submit(engine, &future.known, HEIGHT, WIDTH, &map));
}

static void other_places(sml_engine *engine) {
    sml_stage_timings timings = {0};
    void *stream = &wrong;
    size_t number = 7;
    const char *text = "";
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_engine_timings(engine, NULL));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_engine_timings(engine, &timings));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_engine_warning_count(engine, NULL));
    EXPECT(SML_ERROR_INVALID_ARGUMENT, sml_engine_warning(engine, 0, &text));
    if (text != NULL) wrong = 1;
    EXPECT(SML_OK, sml_engine_warning_count(engine, &number));
    EXPECT(SML_OK, sml_engine_stream(engine, &stream));
    if (stream != NULL || number != 0) wrong = 1;
    EXPECT(SML_OK, sml_engine_device_bytes(engine, &number));
    EXPECT(SML_OK, sml_engine_profile(engine, 1));
    EXPECT(SML_OK, sml_engine_synchronize(engine));
}

int main(void) {
    sml_params *params = NULL;
    sml_engine *engine = NULL;
    sml_engine_options options = options_of("cpu");
    sml_anomaly_map map = {0};
    map.struct_size = sizeof map;
    for (int i = 0; i < C * H * W; ++i) frame[i] = (float)((i * 7) % 11);
    statistics_and_parameters();
    engines();
    EXPECT(SML_OK, sml_params_create(&params));
    EXPECT(SML_OK, sml_params_set_score(params, "max_logit"));
    capacities(params);
    options.threads = 1;
    EXPECT(SML_OK, sml_engine_create(&options, params, NULL, &engine));
    EXPECT(SML_OK, sml_params_destroy(params));

    const sml_logits good = logits();
    const sml_output into = output();
    EXPECT(SML_OK, sml_engine_submit_into(engine, &good, &into));
    wrong_logits(engine);
    wrong_outputs(engine);
    newer(engine);
    other_places(engine);
    /* After all of it the engine does what it did before. */
    EXPECT(SML_OK, sml_engine_submit(engine, &good, HEIGHT, WIDTH, &map));
    if (memcmp(map.score, score.f32, sizeof(float) * PIXELS) != 0 || map.non_finite[0] != 0) wrong = 1;
    if (memcmp(map.prediction, prediction, PIXELS) != 0) wrong = 1;
    EXPECT(SML_OK, sml_engine_destroy(engine));
    EXPECT(SML_ERROR_INVALID_HANDLE, sml_engine_destroy(engine));
    EXPECT(SML_ERROR_INVALID_HANDLE, sml_engine_submit(engine, &good, HEIGHT, WIDTH, &map));
    if (strcmp(sml_status_name(99), "unknown status") != 0) wrong = 1;
    puts(wrong ? "something is wrong" : "all is well");
    return wrong;
}
