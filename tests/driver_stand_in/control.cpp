// What a test reads and sets. None of these is part of the driver.
#include "state.hpp"

#include <cstring>

using namespace stand_in;

#define CONTROL extern "C" __attribute__((visibility("default")))

// The log since the last call: `call NAME`, `run KERNEL ...`, `capture KERNEL ...` and `misuse WHAT`, a line each.
CONTROL const char *stand_in_take_log() {
    static thread_local std::string taken;
    std::lock_guard<std::recursive_mutex> lock(state().lock);
    taken = std::move(state().log);
    state().log.clear();
    return taken.c_str();
}

// What lives: everything that a program must give back.
CONTROL const char *stand_in_living() {
    static thread_local std::string text;
    State &s = state();
    std::lock_guard<std::recursive_mutex> lock(s.lock);
    int contexts = 0;
    for (const auto &context : s.contexts) contexts += context->retained;
    text = "contexts=" + std::to_string(contexts) + " memory=" + std::to_string(s.memory.size() + s.pinned.size()) +
           " modules=" + std::to_string(s.modules.size()) + " streams=" + std::to_string(s.streams.size()) +
           " events=" + std::to_string(s.events.size()) + " graphs=" + std::to_string(s.graphs.size()) +
           " execs=" + std::to_string(s.execs.size());
    return text.c_str();
}

// Lets a function fail with a code at its nth call from now on, the first being 1. Codes from 700 to 719 are sticky.
CONTROL void stand_in_fail(const char *function, int nth, int code) {
    std::lock_guard<std::recursive_mutex> lock(state().lock);
    state().failures.emplace(function, std::make_pair(nth, code));
}

// Forgets failures that have not happened yet.
CONTROL void stand_in_fail_no_more() {
    std::lock_guard<std::recursive_mutex> lock(state().lock);
    state().failures.clear();
}

// Sets a property of the machine, before the driver is first called.
CONTROL void stand_in_set(const char *property, uint64_t value) {
    State &s = state();
    std::lock_guard<std::recursive_mutex> lock(s.lock);
    if (std::strcmp(property, "gpus") == 0) s.gpus = int(value);
    if (std::strcmp(property, "cuda_version") == 0) s.cuda_version = int(value);
    if (std::strcmp(property, "capability") == 0) s.capability = int(value);
    if (std::strcmp(property, "memory_bytes") == 0) s.memory_bytes = value;
}
