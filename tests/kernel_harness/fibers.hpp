// Stacks to switch between: each thread of a block runs on its own.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace sml_host {

// A stack and where it was left. Without a call to `create` it stands for the stack that the program began with.
class Fiber {
public:
    Fiber() = default;
    Fiber(const Fiber &) = delete;
    Fiber &operator=(const Fiber &) = delete;

    // Gives it a stack, with a page behind it that may not be touched; `body` must never return.
    void create(void (*body)());
    // Leaves this fiber, which must be the one that runs, for another one. Comes back when somebody switches to it.
    void switch_to(Fiber &other);

private:
    friend void begin_fiber();

    void *bottom_ = nullptr;
    std::size_t size_ = 0;
    void *fake_stack_ = nullptr;
    void (*body_)() = nullptr;
#if defined(__x86_64__)
    void *stack_pointer_ = nullptr;
#else
    ucontext_t context_{};
#endif
};

} // namespace sml_host
