#!/usr/bin/env bash
# Builds here and puts under target/gpu/ what a machine with a GPU and without Rust needs for scripts/gpu_check.sh: the
# program, the tests that need a GPU, the latency benchmark, the peers' scripts, the golden vectors and the kernels.
# That machine needs the same processor architecture, a glibc as new as this one's, and a Python with torch 2.11.0, whose
# libtorch is the one that the programs load there.
#
# A test program is taken along when its source asks for SML_REQUIRE_GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'gpu-bundle: %s\n' "$*" >&2; }

bundle=target/gpu
most_megabytes=60

# The test programs that need a GPU, one a line.
gpu_tests() {
    grep -rlF 'var_os("SML_REQUIRE_GPU")' tests --include='*.rs' | sed -E 's|^tests/([^/.]+).*|\1|' | sort -u
}

# Paths of the executables out of cargo's messages.
executables() {
    python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line) if line.startswith("{") else {}
    if message.get("reason") == "compiler-artifact" and message.get("executable"):
        print(message["target"]["kind"][0], message["target"]["name"], message["executable"])
'
}

# Copies what a cargo command builds, stripped, as KIND-NAME or just NAME.
put_programs() {
    local kind name path target
    cargo "$@" --locked --message-format=json-render-diagnostics | executables | while read -r kind name path; do
        case "$kind" in
            test) target=$bundle.new/bin/test-$name ;;
            *) target=$bundle.new/bin/$name ;;
        esac
        cp "$path" "$target"
        strip "$target"
    done
}

rm -rf "$bundle.new"
mkdir -p "$bundle.new/bin" "$bundle.new/tests" "$bundle.new/benches"
tests=()
for name in $(gpu_tests); do tests+=(--test "$name"); done
say "building the program, the benchmark and the tests:$(gpu_tests | tr "\n" " " | sed "s|^| |")"
put_programs build --release --bin sml
put_programs test --release --no-run "${tests[@]}"
put_programs bench --no-run --bench gpu_latency

cp -r tests/golden "$bundle.new/tests/"
cp -r benches/peers "$bundle.new/benches/"
rm -rf "$bundle.new/benches/peers/__pycache__"
cp -r kernels "$bundle.new/"
cp scripts/gpu_check.sh scripts/results_table.py "$bundle.new/"
{
    printf 'commit %s%s\n' "$(git rev-parse HEAD)" "$(git diff --quiet HEAD -- || echo ' with changes')"
    printf 'built %s on %s, glibc %s\n' "$(date -u +%FT%TZ)" "$(uname -m)" "$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)"
} >"$bundle.new/contents"
sums=$(cd "$bundle.new" && find . -type f ! -name contents -print0 | sort -z | xargs -0 sha256sum)
printf '%s\n' "$sums" >>"$bundle.new/contents"
rm -rf "$bundle"
mv "$bundle.new" "$bundle"

megabytes=$(du -sm "$bundle" | cut -f1)
[ "$megabytes" -le "$most_megabytes" ] || say "warning: $megabytes MB, more than $most_megabytes"
say "$bundle is ready ($megabytes MB): run $bundle/gpu_check.sh on the machine with the GPU"
