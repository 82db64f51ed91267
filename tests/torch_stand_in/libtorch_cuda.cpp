// A stand-in for the three functions of libtorch's CUDA half that the crate calls, with their contract: a current stream
// for each thread and GPU, and guards that are deleted in the reverse order of their making. There are two GPUs; another
// index is an error.
#include <array>
#include <cstdint>
#include <cstdlib>

namespace {

constexpr int GPUS = 2;
thread_local std::array<void *, GPUS> current{};
thread_local struct Guard *innermost = nullptr;

struct Guard {
    int device;
    void *before;
    Guard *outer;
};

bool is_gpu(int device) { return device >= 0 && device < GPUS; }

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int aoti_torch_get_current_cuda_stream(int32_t device, void **stream) {
    if (!is_gpu(device)) return 1;
    *stream = current[device];
    return 0;
}

EXPORT int aoti_torch_create_cuda_stream_guard(void *stream, int32_t device, void **guard) {
    if (!is_gpu(device)) return 1;
    innermost = new Guard{device, current[device], innermost};
    current[device] = stream;
    *guard = innermost;
    return 0;
}

EXPORT int aoti_torch_delete_cuda_stream_guard(void *given) {
    auto *guard = static_cast<Guard *>(given);
    if (guard != innermost) std::abort();
    current[guard->device] = guard->before;
    innermost = guard->outer;
    delete guard;
    return 0;
}
