// Devices, primary contexts, modules and memory.
#include "state.hpp"

#include <cstdio>
#include <cstring>

using namespace stand_in;

namespace {

constexpr int SHARED_PER_BLOCK = 227 * 1024;

Context *context_of(int device) {
    State &s = state();
    while (int(s.contexts.size()) < s.gpus) {
        s.contexts.push_back(std::make_unique<Context>());
        s.contexts.back()->device = int(s.contexts.size()) - 1;
    }
    return s.contexts[device].get();
}

bool is_device(int device) { return device >= 0 && device < state().gpus; }

uint64_t memory_in_use(const Context *context) {
    uint64_t sum = 0;
    for (const auto &[address, memory] : state().memory) {
        if (memory.context == context) sum += memory.bytes;
    }
    return sum;
}

// The block that holds these bytes, or null.
unsigned char *host_of(uint64_t address, size_t bytes) {
    for (auto &[start, memory] : state().memory) {
        if (address >= start && address + bytes <= start + memory.bytes && memory.context == current()) {
            return reinterpret_cast<unsigned char *>(address);
        }
    }
    return nullptr;
}

}  // namespace

DRIVER cuInit(unsigned) {
    BEGIN_WITHOUT_CONTEXT;
    if (state().gpus == 0) return NO_DEVICE;
    state().initialised = true;
    return SUCCESS;
}

// NVRTC asks for it where it finds a driver, and does without.
DRIVER cuGetExportTable(const void **table, const void *) {
    *table = nullptr;
    return NOT_FOUND;
}

DRIVER cuDriverGetVersion(int *version) {
    BEGIN_WITHOUT_CONTEXT;
    *version = state().cuda_version;
    return SUCCESS;
}

DRIVER cuGetErrorName(int, const char **text) {
    *text = "CUDA_ERROR";
    return SUCCESS;
}

DRIVER cuGetErrorString(int, const char **text) {
    *text = "as the test asked for";
    return SUCCESS;
}

DRIVER cuDeviceGetCount(int *count) {
    BEGIN_WITHOUT_CONTEXT;
    *count = state().gpus;
    return SUCCESS;
}

DRIVER cuDeviceGet(int *device, int ordinal) {
    BEGIN_WITHOUT_CONTEXT;
    if (!is_device(ordinal)) return INVALID_DEVICE;
    *device = ordinal;
    return SUCCESS;
}

DRIVER cuDeviceGetName(char *name, int bytes, int device) {
    BEGIN_WITHOUT_CONTEXT;
    std::snprintf(name, size_t(bytes), "Stand-in %d", device);
    return SUCCESS;
}

DRIVER cuDeviceGetPCIBusId(char *text, int bytes, int device) {
    BEGIN_WITHOUT_CONTEXT;
    std::snprintf(text, size_t(bytes), "0000:%02x:00.0", device + 1);
    return SUCCESS;
}

DRIVER cuDeviceTotalMem_v2(size_t *bytes, int) {
    BEGIN_WITHOUT_CONTEXT;
    *bytes = state().memory_bytes;
    return SUCCESS;
}

DRIVER cuDeviceGetAttribute(int *value, int attribute, int device) {
    BEGIN_WITHOUT_CONTEXT;
    if (!is_device(device)) return INVALID_DEVICE;
    switch (attribute) {
        case 16: *value = 132; break;                      // multiprocessors
        case 38: *value = 60 << 20; break;                 // L2 cache
        case 75: *value = state().capability / 10; break;  // compute capability
        case 76: *value = state().capability % 10; break;
        case 97: *value = SHARED_PER_BLOCK; break;
        case 81: *value = SHARED_PER_BLOCK + 1024; break;  // shared memory of a multiprocessor
        case 115: *value = 0; break;                       // memory pools
        default: *value = 1;
    }
    return SUCCESS;
}

DRIVER cuDevicePrimaryCtxRetain(Context **context, int device) {
    BEGIN_WITHOUT_CONTEXT;
    if (!is_device(device)) return INVALID_DEVICE;
    Context *own = context_of(device);
    if (own->retained++ == 0 && state().default_streams.count(own) == 0) {
        auto *stream = new Stream;
        stream->context = own;
        stream->id = state().next_stream_id++;
        state().default_streams[own] = stream;
    }
    *context = own;
    return SUCCESS;
}

