// Streams, events, launches, captures and graphs.
#include "state.hpp"

#include <algorithm>

using namespace stand_in;

namespace stand_in {

Stream *find_stream(void *handle) {
    State &s = state();
    auto number = reinterpret_cast<uintptr_t>(handle);
    if (number <= 1) return current() == nullptr ? nullptr : s.default_streams[current()];
    auto *stream = static_cast<Stream *>(handle);
    return s.streams.count(stream) != 0 ? stream : nullptr;
}

}  // namespace stand_in

namespace {

struct NodeParameters {
    Function *function;
    unsigned grid[3];
    unsigned block[3];
    unsigned shared;
    void **parameters;
    void **extra;
    void *kernel;
    Context *context;
};
static_assert(sizeof(NodeParameters) == 72, "as in cuda.h");

Geometry geometry_of(const NodeParameters &node) {
    Geometry geometry{};
    std::copy(node.grid, node.grid + 3, geometry.grid);
    std::copy(node.block, node.block + 3, geometry.block);
    geometry.shared = node.shared;
    return geometry;
}

// The stream for a call that gives it work, in the current context.
int stream_for_work(void *handle, Stream *&stream) {
    stream = find_stream(handle);
    if (stream == nullptr) return misuse("a stream that does not exist");
    if (stream->context != current()) return misuse("a stream of another context");
    if (stream->invalidated) return CAPTURE_INVALIDATED;
    bool is_default = stream == state().default_streams[current()];
    for (Stream *other : state().streams) {
        if (is_default && other->capture && other->blocking && other->context == current()) {
            other->invalidated = true;
            return CAPTURE_IMPLICIT;
        }
    }
    return SUCCESS;
}

}  // namespace

DRIVER cuStreamCreate(Stream **handle, unsigned flags) {
    BEGIN;
    auto *stream = new Stream;
    stream->context = current();
    stream->id = state().next_stream_id++;
    stream->blocking = (flags & 1) == 0;
    state().streams.insert(stream);
    *handle = stream;
    return SUCCESS;
}

DRIVER cuStreamDestroy_v2(Stream *stream) {
    BEGIN;
    if (state().streams.erase(stream) == 0) return misuse("a stream destroyed twice");
    delete stream;
    return SUCCESS;
}

DRIVER cuStreamSynchronize(void *handle) {
    BEGIN;
    Stream *stream = find_stream(handle);
    if (stream == nullptr) return misuse("a stream that does not exist");
    if (stream->capture) {
        stream->invalidated = true;
        return CAPTURE_UNSUPPORTED;
    }
    if (int code = forbidden_in_captures()) return code;
    complete(stream->progress);
    return SUCCESS;
}

DRIVER cuStreamGetId(void *handle, unsigned long long *id) {
    BEGIN;
    Stream *stream = find_stream(handle);
    if (stream == nullptr) return misuse("a stream that does not exist");
    *id = stream->id;
    return SUCCESS;
}

DRIVER cuStreamGetDevice(void *handle, int *device) {
    BEGIN;
    Stream *stream = find_stream(handle);
    if (stream == nullptr) return misuse("a stream that does not exist");
    *device = stream->context->device;
    return SUCCESS;
}

DRIVER cuStreamIsCapturing(void *handle, int *status) {
    BEGIN;
    Stream *stream = find_stream(handle);
    if (stream == nullptr) return misuse("a stream that does not exist");
    if (stream == state().default_streams[current()]) {
        for (Stream *other : state().streams) {
            if (other->capture && other->blocking && other->context == current()) return CAPTURE_IMPLICIT;
        }
    }
    *status = !stream->capture ? 0 : stream->invalidated ? 2 : 1;
    return SUCCESS;
}

DRIVER cuStreamWaitEvent(void *handle, Event *event, unsigned) {
    BEGIN;
    Stream *stream = find_stream(handle);
    if (stream == nullptr || state().events.count(event) == 0) return misuse("a wait with a dead handle");
    if ((event->captured_by == nullptr) != (stream->capture == nullptr)) {
        stream->invalidated = stream->capture != nullptr;
        return CAPTURE_ISOLATION;
    }
    if (event->recorded) join(stream->progress, event->progress);
    return SUCCESS;
}

DRIVER cuStreamBeginCapture_v2(void *handle, int mode) {
    BEGIN;
    Stream *stream = find_stream(handle);
    if (stream == nullptr) return misuse("a stream that does not exist");
    if (stream == state().default_streams[current()]) return CAPTURE_UNSUPPORTED;
    stream->capture = std::make_unique<Graph>();
    stream->global_capture = mode == 0;
    return SUCCESS;
}

DRIVER cuStreamEndCapture(void *handle, Graph **graph) {
    BEGIN;
    Stream *stream = find_stream(handle);
    if (stream == nullptr || !stream->capture) return CAPTURE_UNMATCHED;
    bool invalidated = stream->invalidated;
    stream->invalidated = false;
    std::unique_ptr<Graph> captured = std::move(stream->capture);
    *graph = nullptr;
    if (invalidated) return CAPTURE_INVALIDATED;
    *graph = captured.release();
    state().graphs.insert(*graph);
    return SUCCESS;
}

DRIVER cuEventCreate(Event **handle, unsigned flags) {
    BEGIN;
    auto *event = new Event;
    event->context = current();
    event->timing = (flags & 2) == 0;
    state().events.insert(event);
    *handle = event;
    return SUCCESS;
}

