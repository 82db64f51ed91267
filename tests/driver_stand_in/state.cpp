// The books, and what every call begins with.
#include "state.hpp"

#include <algorithm>
#include <cstring>

namespace stand_in {

State &state() {
    // Never destroyed: threads may still call while the process ends.
    static State *the_state = new State;
    return *the_state;
}

Context *&current() {
    static thread_local Context *context = nullptr;
    return context;
}

Graph::~Graph() {
    for (Launch *node : nodes) delete node;
}

void join(Progress &into, const Progress &other) {
    for (const auto &[stream, number] : other) into[stream] = std::max(into[stream], number);
}

void note(const std::string &line) { state().log += line + "\n"; }

int misuse(const std::string &what, int code) {
    note("misuse " + what);
    return code;
}

static int refusal_of(const char *name, bool needs_context) {
    State &s = state();
    note(std::string("call ") + name);
    int code = SUCCESS;
    auto [failure, end] = s.failures.equal_range(name);
    while (failure != end) {
        bool now = --failure->second.first == 0;
        if (now) code = failure->second.second;
        failure = now ? s.failures.erase(failure) : std::next(failure);
    }
    if (code >= FIRST_STICKY && code <= LAST_STICKY) s.sticky = code;
    if (code != SUCCESS) return code;
    if (!needs_context) return SUCCESS;
    if (s.sticky != 0) return s.sticky;
    if (current() == nullptr || current()->retained == 0) {
        return misuse(std::string(name) + " on a thread without a context", INVALID_CONTEXT);
    }
    return SUCCESS;
}

Call::Call(const char *name, bool needs_context)
    : lock_(state().lock), refusal_(refusal_of(name, needs_context)) {}

int forbidden_in_captures() {
    int code = SUCCESS;
    for (Stream *stream : state().streams) {
        if (stream->capture && stream->global_capture) {
            stream->invalidated = true;
            code = CAPTURE_UNSUPPORTED;
        }
    }
    return code;
}

uint64_t add_work(Stream &stream) {
    State &s = state();
    Stream *default_stream = s.default_streams[stream.context];
    if (&stream == default_stream) {
        for (Stream *other : s.streams) {
            if (other->context == stream.context && other->blocking) join(stream.progress, other->progress);
        }
    } else if (stream.blocking) {
        join(stream.progress, default_stream->progress);
    }
    return ++stream.progress[stream.id];
}

void complete(const Progress &progress) { join(state().complete, progress); }

bool is_complete(const Given &given) {
    const Progress &complete = state().complete;
    auto found = complete.find(given.stream);
    return found != complete.end() && found->second >= given.number;
}

bool mentions(const std::vector<unsigned char> &arguments, uint64_t start, uint64_t end) {
    for (size_t offset = 0; offset + 8 <= arguments.size(); offset += 8) {
        uint64_t word;
        std::memcpy(&word, arguments.data() + offset, 8);
        if (word >= start && word < end) return true;
    }
    return false;
}

bool is_complete(const Copy &copy) {
    const Progress &complete = state().complete;
    auto found = complete.find(copy.stream);
    return found != complete.end() && found->second >= copy.number;
}

bool comes_before(uint64_t of_stream, uint64_t number, const Stream &stream) {
    const Progress &complete = state().complete;
    auto done = complete.find(of_stream);
    if (done != complete.end() && done->second >= number) return true;
    auto reached = stream.progress.find(of_stream);
    return reached != stream.progress.end() && reached->second >= number;
}

void copy(Stream &stream, uint64_t device, uint64_t host, size_t bytes) {
    State &s = state();
    uint64_t number = add_work(stream);
    for (const Given &before : s.given) {
        if (before.context == stream.context && mentions(before.arguments, device, device + bytes) &&
            !comes_before(before.stream, before.number, stream)) {
            misuse("a copy that may overtake a kernel of its memory");
            break;
        }
    }
    s.copies.push_back({stream.id, number, device, host, bytes});
}

int make_launch(void *handle, const Geometry &geometry, void **parameters, Launch &launch) {
    auto *function = static_cast<Function *>(handle);
    if (state().functions.count(function) == 0) return misuse("a launch of a function that is not loaded");
    if (function->module->context != current()) return misuse("a launch of another context's function");
    for (int axis = 0; axis < 3; ++axis) {
        unsigned most = axis == 0 ? 0x7fffffffu : 65535u;
        if (geometry.grid[axis] == 0 || geometry.grid[axis] > most) return INVALID_VALUE;
        if (geometry.block[axis] == 0) return INVALID_VALUE;
    }
    uint64_t threads = 1;
    for (unsigned length : geometry.block) threads *= length;
    if (threads > function->most_threads || geometry.shared > function->dynamic_shared) return INVALID_VALUE;
    if (parameters == nullptr || parameters[0] == nullptr) return INVALID_VALUE;
    launch.function = function;
    launch.geometry = geometry;
    launch.arguments.resize(function->parameter_bytes);
    std::memcpy(launch.arguments.data(), parameters[0], function->parameter_bytes);
    return SUCCESS;
}

std::string describe(const Launch &launch) {
    auto three = [](const unsigned (&values)[3]) {
        return std::to_string(values[0]) + "," + std::to_string(values[1]) + "," + std::to_string(values[2]);
    };
    std::string text = launch.function->name + " grid=" + three(launch.geometry.grid) +
                       " block=" + three(launch.geometry.block) +
                       " shared=" + std::to_string(launch.geometry.shared) + " arguments=";
    const char digits[] = "0123456789abcdef";
    for (unsigned char byte : launch.arguments) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

void run(Stream &stream, const Launch &launch, bool in_graph) {
    State &s = state();
    uint64_t number = add_work(stream);
    bool ordered = true;
    for (const Given &before : s.given) {
        if (before.context != stream.context) continue;
        auto reached = stream.progress.find(before.stream);
        ordered = is_complete(before) ||
                  (reached != stream.progress.end() && reached->second >= before.number);
    }
    for (const Copy &before : s.copies) {
        if (mentions(launch.arguments, before.device, before.device + before.bytes) &&
            !comes_before(before.stream, before.number, stream)) {
            misuse("a kernel that may overtake a copy of its memory");
            break;
        }
    }
    s.given.push_back({stream.context, launch.function->module, stream.id, number, launch.arguments});
    note("run " + describe(launch) + " stream=" + std::to_string(stream.id) +
         " gpu=" + std::to_string(stream.context->device) + " ordered=" + (ordered ? "yes" : "no") +
         " graph=" + (in_graph ? "yes" : "no"));
}

}  // namespace stand_in
