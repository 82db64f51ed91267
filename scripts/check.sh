#!/usr/bin/env bash
# Format, lints and documentation, with every combination of features that is built: nothing may warn.
# Builds in release, so that its work is shared with everything else; libtorch must be set up (scripts/setup.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'check: %s\n' "$*" >&2; }

say 'format'
cargo fmt --all --check

check() {
    say "lints (${*:-default features})"
    cargo clippy --quiet --release --all-targets "$@" -- -D warnings
    say "documentation (${*:-default features})"
    RUSTDOCFLAGS='-D warnings' cargo doc --quiet --release --no-deps "$@"
}

check --no-default-features
for features in files cli cuda torch cli,cuda cli,torch c-interface c-interface,cuda; do
    check --no-default-features --features "$features"
done
# Last, so that target/doc is left with the documentation of the whole.
check
say 'all is well'
