// The threads of a block: who runs next, and who waits for whom.
//
// The scheduler switches to a thread; the thread comes back when it waits or ends. When no lane of a warp can go on,
// the warp's operations whose lanes have all arrived are done and these lanes go on; when no warp of the block can, the
// block's barrier is opened if every thread that has not ended waits at the same one. If it is not, the threads would
// wait for ever (or, on a GPU, do something undefined), which ends the run with a list of who waits where.

#include "block.hpp"

#include <sanitizer/asan_interface.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "fibers.hpp"
#include "launch.hpp"

namespace sml_host {

Index thread_index, block_index, block_size, grid_size;
unsigned lane;
unsigned char *dynamic_shared_memory;

namespace {

constexpr unsigned most_threads = 1024;
// Shared memory of a block on the largest GPU of today (sm_90 and sm_100).
constexpr std::uint32_t most_shared_bytes = 227 << 10;

enum class State : std::uint8_t { ready, at_block_barrier, at_warp_operation, ended };

struct Thread {
    Fiber fiber;
    Index index;
    State state;
    Place place;
    Vote vote;
    WarpOperation operation;
    unsigned mask;
    unsigned source;
    // What it brings to the place where it waits; then what it takes away.
    std::uint64_t value;
};

Fiber scheduler;
Thread threads[most_threads];
unsigned created = 0, thread_count = 0;
Thread *current = nullptr;
const Launch *launched = nullptr;

// Numbers that differ with the seed (splitmix64).
std::uint64_t random_state;
unsigned random_below(unsigned bound) {
    std::uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return static_cast<unsigned>((z ^ (z >> 31)) % bound);
}

void arrange(std::vector<unsigned> &numbers, Order order) {
    for (unsigned i = 0; i < numbers.size(); ++i)
        numbers[i] = order == Order::descending ? static_cast<unsigned>(numbers.size()) - 1 - i : i;
    if (order == Order::random)
        for (unsigned i = static_cast<unsigned>(numbers.size()); i > 1; --i)
            std::swap(numbers[i - 1], numbers[random_below(i)]);
}

void thread_body() {
    for (;;) {
        launched->call(launched->arguments);
        current->state = State::ended;
        current->fiber.switch_to(scheduler);
    }
}

void resume(Thread &thread) {
    current = &thread;
    thread_index = thread.index;
    lane = static_cast<unsigned>(&thread - threads) % warp_size;
    scheduler.switch_to(thread.fiber);
}

void wait(State state) {
    Thread &self = *current;
    self.state = state;
    self.fiber.switch_to(scheduler);
}

bool same(const Place &a, const Place &b) {
    return a.line == b.line && std::strcmp(a.what, b.what) == 0 && std::strcmp(a.file, b.file) == 0;
}

// The lanes of a warp.
struct Warp {
    Thread *lanes;
    unsigned size;

    bool in_place(unsigned i, const Thread &like) const {
        return i < size && lanes[i].state == State::at_warp_operation && lanes[i].mask == like.mask &&
               same(lanes[i].place, like.place);
    }

    // Does the operation that lane `i` waits for, if all of its lanes have arrived.
    bool release(unsigned i) const {
        const unsigned mask = lanes[i].mask;
        for (unsigned j = 0; j < warp_size; ++j)
            if ((mask >> j & 1) != 0 && !in_place(j, lanes[i])) return false;
        std::uint64_t before[warp_size] = {};
        unsigned votes = 0;
        for (unsigned j = 0; j < size; ++j) {
            before[j] = lanes[j].value;
            if ((mask >> j & 1) != 0 && before[j] != 0) votes |= 1u << j;
        }
        for (unsigned j = 0; j < size; ++j) {
            if ((mask >> j & 1) == 0) continue;
            lanes[j].value = result(lanes[j], before, votes);
            lanes[j].state = State::ready;
        }
        return true;
    }