DRIVER cuDevicePrimaryCtxRelease_v2(int device) {
    BEGIN_WITHOUT_CONTEXT;
    Context *own = context_of(device);
    if (own->retained == 0) return misuse("a context released more often than retained", INVALID_CONTEXT);
    --own->retained;
    return SUCCESS;
}

DRIVER cuCtxGetCurrent(Context **context) {
    BEGIN_WITHOUT_CONTEXT;
    *context = current();
    return SUCCESS;
}

DRIVER cuCtxSetCurrent(Context *context) {
    BEGIN_WITHOUT_CONTEXT;
    if (context != nullptr && context->retained == 0) return misuse("a released context made current", INVALID_CONTEXT);
    current() = context;
    return SUCCESS;
}

DRIVER cuCtxSynchronize() {
    BEGIN;
    if (int code = forbidden_in_captures()) return code;
    for (Stream *stream : state().streams) complete(stream->progress);
    complete(state().default_streams[current()]->progress);
    return SUCCESS;
}

DRIVER cuModuleLoadData(Module **handle, const void *image) {
    BEGIN;
    auto module = std::make_unique<Module>();
    int architecture = 0;
    if (!read_cubin(static_cast<const unsigned char *>(image), *module, architecture)) {
        bool ptx = std::strstr(static_cast<const char *>(image), ".version") != nullptr;
        return ptx ? UNSUPPORTED_PTX_VERSION : INVALID_IMAGE;
    }
    int capability = state().capability;
    if (architecture / 10 != capability / 10 || architecture > capability) return NO_BINARY_FOR_GPU;
    module->context = current();
    for (auto &function : module->functions) state().functions.insert(function.get());
    state().modules.insert(module.get());
    *handle = module.release();
    return SUCCESS;
}

DRIVER cuModuleUnload(Module *module) {
    BEGIN;
    State &s = state();
    if (s.modules.erase(module) == 0) return misuse("a module unloaded twice");
    for (const Given &given : s.given) {
        if (given.module == module && !is_complete(given)) misuse("a module unloaded while its kernels may run");
    }
    for (auto &function : module->functions) s.functions.erase(function.get());
    delete module;
    return SUCCESS;
}

DRIVER cuModuleGetFunctionCount(unsigned *count, Module *module) {
    BEGIN;
    *count = unsigned(module->functions.size());
    return SUCCESS;
}

DRIVER cuModuleEnumerateFunctions(Function **functions, unsigned count, Module *module) {
    BEGIN;
    for (unsigned place = 0; place < count; ++place) functions[place] = module->functions[place].get();
    return SUCCESS;
}

DRIVER cuFuncGetName(const char **name, Function *function) {
    BEGIN;
    *name = function->name.c_str();
    return SUCCESS;
}

DRIVER cuFuncLoad(Function *) {
    BEGIN;
    return SUCCESS;
}

DRIVER cuFuncGetAttribute(int *value, int attribute, Function *function) {
    BEGIN;
    if (attribute != 1) return INVALID_VALUE;
    *value = int(function->static_shared);
    return SUCCESS;
}

DRIVER cuFuncSetAttribute(Function *function, int attribute, int value) {
    BEGIN;
    if (attribute != 8 || value < 0 || value + int(function->static_shared) > SHARED_PER_BLOCK) return INVALID_VALUE;
    function->dynamic_shared = unsigned(value);
    return SUCCESS;
}

DRIVER cuMemGetInfo_v2(size_t *free, size_t *total) {
    BEGIN;
    *total = state().memory_bytes;
    *free = *total - memory_in_use(current());
    return SUCCESS;
}

DRIVER cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    BEGIN;
    if (int code = forbidden_in_captures()) return code;
    if (bytes == 0) return INVALID_VALUE;
    if (memory_in_use(current()) + bytes > state().memory_bytes) return OUT_OF_MEMORY;
    Memory memory;
    memory.context = current();
    memory.bytes = bytes;
    memory.host = std::make_unique<unsigned char[]>(bytes + 256);
    std::memset(memory.host.get(), 0xa5, bytes + 256);
    *address = (reinterpret_cast<uint64_t>(memory.host.get()) + 255) & ~uint64_t(255);
    state().memory.emplace(*address, std::move(memory));
    return SUCCESS;
}

