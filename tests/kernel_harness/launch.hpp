// Runs one launch of a kernel: block after block, the threads of a block as fibers.
#pragma once

#include <cstdint>
#include <string>

#include "block.hpp"

namespace sml_host {

// In which order the blocks of a grid and the threads of a block take their turns. A thread runs until it waits for
// others, a warp until it waits for the block; what a GPU would do in parallel happens one after the other, so that
// whoever reads what another thread should have written by then sees the difference in some order.
enum class Order : std::uint32_t { ascending = 0, descending = 1, random = 2 };

struct Launch {
    std::string entry;
    // Calls the kernel with the arguments behind the pointer, given by value.
    void (*call)(const void *);
    const void *arguments;
    // The library's statically allocated shared memory.
    unsigned char *static_shared, *static_shared_end;
    Index grid, block;
    std::uint32_t shared_bytes;
    Order order;
    std::uint64_t seed;
};

void run(const Launch &launch);

// Writes where the thread that runs stands, on standard error; safe in a signal handler.
void say_where();

} // namespace sml_host
