/* Many threads on one engine: each call is done or refused, results are always whole; messages are each thread's own. */
#include <sml.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { THREADS = 4, FRAMES = 200, HEIGHT = 32, WIDTH = 64, PIXELS = HEIGHT * WIDTH };

static float frame[2 * PIXELS];
static float expected[PIXELS];

struct worker {
    sml_engine *shared, *own;
    int number, done, refused, wrong;
};

static sml_engine *make(void) {
    sml_params *params = NULL;
    sml_engine *engine = NULL;
    sml_engine_options options = {0};
    options.struct_size = sizeof options;
    options.batch = 1;
    options.classes = 2;
    options.logits_height = options.height = HEIGHT;
    options.logits_width = options.width = WIDTH;
    if (sml_params_create(&params) == SML_OK && sml_params_set_score(params, "entropy") == SML_OK) {
        sml_engine_create(&options, params, NULL, &engine);
    }
    sml_params_destroy(params);
    return engine;
}

static sml_status submit(sml_engine *engine, float *score) {
    uint8_t prediction[PIXELS];
    uint64_t non_finite;
    sml_logits logits = {0};
    sml_output output = {0};
    logits.struct_size = sizeof logits;
    logits.data = frame;
    logits.batch = 1;
    logits.classes = 2;
    logits.height = output.height = HEIGHT;
    logits.width = output.width = WIDTH;
    output.struct_size = sizeof output;
    output.score = score;
    output.prediction = prediction;
    output.non_finite = &non_finite;
    return sml_engine_submit_into(engine, &logits, &output);
}

static void *work(void *of) {
    struct worker *worker = of;
    float score[PIXELS];
    char name[64];
    /* An error of this thread's own, which the others must not see. */
    snprintf(name, sizeof name, "/nowhere/%d", worker->number);
    sml_statistics *statistics;
    worker->wrong += sml_statistics_read(name, &statistics) != SML_ERROR_IO;
    worker->wrong += strstr(sml_last_error_message(), name) == NULL;
    for (int n = 0; n < FRAMES; ++n) {
        sml_status status = submit(worker->shared, score);
        worker->done += status == SML_OK;
        worker->refused += status == SML_ERROR_BUSY;
        worker->wrong += status != SML_OK && status != SML_ERROR_BUSY;
        worker->wrong += status == SML_OK && memcmp(score, expected, sizeof score) != 0;
        worker->wrong += submit(worker->own, score) != SML_OK || memcmp(score, expected, sizeof score) != 0;
    }
    return NULL;
}

int main(void) {
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    int done = 0, refused = 0, wrong = 0;
    for (int i = 0; i < 2 * PIXELS; ++i) frame[i] = (float)((i * 37) % 101) / 10.0f;
    sml_engine *shared = make();
    if (submit(shared, expected) != SML_OK) return 1;
    for (int i = 0; i < THREADS; ++i) {
        const struct worker worker = {shared, make(), i, 0, 0, 0};
        workers[i] = worker;
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0) return 1;
    }
    for (int i = 0; i < THREADS; ++i) {
        pthread_join(threads[i], NULL);
        wrong += workers[i].wrong + (sml_engine_destroy(workers[i].own) != SML_OK);
        done += workers[i].done, refused += workers[i].refused;
    }
    wrong += sml_engine_destroy(shared) != SML_OK;
    printf("done %d, refused %d, wrong %d\n", done, refused, wrong);
    return wrong != 0 || done == 0 || done + refused != THREADS * FRAMES;
}
