/* A panic inside the library: no memory for the threads that all engines share. It comes out as a status. */
#include <sml.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

int main(void) {
    const struct rlimit limit = {(rlim_t)512 << 20, (rlim_t)512 << 20};
    sml_params *params = NULL;
    sml_engine *engine = NULL;
    sml_engine_options options = {0};
    options.struct_size = sizeof options;
    options.batch = options.classes = options.logits_height = options.logits_width = options.height = options.width = 1;
    /* Each thread takes 2 MiB of addresses for its stack. */
    if (setenv("RAYON_NUM_THREADS", "4000", 1) != 0 || setrlimit(RLIMIT_AS, &limit) != 0) return 2;
    if (sml_params_create(&params) != SML_OK || sml_params_set_score(params, "msp") != SML_OK) return 3;
    sml_status status = sml_engine_create(&options, params, NULL, &engine);
    printf("%s: %s\n", sml_status_name(status), sml_last_error_message());
    if (status != SML_ERROR_PANIC || engine != NULL) return 4;
    /* What needs none of them still works, as soon as those threads that did begin have given back their memory. */
    const struct timespec moment = {0, 20000000};
    options.threads = 1;
    for (int tries = 0; sml_engine_create(&options, params, NULL, &engine) != SML_OK; ++tries) {
        if (tries == 500) return 5;
        nanosleep(&moment, NULL);
    }
    if (sml_engine_destroy(engine) != SML_OK || sml_params_destroy(params) != SML_OK) return 6;
    return 0;
}
