// CUDA C++ for the system's compiler, as far as kernels/ use it: included before each kernel file by the execution
// harness. Every intrinsic is an exact twin of the device's: same result to the last bit. What waits for other threads
// goes to block.hpp.
#pragma once

#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "block.hpp"

// Keywords

// The attribute is what compiler.rs knows kernels by.
#define __global__ __attribute__((used))
#define __device__
#define __host__
#define __constant__ static const
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

// Static shared memory is all that a kernel's library has of memory that is writable and zero at first: the harness finds it
// by that, and fills it anew for every block.
#define SML_HOST_SHARED static
inline void *sml_host_dynamic_shared() { return sml_host::dynamic_shared_memory; }

// Built-in variables

#define threadIdx (sml_host::thread_index)
#define blockIdx (sml_host::block_index)
#define blockDim (sml_host::block_size)
#define gridDim (sml_host::grid_size)
constexpr int warpSize = sml_host::warp_size;

// Vector types

#define SML_HOST_VECTORS(T, name, alignment2, alignment4)                                                              \
    struct alignas(alignment2) name##2 { T x, y; };                                                                    \
    struct name##3 { T x, y, z; };                                                                                     \
    struct alignas(alignment4) name##4 { T x, y, z, w; };                                                              \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                                         \
    inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                                                 \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
SML_HOST_VECTORS(signed char, char, 2, 4)
SML_HOST_VECTORS(unsigned char, uchar, 2, 4)
SML_HOST_VECTORS(short, short, 4, 8)
SML_HOST_VECTORS(unsigned short, ushort, 4, 8)
SML_HOST_VECTORS(int, int, 8, 16)
SML_HOST_VECTORS(unsigned int, uint, 8, 16)
SML_HOST_VECTORS(float, float, 8, 16)
SML_HOST_VECTORS(long long, longlong, 16, 16)
SML_HOST_VECTORS(unsigned long long, ulonglong, 16, 16)
SML_HOST_VECTORS(double, double, 16, 16)
#undef SML_HOST_VECTORS

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

// Memory

template <class T> T __ldg(const T *address) { return *sml_host::aligned(address); }
template <class T> T __ldcs(const T *address) { return *sml_host::aligned(address); }
template <class T> T __ldcg(const T *address) { return *sml_host::aligned(address); }
template <class T> T __ldca(const T *address) { return *sml_host::aligned(address); }
template <class T> T __ldlu(const T *address) { return *sml_host::aligned(address); }
template <class T> void __stcs(T *address, T value) { *const_cast<T *>(sml_host::aligned(address)) = value; }
template <class T> void __stcg(T *address, T value) { *const_cast<T *>(sml_host::aligned(address)) = value; }
template <class T> void __stwb(T *address, T value) { *const_cast<T *>(sml_host::aligned(address)) = value; }

// One thread runs at a time, so plain memory is atomic and in order.
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T, class U> T atomicAdd(T *address, U value) {
    const T old = *address;
    *address = static_cast<T>(old + static_cast<T>(value));
    return old;
}
template <class T, class U> T atomicExch(T *address, U value) {
    const T old = *address;
    *address = static_cast<T>(value);
    return old;
}
template <class T, class U> T atomicMax(T *address, U value) {
    const T old = *address;
    if (static_cast<T>(value) > old) *address = static_cast<T>(value);
    return old;
}
template <class T, class U> T atomicMin(T *address, U value) {
    const T old = *address;
    if (static_cast<T>(value) < old) *address = static_cast<T>(value);
    return old;
}
template <class T, class U> T atomicOr(T *address, U value) {
    const T old = *address;
    *address = old | static_cast<T>(value);
    return old;
}
template <class T, class U> T atomicAnd(T *address, U value) {
    const T old = *address;
    *address = old & static_cast<T>(value);
    return old;
}
template <class T, class U, class V> T atomicCAS(T *address, U compare, V value) {
    const T old = *address;
    if (old == static_cast<T>(compare)) *address = static_cast<T>(value);
    return old;
}
inline unsigned atomicInc(unsigned *address, unsigned limit) {
    const unsigned old = *address;
    *address = old >= limit ? 0 : old + 1;
    return old;
}

