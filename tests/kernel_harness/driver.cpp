// The program that runs kernels on the host. It reads jobs from standard input and answers each on standard output.
//
// A job, all numbers little-endian:
//   u32 seconds that it may take
//   u32 number of buffers, each: u32 misalignment, u64 bytes, u32 1 if the answer shall have it, u32 number of parts that are
//       given, each: u64 offset, text                                             (text: u32 bytes, the bytes)
//   u32 number of launches, each: text library, text kernel, 3 u32 grid, 3 u32 block, u32 shared bytes, u32 order,
//       u64 seed, u32 leading pointers in the arguments, text arguments
// The answer: for each buffer that it shall have: u64 bytes, the bytes.
//
// A device pointer is (buffer + 1) << 40 | offset, where the buffer begins at the offset of its misalignment. Each buffer is
// one allocation, so that AddressSanitizer sees the first byte outside. One that the answer does not want is mapped instead,
// and may be larger than the machine's memory.
//
// Anything wrong ends the program; what was wrong stands on standard error.

#include <dlfcn.h>
#include <sanitizer/asan_interface.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "launch.hpp"

// Sanitizers end the program by a signal, whose handler then says which thread it was.
extern "C" const char *__asan_default_options() { return "abort_on_error=1:detect_leaks=0:detect_stack_use_after_return=0"; }
extern "C" const char *__ubsan_default_options() { return "abort_on_error=1:print_stacktrace=1"; }

namespace {

using sml_host::fail;

void read_bytes(void *to, std::size_t bytes) {
    if (bytes != 0 && std::fread(to, 1, bytes, stdin) != bytes) fail("a job that ends early");
}
template <class T> T read() {
    T value;
    read_bytes(&value, sizeof value);
    return value;
}
std::string read_text() {
    std::string text(read<std::uint32_t>(), '\0');
    read_bytes(text.data(), text.size());
    return text;
}
template <class T> void write(const T *from, std::size_t count) {
    if (std::fwrite(from, sizeof(T), count, stdout) != count) fail("the answer cannot be written");
}

// Memory that a kernel sees as the device's.
class Buffer {
public:
    Buffer() {
        misalignment_ = read<std::uint32_t>();
        bytes_ = read<std::uint64_t>();
        answered_ = read<std::uint32_t>() != 0;
        if (misalignment_ >= alignment) fail("a buffer misaligned by %zu bytes", misalignment_);
        answered_ ? allocate() : map();
        for (std::uint32_t parts = read<std::uint32_t>(); parts > 0; --parts) {
            const std::uint64_t offset = read<std::uint64_t>();
            const std::uint32_t length = read<std::uint32_t>();
            if (offset > bytes_ || length > bytes_ - offset) fail("a part of a buffer that lies outside of it");
            read_bytes(begin() + offset, length);
        }
    }

    unsigned char *begin() const { return memory_.get() + misalignment_; }
    unsigned char *at(std::uint64_t offset) const { return memory_.get() + offset; }
    std::uint64_t bytes() const { return bytes_; }
    bool answered() const { return answered_; }

private:
    static constexpr std::size_t alignment = 256;

    void allocate() {
        void *memory = nullptr;
        if (posix_memalign(&memory, alignment, misalignment_ + bytes_) != 0) fail("no memory for %zu bytes", bytes_);
        memory_ = {static_cast<unsigned char *>(memory), [](unsigned char *begin) { std::free(begin); }};
        ASAN_POISON_MEMORY_REGION(memory, misalignment_ / 8 * 8);
    }

