// Post-processes a frame of logits on the CPU from C++: handles that end by themselves, errors as exceptions, results in
// the program's own memory.
//
//     c++ -std=c++11 post_process.cpp $(pkg-config --cflags --libs sml) -o post_process
#include <sml.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

void check(sml_status status) {
    if (status != SML_OK) throw std::runtime_error(std::string(sml_status_name(status)) + ": " + sml_last_error_message());
}

// Destroys any of the library's handles.
struct Destroy {
    void operator()(sml_engine *engine) const { sml_engine_destroy(engine); }
    void operator()(sml_params *params) const { sml_params_destroy(params); }
    void operator()(sml_statistics *statistics) const { sml_statistics_destroy(statistics); }
    void operator()(sml_obstacle_finder *finder) const { sml_obstacle_finder_destroy(finder); }
};
template <typename T>
using Handle = std::unique_ptr<T, Destroy>;

// Calls a function of the library that makes a handle.
template <typename T, typename Make>
Handle<T> make(Make &&function) {
    T *handle = nullptr;
    check(function(&handle));
    return Handle<T>(handle);
}

// A structure of the library, zeroed, with its size.
template <typename T>
T sized() {
    T structure = T();
    structure.struct_size = sizeof structure;
    return structure;
}

struct Frame {
    size_t classes, height, width;
    std::vector<float> logits;  // row, column, class
};

// What a network would give: the first class everywhere, with a spot of low confidence.
Frame network() {
    Frame frame{2, 64, 128, std::vector<float>(2 * 64 * 128)};
    for (size_t y = 0; y < frame.height; ++y) {
        for (size_t x = 0; x < frame.width; ++x) {
            bool spot = y >= 20 && y < 30 && x >= 60 && x < 75;
            frame.logits[(y * frame.width + x) * frame.classes] = spot ? 1.0f : 8.0f;
        }
    }
    return frame;
}

}  // namespace

int main() try {
    const Frame frame = network();
    const size_t height = 256, width = 512;

    // Once: statistics of the network's classes, parameters, and the largest frame that will come.
    const double mean[] = {8.0, 6.0}, variance[] = {4.0, 1.0};
    auto statistics = make<sml_statistics>(
        [&](sml_statistics **handle) { return sml_statistics_from_vectors(mean, variance, nullptr, 2, handle); });
    auto params = make<sml_params>([](sml_params **handle) { return sml_params_create(handle); });
    check(sml_params_set_suppression(params.get(), 4, 4));
    auto options = sized<sml_engine_options>();
    options.device = "cpu";
    options.batch = 1;
    options.classes = frame.classes;
    options.logits_height = frame.height;
    options.logits_width = frame.width;
    options.height = height;
    options.width = width;
    options.threads = 2;
    auto engine = make<sml_engine>([&](sml_engine **handle) {
        return sml_engine_create(&options, params.get(), statistics.get(), handle);
    });

    // Each frame: logits where the network left them, the result in memory of this program.
    std::vector<float> score(height * width);
    std::vector<uint8_t> prediction(height * width);
    uint64_t non_finite = 0;
    auto logits = sized<sml_logits>();
    logits.data = frame.logits.data();
    logits.element_type = SML_F32;
    logits.layout = SML_NHWC;
    logits.batch = 1;
    logits.classes = frame.classes;
    logits.height = frame.height;
    logits.width = frame.width;
    auto output = sized<sml_output>();
    output.height = height;
    output.width = width;
    output.score_type = SML_F32;
    output.score = score.data();
    output.prediction = prediction.data();
    output.non_finite = &non_finite;
    check(sml_engine_submit_into(engine.get(), &logits, &output));

    const size_t highest = size_t(std::max_element(score.begin(), score.end()) - score.begin());
    std::printf("sml %s\nmost anomalous: row %zu, column %zu, score %.9g\n", sml_version(), highest / width,
                highest % width, double(score[highest]));

    // The objects behind the map. A real threshold comes out of a calibration: sml_statistics_threshold_at_fpr.
    auto what = sized<sml_obstacle_options>();
    what.height = height;
    what.width = width;
    what.threshold = 1.0f;
    auto finder =
        make<sml_obstacle_finder>([&](sml_obstacle_finder **handle) { return sml_obstacle_finder_create(&what, handle); });
    size_t count = 0;
    check(sml_obstacle_finder_find(finder.get(), score.data(), prediction.data(), &count));
    for (size_t i = 0; i < count; ++i) {
        auto obstacle = sized<sml_obstacle>();
        check(sml_obstacle_finder_get(finder.get(), i, &obstacle));
        std::printf("obstacle %llu: %u pixels in %ux%u+%u+%u, highest score %.9g\n",
                    static_cast<unsigned long long>(obstacle.id), obstacle.area, obstacle.width, obstacle.height,
                    obstacle.left, obstacle.top, double(obstacle.max_score));
    }
    return 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