// Barriers and warps. The default arguments are the place in the kernel's source that the call stands at.

#define SML_HOST_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(SML_HOST_PLACE) {
    sml_host::wait_for_block(sml_host::Vote::none, 0, {"__syncthreads", file, line});
}
inline int __syncthreads_or(int predicate, SML_HOST_PLACE) {
    return sml_host::wait_for_block(sml_host::Vote::any, predicate, {"__syncthreads_or", file, line});
}
inline int __syncthreads_and(int predicate, SML_HOST_PLACE) {
    return sml_host::wait_for_block(sml_host::Vote::all, predicate, {"__syncthreads_and", file, line});
}
inline int __syncthreads_count(int predicate, SML_HOST_PLACE) {
    return sml_host::wait_for_block(sml_host::Vote::count, predicate, {"__syncthreads_count", file, line});
}

inline void __syncwarp(unsigned mask = 0xffffffff, SML_HOST_PLACE) {
    sml_host::wait_for_warp(sml_host::WarpOperation::sync, mask, 0, 0, {"__syncwarp", file, line});
}
inline unsigned __ballot_sync(unsigned mask, int predicate, SML_HOST_PLACE) {
    return static_cast<unsigned>(sml_host::wait_for_warp(
        sml_host::WarpOperation::ballot, mask, predicate != 0, 0, {"__ballot_sync", file, line}
    ));
}
inline int __any_sync(unsigned mask, int predicate, SML_HOST_PLACE) {
    return static_cast<int>(sml_host::wait_for_warp(
        sml_host::WarpOperation::any, mask, predicate != 0, 0, {"__any_sync", file, line}
    ));
}
inline int __all_sync(unsigned mask, int predicate, SML_HOST_PLACE) {
    return static_cast<int>(sml_host::wait_for_warp(
        sml_host::WarpOperation::all, mask, predicate != 0, 0, {"__all_sync", file, line}
    ));
}
template <class T> unsigned __match_any_sync(unsigned mask, T value, SML_HOST_PLACE) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    return static_cast<unsigned>(sml_host::wait_for_warp(
        sml_host::WarpOperation::match_any, mask, bits, 0, {"__match_any_sync", file, line}
    ));
}
// CUDA promises no more than that a thread itself is among the active ones.
inline unsigned __activemask() { return 1u << sml_host::lane; }

namespace sml_host {

template <class T> T shuffle(unsigned mask, T value, unsigned source, Place place) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA shuffles 4 or 8 bytes");
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = wait_for_warp(WarpOperation::shuffle, mask, bits, source, place);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

} // namespace sml_host

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32, SML_HOST_PLACE) {
    const unsigned within = static_cast<unsigned>(width) - 1;
    const unsigned from = (sml_host::lane & ~within) | (static_cast<unsigned>(source) & within);
    return sml_host::shuffle(mask, value, from, {"__shfl_sync", file, line});
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SML_HOST_PLACE) {
    const unsigned within = static_cast<unsigned>(width) - 1, position = sml_host::lane & within;
    const unsigned from = position < delta ? sml_host::lane : sml_host::lane - delta;
    return sml_host::shuffle(mask, value, from, {"__shfl_up_sync", file, line});
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SML_HOST_PLACE) {
    const unsigned within = static_cast<unsigned>(width) - 1, position = sml_host::lane & within;
    const unsigned from = position + delta > within ? sml_host::lane : sml_host::lane + delta;
    return sml_host::shuffle(mask, value, from, {"__shfl_down_sync", file, line});
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, SML_HOST_PLACE) {
    const unsigned from = sml_host::lane ^ static_cast<unsigned>(bits);
    const bool inside = (from & ~(static_cast<unsigned>(width) - 1)) <= sml_host::lane;
    return sml_host::shuffle(mask, value, inside ? from : sml_host::lane, {"__shfl_xor_sync", file, line});
}

