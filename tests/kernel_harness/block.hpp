// What a kernel on the host asks of the harness: who it is, where its block's shared memory lies, and to wait for
// others. Kernels are compiled into shared libraries that see this header (through cuda_on_host.hpp); block.cpp, in the
// driver that loads them, is behind it.
#pragma once

#include <cstdint>

namespace sml_host {

constexpr unsigned warp_size = 32;

struct Index {
    unsigned x, y, z;
};

// A place in a kernel's source where threads wait for each other.
struct Place {
    const char *what;
    const char *file;
    int line;
};

// The thread that runs, its block and its launch.
extern Index thread_index, block_index, block_size, grid_size;
extern unsigned lane;
extern unsigned char *dynamic_shared_memory;

enum class Vote { none, any, all, count };

// Waits until every thread of the block that has not ended waits at the same place. Returns the vote over `predicate`.
int wait_for_block(Vote vote, int predicate, Place place);

enum class WarpOperation { sync, shuffle, ballot, any, all, match_any };

// Waits until every lane in `mask` waits at the same place with the same mask. Returns this lane's result: for
// `shuffle` the value of lane `source`, for the others what CUDA says.
std::uint64_t wait_for_warp(
    WarpOperation operation, unsigned mask, std::uint64_t value, unsigned source, Place place
);

// Ends the whole run: says what is wrong, and in which thread of which block.
[[noreturn, gnu::format(printf, 1, 2)]] void fail(const char *format, ...);

// Makes known that a kernel uses an address that is not aligned to the size of its type.
template <class T> const T *aligned(const T *address) {
    if (reinterpret_cast<std::uintptr_t>(address) % alignof(T) != 0)
        fail("misaligned address %p for a type of %zu bytes", static_cast<const void *>(address), sizeof(T));
    return address;
}

} // namespace sml_host