    // Memory that is not there until it is touched, for buffers larger than the machine.
    void map() {
        const std::size_t size = misalignment_ + bytes_, page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
        const std::size_t before_guard = (size + page - 1) / page * page;
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void *memory = mmap(nullptr, before_guard + page, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (memory == MAP_FAILED) fail("no addresses for %zu bytes", bytes_);
        mprotect(static_cast<char *>(memory) + before_guard, page, PROT_NONE);
        const auto unmap = [whole = before_guard + page](unsigned char *begin) { munmap(begin, whole); };
        memory_ = {static_cast<unsigned char *>(memory), unmap};
    }

    std::size_t misalignment_;
    std::size_t bytes_;
    bool answered_;
    std::unique_ptr<unsigned char, std::function<void(unsigned char *)>> memory_{nullptr, nullptr};
};

// A kernel in a library, loaded once.
void *symbol(const std::string &library, const std::string &name) {
    static std::map<std::string, void *> loaded;
    void *&handle = loaded[library];
    if (handle == nullptr) handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    void *found = handle == nullptr ? nullptr : dlsym(handle, name.c_str());
    if (found == nullptr) fail("%s", dlerror());
    return found;
}

void relocate(std::string &arguments, std::uint32_t pointers, const std::vector<Buffer> &buffers) {
    if (pointers * sizeof(std::uint64_t) > arguments.size()) fail("%u pointers in too small arguments", pointers);
    for (std::uint32_t i = 0; i < pointers; ++i) {
        std::uint64_t pointer;
        std::memcpy(&pointer, &arguments[8 * i], 8);
        if (pointer == 0) continue;
        const std::uint64_t number = pointer >> 40;
        if (number == 0 || number > buffers.size()) fail("pointer %u of the arguments points to no buffer", i);
        unsigned char *address = buffers[number - 1].at(pointer & ((std::uint64_t{1} << 40) - 1));
        std::memcpy(&arguments[8 * i], &address, 8);
    }
}

void read_and_run_launch(const std::vector<Buffer> &buffers) {
    const std::string library = read_text();
    sml_host::Launch launch{};
    launch.entry = read_text();
    launch.grid = read<sml_host::Index>();
    launch.block = read<sml_host::Index>();
    launch.shared_bytes = read<std::uint32_t>();
    launch.order = read<sml_host::Order>();
    launch.seed = read<std::uint64_t>();
    const std::uint32_t pointers = read<std::uint32_t>();
    std::string arguments = read_text();

    const std::size_t expected = *static_cast<std::size_t *>(symbol(library, "sml_host_bytes_" + launch.entry));
    if (arguments.size() != expected)
        fail("%zu bytes of arguments for %s, which takes %zu", arguments.size(), launch.entry.c_str(), expected);
    relocate(arguments, pointers, buffers);
    launch.arguments = arguments.data();
    launch.call = reinterpret_cast<void (*)(const void *)>(symbol(library, "sml_host_call_" + launch.entry));
    using StaticShared = void (*)(unsigned char **, unsigned char **);
    reinterpret_cast<StaticShared>(symbol(library, "sml_host_static_shared"))(
        &launch.static_shared, &launch.static_shared_end
    );
    sml_host::run(launch);
}

void run_job() {
    alarm(read<std::uint32_t>());
    std::vector<Buffer> buffers;
    const std::uint32_t buffer_count = read<std::uint32_t>();
    for (std::uint32_t i = 0; i < buffer_count; ++i) buffers.emplace_back();
    for (std::uint32_t launches = read<std::uint32_t>(); launches > 0; --launches) read_and_run_launch(buffers);
    alarm(0);
    for (const Buffer &buffer : buffers) {
        if (!buffer.answered()) continue;
        const std::uint64_t bytes = buffer.bytes();
        write(&bytes, 1);
        write(buffer.begin(), bytes);
    }
    std::fflush(stdout);
}

void on_signal(int signal) {
    constexpr char late[] = "it takes longer than it may\n";
    if (signal == SIGALRM && ::write(STDERR_FILENO, late, sizeof late - 1) < 0) _exit(1);
    sml_host::say_where();
    _exit(1);
}

} // namespace

int main() {
    signal(SIGABRT, on_signal);
    signal(SIGALRM, on_signal);
    for (int next = std::getchar(); next != EOF; next = std::getchar()) {
        std::ungetc(next, stdin);
        run_job();
    }
    std::_Exit(0);
}