    static std::uint64_t result(const Thread &thread, const std::uint64_t *values, unsigned votes) {
        switch (thread.operation) {
        case WarpOperation::sync: return 0;
        case WarpOperation::shuffle:
            // What a lane outside the mask holds is undefined.
            return (thread.mask >> thread.source & 1) != 0 ? values[thread.source] : ~std::uint64_t{0};
        case WarpOperation::ballot: return votes;
        case WarpOperation::any: return votes != 0;
        case WarpOperation::all: return votes == thread.mask;
        case WarpOperation::match_any: break;
        }
        std::uint64_t equal = 0;
        for (unsigned j = 0; j < warp_size; ++j)
            if ((thread.mask >> j & 1) != 0 && values[j] == thread.value) equal |= std::uint64_t{1} << j;
        return equal;
    }

    bool release_any() const {
        bool released = false;
        for (unsigned i = 0; i < size; ++i)
            if (lanes[i].state == State::at_warp_operation) released |= release(i);
        return released;
    }

    bool step(const std::vector<unsigned> &lane_order) const {
        bool progress = false;
        for (unsigned i : lane_order)
            if (i < size && lanes[i].state == State::ready) {
                resume(lanes[i]);
                progress = true;
            }
        return progress;
    }
};

void say_waiting() {
    bool said[most_threads] = {};
    for (unsigned i = 0; i < thread_count; ++i) {
        const Thread &thread = threads[i];
        if (said[i]) continue;
        unsigned count = 0;
        for (unsigned j = i; j < thread_count; ++j) {
            const Thread &other = threads[j];
            const bool alike = other.state == thread.state &&
                               (thread.state == State::ended ||
                                (same(other.place, thread.place) &&
                                 (thread.state != State::at_warp_operation || other.mask == thread.mask)));
            if (alike) said[j] = true, ++count;
        }
        const Index at = thread.index;
        std::fprintf(stderr, "  %u threads, the first of them (%u, %u, %u), ", count, at.x, at.y, at.z);
        if (thread.state == State::ended) {
            std::fprintf(stderr, "have ended\n");
            continue;
        }
        std::fprintf(stderr, "wait at %s, %s:%d", thread.place.what, thread.place.file, thread.place.line);
        if (thread.state == State::at_warp_operation) std::fprintf(stderr, ", mask 0x%08x", thread.mask);
        std::fprintf(stderr, "\n");
    }
}

[[noreturn]] void fail_for_ever_waiting() {
    std::fprintf(
        stderr, "kernel %s, block (%u, %u, %u): its threads wait at different places, and none can go on:\n",
        launched->entry.c_str(), block_index.x, block_index.y, block_index.z
    );
    say_waiting();
    std::_Exit(1);
}

// Opens the block's barrier. False when every thread has ended.
bool open_block_barrier() {
    const Thread *first = nullptr;
    int count = 0, live = 0;
    for (unsigned i = 0; i < thread_count; ++i) {
        const Thread &thread = threads[i];
        if (thread.state == State::ended) continue;
        if (first == nullptr) first = &thread;
        if (thread.state != State::at_block_barrier || !same(thread.place, first->place)) fail_for_ever_waiting();
        ++live;
        count += thread.value != 0;
    }
    for (unsigned i = 0; i < thread_count; ++i) {
        Thread &thread = threads[i];
        if (thread.state == State::ended) continue;
        thread.state = State::ready;
        switch (thread.vote) {
        case Vote::none: thread.value = 0; break;
        case Vote::any: thread.value = count != 0; break;
        case Vote::all: thread.value = count == live; break;
        case Vote::count: thread.value = static_cast<std::uint64_t>(count); break;
        }
    }
    return first != nullptr;
}

void run_block(Order order, std::vector<unsigned> &warp_order, std::vector<unsigned> &lane_order) {
    for (unsigned i = 0; i < thread_count; ++i) threads[i].state = State::ready;
    do {
        bool progress = true;
        while (progress) {
            progress = false;
            arrange(warp_order, order);
            for (unsigned w : warp_order) {
                const unsigned begin = w * warp_size;
                const Warp warp = {threads + begin, std::min(warp_size, thread_count - begin)};
                bool again = true;
                while (again) {
                    arrange(lane_order, order);
                    again = warp.step(lane_order);
                    again |= warp.release_any();
                    progress |= again;
                    // In random order warps get ahead of each other by random distances.
                    if (order == Order::random && random_below(4) == 0) break;
                }
            }
        }
    } while (open_block_barrier());
}

// Shared memory begins as bytes that make NaN of every float type, or a number larger than any real one.
void poison(unsigned char *begin, unsigned char *end, unsigned char pattern) {
    // Not a call of memset: the red zones between static arrays are written too.
    for (volatile unsigned char *byte = begin; byte != end; ++byte) *byte = pattern;
}

// Dynamic shared memory of exactly the size that the launch asks for, aligned to 16 bytes and to no more.
struct DynamicShared {
    explicit DynamicShared(std::uint32_t bytes) {
        if (posix_memalign(&memory, 32, 16 + std::size_t{bytes}) != 0) fail("no memory for %u bytes", bytes);
        ASAN_POISON_MEMORY_REGION(memory, 16);
        dynamic_shared_memory = static_cast<unsigned char *>(memory) + 16;
    }
    ~DynamicShared() { std::free(memory); }