DRIVER cuEventDestroy_v2(Event *event) {
    BEGIN;
    if (state().events.erase(event) == 0) return misuse("an event destroyed twice");
    delete event;
    return SUCCESS;
}

DRIVER cuEventRecord(Event *event, void *handle) {
    BEGIN;
    Stream *stream = nullptr;
    if (int code = stream_for_work(handle, stream)) return code;
    if (state().events.count(event) == 0) return misuse("an event that does not exist");
    if (event->context != stream->context) return INVALID_HANDLE;
    event->recorded = true;
    event->captured_by = stream->capture ? stream : nullptr;
    event->progress = stream->progress;
    event->when = state().given.size();
    return SUCCESS;
}

DRIVER cuEventSynchronize(Event *event) {
    BEGIN;
    if (state().events.count(event) == 0) return misuse("an event that does not exist");
    if (event->captured_by != nullptr) return CAPTURED_EVENT;
    complete(event->progress);
    return SUCCESS;
}

// One millisecond for each launch between them.
DRIVER cuEventElapsedTime_v2(float *milliseconds, Event *from, Event *to) {
    BEGIN;
    if (!from->timing || !to->timing || !from->recorded || !to->recorded) return INVALID_HANDLE;
    *milliseconds = float(to->when) - float(from->when);
    return SUCCESS;
}

DRIVER cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                      unsigned block_y, unsigned block_z, unsigned shared, void *handle, void **parameters,
                      void **) {
    BEGIN;
    Stream *stream = nullptr;
    if (int code = stream_for_work(handle, stream)) return code;
    Launch launch;
    Geometry geometry{{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared};
    if (int code = make_launch(function, geometry, parameters, launch)) return code;
    if (stream->capture) {
        note("capture " + describe(launch));
        stream->capture->nodes.push_back(new Launch(launch));
    } else {
        run(*stream, launch, false);
    }
    return SUCCESS;
}

DRIVER cuGraphCreate(Graph **handle, unsigned) {
    BEGIN_WITHOUT_CONTEXT;
    *handle = new Graph;
    state().graphs.insert(*handle);
    return SUCCESS;
}

DRIVER cuGraphDestroy(Graph *graph) {
    BEGIN_WITHOUT_CONTEXT;
    if (state().graphs.erase(graph) == 0) return misuse("a graph destroyed twice");
    delete graph;
    return SUCCESS;
}

DRIVER cuGraphAddKernelNode_v2(Launch **node, Graph *graph, Launch *const *before, size_t count,
                               const NodeParameters *parameters) {
    BEGIN;
    if (state().graphs.count(graph) == 0) return misuse("a graph that does not exist");
    // Nodes run in the order of their making here, so that is what they must ask for.
    bool chained = graph->nodes.empty() ? count == 0 : count == 1 && before[0] == graph->nodes.back();
    if (!chained) return misuse("a node that does not follow the one before", INVALID_VALUE);
    auto launch = std::make_unique<Launch>();
    if (int code = make_launch(parameters->function, geometry_of(*parameters), parameters->parameters, *launch)) {
        return code;
    }
    *node = launch.release();
    graph->nodes.push_back(*node);
    return SUCCESS;
}

DRIVER cuGraphInstantiateWithFlags(Exec **handle, Graph *graph, unsigned long long) {
    BEGIN;
    if (state().graphs.count(graph) == 0) return misuse("a graph that does not exist");
    auto *exec = new Exec;
    exec->context = current();
    exec->nodes = graph->nodes;
    for (const Launch *node : graph->nodes) exec->launches.push_back(*node);
    state().execs.insert(exec);
    *handle = exec;
    return SUCCESS;
}

DRIVER cuGraphExecDestroy(Exec *exec) {
    BEGIN_WITHOUT_CONTEXT;
    if (state().execs.erase(exec) == 0) return misuse("an executable graph destroyed twice");
    delete exec;
    return SUCCESS;
}

DRIVER cuGraphExecKernelNodeSetParams_v2(Exec *exec, Launch *node, const NodeParameters *parameters) {
    BEGIN;
    if (state().execs.count(exec) == 0) return misuse("an executable graph that does not exist");
    auto place = std::find(exec->nodes.begin(), exec->nodes.end(), node);
    if (place == exec->nodes.end()) return misuse("a node of another graph", INVALID_VALUE);
    Launch launch;
    if (int code = make_launch(parameters->function, geometry_of(*parameters), parameters->parameters, launch)) {
        return code;
    }
    Launch &held = exec->launches[size_t(place - exec->nodes.begin())];
    if (held.function != launch.function) return misuse("another function for a node", INVALID_VALUE);
    held = launch;
    return SUCCESS;
}

DRIVER cuGraphUpload(Exec *exec, void *handle) {
    BEGIN;
    if (state().execs.count(exec) == 0 || find_stream(handle) == nullptr) return misuse("an upload with a dead handle");
    return SUCCESS;
}

DRIVER cuGraphLaunch(Exec *exec, void *handle) {
    BEGIN;
    if (state().execs.count(exec) == 0) return misuse("an executable graph that does not exist");
    Stream *stream = nullptr;
    if (int code = stream_for_work(handle, stream)) return code;
    if (stream->capture) return misuse("a graph launched into a capture", CAPTURE_UNSUPPORTED);
    for (const Launch &launch : exec->launches) {
        if (state().functions.count(launch.function) == 0) return misuse("a graph of kernels that are unloaded");
        run(*stream, launch, true);
    }
    return SUCCESS;
}
