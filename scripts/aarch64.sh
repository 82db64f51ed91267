#!/usr/bin/env bash
# The CPU engine on aarch64, from another machine: compiled for it (NEON), and its golden and property tests run on an emulator.
# Needs Rust's standard library for aarch64, a cross linker and qemu-aarch64; says which of them is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=aarch64-unknown-linux-gnu
linker=aarch64-linux-gnu-gcc
features=(--no-default-features --features files,frame-loop,c-interface)

say() { printf 'aarch64: %s\n' "$*" >&2; }

if ! test -d "$("${RUSTC:-rustc}" --print target-libdir --target "$target")"; then
    say "no standard library of Rust for $target: rustup target add $target"
    exit 1
fi
say "checking ${features[*]}"
cargo check --locked --target "$target" "${features[@]}"

if ! command -v "$linker" > /dev/null || ! command -v qemu-aarch64 > /dev/null; then
    say "tests skipped: they need $linker and qemu-aarch64 (Debian: gcc-aarch64-linux-gnu, qemu-user)"
    exit 0
fi
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$linker
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
for isa in neon scalar; do
    say "golden and property tests with SML_ISA=$isa"
    # The test that is left out starts itself once for each instruction set, which an emulated program cannot.
    SML_ISA=$isa cargo test --locked --target "$target" --no-default-features --features files \
        --test golden --test properties -- --skip on_every_instruction_set
done