DRIVER cuMemFree_v2(uint64_t address) {
    BEGIN;
    if (int code = forbidden_in_captures()) return code;
    State &s = state();
    auto found = s.memory.find(address);
    if (found == s.memory.end()) return misuse("memory freed twice");
    if (found->second.context != current()) return misuse("memory freed in another context");
    uint64_t end = address + found->second.bytes;
    for (const Given &given : s.given) {
        if (!is_complete(given) && mentions(given.arguments, address, end)) {
            misuse("memory freed while a kernel may use it");
            break;
        }
    }
    for (const Copy &copy : s.copies) {
        if (!is_complete(copy) && copy.device >= address && copy.device < end) {
            misuse("memory freed while it may be copied");
            break;
        }
    }
    s.memory.erase(found);
    return SUCCESS;
}

DRIVER cuMemsetD8Async(uint64_t address, unsigned char value, size_t bytes, void *) {
    BEGIN;
    unsigned char *host = host_of(address, bytes);
    if (host == nullptr) return INVALID_VALUE;
    std::memset(host, value, bytes);
    return SUCCESS;
}

DRIVER cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) {
    BEGIN;
    if (int code = forbidden_in_captures()) return code;
    unsigned char *host = host_of(to, bytes);
    if (host == nullptr) return INVALID_VALUE;
    std::memcpy(host, from, bytes);
    return SUCCESS;
}

DRIVER cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *handle) {
    BEGIN;
    Stream *stream = find_stream(handle);
    if (stream == nullptr) return misuse("a stream that does not exist");
    unsigned char *host = host_of(from, bytes);
    if (host == nullptr) return INVALID_VALUE;
    std::memcpy(to, host, bytes);
    if (stream->capture == nullptr) copy(*stream, from, reinterpret_cast<uint64_t>(to), bytes);
    return SUCCESS;
}

DRIVER cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) {
    BEGIN;
    if (int code = forbidden_in_captures()) return code;
    if (bytes == 0 || flags != 0) return INVALID_VALUE;
    Memory block;
    block.context = current();
    block.bytes = bytes;
    block.host = std::make_unique<unsigned char[]>(bytes + 4096);
    std::memset(block.host.get(), 0xa5, bytes + 4096);
    uint64_t address = (reinterpret_cast<uint64_t>(block.host.get()) + 4095) & ~uint64_t(4095);
    *memory = reinterpret_cast<void *>(address);
    state().pinned.emplace(address, std::move(block));
    return SUCCESS;
}

DRIVER cuMemFreeHost(void *memory) {
    BEGIN;
    if (int code = forbidden_in_captures()) return code;
    State &s = state();
    auto address = reinterpret_cast<uint64_t>(memory);
    auto found = s.pinned.find(address);
    if (found == s.pinned.end()) return misuse("pinned memory freed twice");
    for (const Copy &copy : s.copies) {
        if (!is_complete(copy) && copy.host >= address && copy.host < address + found->second.bytes) {
            misuse("pinned memory freed while it may be copied");
            break;
        }
    }
    s.pinned.erase(found);
    return SUCCESS;
}

// From pinned memory only: the real one would wait for the stream otherwise.
DRIVER cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *handle) {
    BEGIN;
    Stream *stream = find_stream(handle);
    if (stream == nullptr) return misuse("a stream that does not exist");
    uint64_t source = reinterpret_cast<uint64_t>(from);
    bool pinned = false;
    for (auto &[start, block] : state().pinned) pinned |= source >= start && source + bytes <= start + block.bytes;
    if (!pinned) return misuse("a copy from memory that is not pinned", INVALID_VALUE);
    unsigned char *host = host_of(to, bytes);
    if (host == nullptr) return INVALID_VALUE;
    std::memcpy(host, from, bytes);
    copy(*stream, to, source, bytes);
    return SUCCESS;
}