// Arithmetic. The compiler is told not to fuse multiplications and additions, as NVRTC is (--fmad=false).

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }

#define SML_HOST_MIN_MAX(T)                                                                                            \
    constexpr T min(T a, T b) { return b < a ? b : a; }                                                                \
    constexpr T max(T a, T b) { return a < b ? b : a; }
SML_HOST_MIN_MAX(int)
SML_HOST_MIN_MAX(unsigned)
SML_HOST_MIN_MAX(long)
SML_HOST_MIN_MAX(unsigned long)
SML_HOST_MIN_MAX(long long)
SML_HOST_MIN_MAX(unsigned long long)
#undef SML_HOST_MIN_MAX

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __popcll(unsigned long long bits) { return __builtin_popcountll(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __ffsll(long long bits) { return __builtin_ffsll(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits)); }
inline int __clzll(long long bits) { return bits == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(bits)); }
inline unsigned __brev(unsigned bits) {
    unsigned reversed = 0;
    for (int i = 0; i < 32; ++i) reversed |= (bits >> i & 1) << (31 - i);
    return reversed;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<std::uint64_t>(a) * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    const std::uint64_t both = static_cast<std::uint64_t>(high) << 32 | low;
    return static_cast<unsigned>(both << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    const std::uint64_t both = static_cast<std::uint64_t>(high) << 32 | low;
    return static_cast<unsigned>(both >> (shift & 31));
}
// Four bytes out of eight: each nibble of `selector` names one; its top bit asks for the byte's sign in every bit.
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    const std::uint64_t both = static_cast<std::uint64_t>(high) << 32 | low;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) {
        const unsigned nibble = selector >> (4 * i) & 0xf;
        const unsigned byte = static_cast<unsigned>(both >> (8 * (nibble & 7))) & 0xff;
        const unsigned picked = nibble < 8 ? byte : (byte & 0x80) != 0 ? 0xff : 0;
        result |= picked << (8 * i);
    }
    return result;
}

namespace sml_host {

template <class To, class From> To same_bits(From value) {
    static_assert(sizeof(To) == sizeof(From), "bits are kept");
    To result;
    std::memcpy(&result, &value, sizeof result);
    return result;
}

} // namespace sml_host

inline unsigned __float_as_uint(float value) { return sml_host::same_bits<unsigned>(value); }
inline float __uint_as_float(unsigned bits) { return sml_host::same_bits<float>(bits); }
inline int __float_as_int(float value) { return sml_host::same_bits<int>(value); }
inline float __int_as_float(int bits) { return sml_host::same_bits<float>(bits); }
inline long long __double_as_longlong(double value) { return sml_host::same_bits<long long>(value); }
inline double __longlong_as_double(long long bits) { return sml_host::same_bits<double>(bits); }

inline int __float2int_rn(float value) { return static_cast<int>(std::nearbyint(value)); }
inline int __float2int_rz(float value) { return static_cast<int>(value); }
inline int __float2int_rd(float value) { return static_cast<int>(std::floor(value)); }

[[noreturn]] inline void __trap(SML_HOST_PLACE) { sml_host::fail("__trap at %s:%d", file, line); }

#undef SML_HOST_PLACE

// What compiler.rs puts behind a kernel file, for the driver: each kernel, called with its one argument by value.

namespace sml_host {

template <class Arguments> void call(void (*kernel)(Arguments), const void *bytes) {
    Arguments arguments;
    std::memcpy(&arguments, bytes, sizeof arguments);
    kernel(arguments);
}
template <class Arguments> constexpr std::size_t argument_bytes(void (*)(Arguments)) { return sizeof(Arguments); }

} // namespace sml_host

// Begin and end of the library's memory that is zero at first.
extern "C" __attribute__((visibility("hidden"))) unsigned char __bss_start[], _end[];
extern "C" __attribute__((visibility("default"), used)) inline void
sml_host_static_shared(unsigned char **begin, unsigned char **end) {
    *begin = __bss_start;
    *end = _end;
}
