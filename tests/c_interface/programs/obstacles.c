/* Obstacles of three small frames, their ids, and what goes wrong. Prints the thresholds of a statistics file. */
#include <sml.h>

#include <math.h>
#include <stdio.h>

#define EXPECT(condition) \
    if (!(condition)) return printf("line %d: not %s: %s\n", __LINE__, #condition, sml_last_error_message()), __LINE__

int main(int arguments, char **argument) {
    const uint8_t drivable[] = {0}, prediction[4 * 5] = {2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 13, 13, 0, 0, 0, 0, 0, 0};
    const float first[4 * 5] = {0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0};
    const float second[4 * 5] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 7, 0, 0, 0, 0, 0};
    sml_obstacle_finder *finder = NULL;
    sml_obstacle_options options = {0};
    sml_obstacle obstacle = {0};
    size_t count = 7;
    options.struct_size = sizeof options;
    options.height = 4;
    options.width = 5;
    options.threshold = 3.0f;
    options.minimum_area = 2;
    options.drivable_classes = drivable;
    options.drivable_count = 1;
    obstacle.struct_size = sizeof obstacle;
    EXPECT(sml_obstacle_finder_create(&options, &finder) == SML_OK);

    EXPECT(sml_obstacle_finder_find(finder, first, prediction, &count) == SML_OK && count == 1);
    EXPECT(sml_obstacle_finder_get(finder, 0, &obstacle) == SML_OK);
    EXPECT(obstacle.id == 1 && obstacle.area == 2 && obstacle.max_score == 5.0f && obstacle.mean_score == 4.5f);
    EXPECT(obstacle.left == 2 && obstacle.top == 2 && obstacle.width == 2 && obstacle.height == 1);
    EXPECT(obstacle.centroid_column == 2.5f && obstacle.centroid_row == 2.0f && obstacle.surrounding_class == 0);
    EXPECT(sml_obstacle_finder_find(finder, second, prediction, &count) == SML_OK && count == 1);
    EXPECT(sml_obstacle_finder_get(finder, 0, &obstacle) == SML_OK && obstacle.id == 1 && obstacle.left == 3);
    EXPECT(sml_obstacle_finder_forget(finder) == SML_OK);
    EXPECT(sml_obstacle_finder_find(finder, second, prediction, &count) == SML_OK && count == 1);
    EXPECT(sml_obstacle_finder_get(finder, 0, &obstacle) == SML_OK && obstacle.id == 2);

    EXPECT(sml_obstacle_finder_get(finder, 1, &obstacle) == SML_ERROR_INVALID_ARGUMENT);
    EXPECT(sml_obstacle_finder_get(finder, 0, NULL) == SML_ERROR_INVALID_ARGUMENT);
    EXPECT(sml_obstacle_finder_find(finder, NULL, prediction, &count) == SML_ERROR_INVALID_ARGUMENT && count == 0);
    EXPECT(sml_obstacle_finder_find(finder, first, prediction, NULL) == SML_ERROR_INVALID_ARGUMENT);
    EXPECT(sml_obstacle_finder_find((sml_obstacle_finder *)&options, first, prediction, &count) ==
           SML_ERROR_INVALID_HANDLE);
    EXPECT(sml_obstacle_finder_destroy(finder) == SML_OK);
    EXPECT(sml_obstacle_finder_destroy(finder) == SML_ERROR_INVALID_HANDLE);

    sml_obstacle_options wrong = options;
    wrong.threshold = (float)NAN;
    EXPECT(sml_obstacle_finder_create(&wrong, &finder) == SML_ERROR_INVALID_PARAMETER && finder == NULL);
    wrong = options, wrong.drivable_count = 0;
    EXPECT(sml_obstacle_finder_create(&wrong, &finder) == SML_ERROR_INVALID_PARAMETER);
    wrong = options, wrong.height = 0;
    EXPECT(sml_obstacle_finder_create(&wrong, &finder) == SML_ERROR_SHAPE);
    wrong.height = wrong.width = (size_t)1 << 31;
    EXPECT(sml_obstacle_finder_create(&wrong, &finder) == SML_ERROR_SHAPE);
    wrong = options, wrong.reserved = 1;
    EXPECT(sml_obstacle_finder_create(&wrong, &finder) == SML_ERROR_INVALID_ARGUMENT);

    sml_statistics *statistics = NULL;
    sml_params *params = NULL;
    float fpr = 0.0f, tpr = 0.0f, none = 0.0f;
    EXPECT(arguments == 2 && sml_statistics_read(argument[1], &statistics) == SML_OK);
    EXPECT(sml_statistics_threshold_at_fpr(statistics, NULL, 0.05, &fpr) == SML_OK);
    EXPECT(sml_statistics_threshold_at_tpr(statistics, NULL, 0.95, &tpr) == SML_OK);
    printf("%.9g %.9g\n", (double)fpr, (double)tpr);
    EXPECT(sml_statistics_threshold_at_fpr(statistics, NULL, 1.5, &none) == SML_ERROR_INVALID_PARAMETER && isnan(none));
    EXPECT(sml_statistics_threshold_at_fpr(NULL, NULL, 0.05, &none) == SML_ERROR_INVALID_HANDLE);
    EXPECT(sml_params_create(&params) == SML_OK && sml_params_set_smoothing(params, 0, 0.0f, 0) == SML_OK);
    EXPECT(sml_statistics_threshold_at_fpr(statistics, params, 0.05, &none) == SML_ERROR_INVALID_PARAMETER);
    EXPECT(sml_statistics_destroy(statistics) == SML_OK && sml_params_destroy(params) == SML_OK);
    EXPECT(sml_statistics_from_json("{\"mean\": [1], \"variance\": [1]}", &statistics) == SML_OK);
    EXPECT(sml_statistics_threshold_at_tpr(statistics, NULL, 0.95, &none) == SML_ERROR_STATISTICS);
    EXPECT(sml_statistics_destroy(statistics) == SML_OK);
    return 0;
}