    void *memory = nullptr;
};

void prepare_threads(Index block) {
    thread_count = block.x * block.y * block.z;
    for (; created < thread_count; ++created) threads[created].fiber.create(thread_body);
    for (unsigned i = 0; i < thread_count; ++i)
        threads[i].index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
}

} // namespace

int wait_for_block(Vote vote, int predicate, Place place) {
    Thread &self = *current;
    self.vote = vote;
    self.value = predicate != 0;
    self.place = place;
    wait(State::at_block_barrier);
    return static_cast<int>(self.value);
}

std::uint64_t wait_for_warp(
    WarpOperation operation, unsigned mask, std::uint64_t value, unsigned source, Place place
) {
    if ((mask >> lane & 1) == 0) fail("%s at %s:%d: lane %u is not in mask 0x%08x", place.what, place.file, place.line, lane, mask);
    Thread &self = *current;
    self.operation = operation;
    self.mask = mask;
    self.value = value;
    self.source = source;
    self.place = place;
    wait(State::at_warp_operation);
    return self.value;
}

void say_where() {
    char text[256];
    const Index t = thread_index, b = block_index;
    const int length = std::snprintf(
        text, sizeof text, "in kernel %s, block (%u, %u, %u), thread (%u, %u, %u)\n",
        launched == nullptr ? "none" : launched->entry.c_str(), b.x, b.y, b.z, t.x, t.y, t.z
    );
    if (write(STDERR_FILENO, text, static_cast<std::size_t>(std::min(length, 255))) < 0) return;
}

void fail(const char *format, ...) {
    std::va_list values;
    va_start(values, format);
    std::vfprintf(stderr, format, values);
    va_end(values);
    std::fputc('\n', stderr);
    say_where();
    std::_Exit(1);
}

void run(const Launch &launch) {
    launched = &launch;
    const std::uint64_t block_threads = std::uint64_t{launch.block.x} * launch.block.y * launch.block.z;
    const std::uint64_t blocks = std::uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
    if (block_threads == 0 || block_threads > most_threads)
        fail("a block of %llu threads", static_cast<unsigned long long>(block_threads));
    if (blocks == 0 || blocks > 0x7fffffff || launch.grid.y > 65535 || launch.grid.z > 65535)
        fail("a grid of %u x %u x %u blocks", launch.grid.x, launch.grid.y, launch.grid.z);
    if (launch.shared_bytes > most_shared_bytes) fail("%u bytes of shared memory", launch.shared_bytes);

    random_state = launch.seed;
    block_size = launch.block;
    grid_size = launch.grid;
    prepare_threads(launch.block);
    const DynamicShared shared(launch.shared_bytes);
    std::vector<unsigned> block_order(blocks), warp_order((thread_count + warp_size - 1) / warp_size);
    std::vector<unsigned> lane_order(warp_size);
    arrange(block_order, launch.order);
    const unsigned char pattern = launch.seed % 2 == 0 ? 0xff : 0x7f;
    for (unsigned b : block_order) {
        block_index = {b % launch.grid.x, b / launch.grid.x % launch.grid.y, b / launch.grid.x / launch.grid.y};
        poison(dynamic_shared_memory, dynamic_shared_memory + launch.shared_bytes, pattern);
        poison(launch.static_shared, launch.static_shared_end, pattern);
        run_block(launch.order, warp_order, lane_order);
    }
    launched = nullptr;
}

} // namespace sml_host
