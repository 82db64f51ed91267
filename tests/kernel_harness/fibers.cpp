// Switching stacks. On x86-64 a few instructions save what a called function must preserve; elsewhere POSIX's contexts
// do the same, more slowly. AddressSanitizer is told of every switch.

#include "fibers.hpp"

#include <sanitizer/common_interface_defs.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace sml_host {

namespace {

// Enough for a kernel and for a sanitizer's report from it; pages that are not touched take no memory.
constexpr std::size_t stack_bytes = 256 << 10;

Fiber *running = nullptr;
Fiber *left = nullptr;

} // namespace

#if defined(__x86_64__)
extern "C" void sml_host_switch(void **leave, void *enter);
asm(R"(
    .text
    .globl sml_host_switch
    .type sml_host_switch, @function
sml_host_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size sml_host_switch, . - sml_host_switch
)");
#endif

// Where a fiber's stack begins. The first to be switched to learns where the program's own stack lies.
void begin_fiber() {
    const void *bottom = nullptr;
    std::size_t size = 0;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
    if (left->bottom_ == nullptr) {
        left->bottom_ = const_cast<void *>(bottom);
        left->size_ = size;
    }
    running->body_();
    std::abort();
}

void Fiber::create(void (*body)()) {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *memory = mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) {
        std::perror("no memory for a thread's stack");
        std::exit(1);
    }
    bottom_ = static_cast<char *>(memory) + page;
    size_ = stack_bytes;
    body_ = body;
#if defined(__x86_64__)
    // As if `begin_fiber` had been called: its return address (none, which ends a stack trace) lies where the calling
    // convention wants it, 8 bytes below a multiple of 16, and below it what `sml_host_switch` pops.
    void **top = reinterpret_cast<void **>(static_cast<char *>(bottom_) + size_);
    top[-2] = reinterpret_cast<void *>(&begin_fiber);
    stack_pointer_ = top - 8;
#else
    getcontext(&context_);
    context_.uc_stack.ss_sp = bottom_;
    context_.uc_stack.ss_size = size_;
    makecontext(&context_, begin_fiber, 0);
#endif
}

void Fiber::switch_to(Fiber &other) {
    left = this;
    running = &other;
    __sanitizer_start_switch_fiber(&fake_stack_, other.bottom_, other.size_);
#if defined(__x86_64__)
    sml_host_switch(&stack_pointer_, other.stack_pointer_);
#else
    swapcontext(&context_, &other.context_);
#endif
    __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
}

} // namespace sml_host
