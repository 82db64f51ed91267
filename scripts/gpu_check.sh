#!/usr/bin/env bash
# Checks and measures everything on a GPU, from the bundle of `make gpu-bundle` alone, in less than eight minutes:
#
#     target/gpu/gpu_check.sh [--require-gpu] [--seconds N] [OUT_DIR]        (OUT_DIR is gpu-check by default)
#
# Steps: libtorch, `sml doctor`, the tests that need a GPU (with kernels compiled there, and once more with those inside the
# programs), compute-sanitizer's four tools over small shapes, latencies, the kernels' hardware counters, the peers in
# PyTorch, and one file of results. A step that fails does not stop the others. Each has a time limit and a log in OUT_DIR
# (eight files at most); the summary is printed last and written to OUT_DIR/summary.txt. --seconds limits the whole.
# A step that this machine cannot do is skipped, with the reason. The exit code is 1 when a step failed; with
# --require-gpu (or SML_REQUIRE_GPU=1) also when one was skipped. It changes no setting of the GPU.
set -uo pipefail

bundle=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Run from scripts/, it works on the bundle of this repository.
[ -d "$bundle/bin" ] || bundle=$(cd "$bundle/.." && pwd)/target/gpu

# Seconds for everything, and for each step at most.
total=465
declare -A limit=(
    [libtorch]=40 [doctor]=30 [tests]=150 [embedded]=60 [memcheck]=80 [racecheck]=80 [synccheck]=80 [initcheck]=80
    [latency]=90 [counters]=50 [peers]=240 [results]=20
)
# Longer output of a step keeps its end only; a log holds that of four steps at most.
most_log_bytes=3500000

required=${SML_REQUIRE_GPU:-0}
fail() { printf 'gpu_check: error: %s\n' "$*" >&2; exit 2; }

# ---- what each step does; runs in a process of its own, with the variables that prepare() exports ----

# The programs find libtorch through this alone, and it is not set for anything else.
with_libtorch() {
    local libraries=$SML_CHECK_LIBRARIES${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    LD_LIBRARY_PATH=$libraries CARGO_MANIFEST_DIR=$bundle "$@"
}

step_libtorch() {
    # The Python that holds torch tells its folder; the CUDA libraries lie in wheels beside it.
    python3 - <<'PYTHON'
import glob, os, torch
home = os.path.dirname(torch.__file__)
beside = sorted(glob.glob(os.path.join(os.path.dirname(home), "nvidia", "*", "lib")))
print("libraries=" + ":".join([os.path.join(home, "lib"), *beside]))
print("version=" + torch.__version__)
print("gpu=" + (torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""))
PYTHON
}

step_doctor() {
    cat "$bundle/contents" | head -2
    if [ -n "$SML_CHECK_GPU" ]; then
        nvidia-smi 2>&1 || true
        with_libtorch "$bundle/bin/sml" doctor --device cuda:0
    else
        with_libtorch "$bundle/bin/sml" doctor
    fi
}

# Every test program, also after one failed.
step_tests() {
    local failed=0 program
    for program in "$bundle"/bin/test-*; do
        echo "== ${program##*/}"
        [ -z "$SML_CHECK_GPU" ] || export SML_REQUIRE_GPU=1
        with_libtorch "$program" --test-threads=4 --show-output --skip many_ 2>&1 || failed=1
    done
    return "$failed"
}

# The kernels inside the programs, which serve where NVRTC is missing. With them an engine is built in no time, so this
# is also where the tests run that build many.
step_embedded() {
    local failed=0 program
    for program in $(programs_with_small_tests); do
        echo "== ${program##*/}"
        SML_NO_JIT=1 SML_REQUIRE_GPU=1 with_libtorch "$program" --show-output 2>&1 || failed=1
    done
    return "$failed"
}

programs_with_small_tests() {
    local program
    for program in "$bundle"/bin/test-*; do
        with_libtorch "$program" --list small_ 2>/dev/null | grep -q ': test$' && echo "$program"
    done
}

# The tests called small_... take each kernel through odd shapes that a sanitizer can follow in seconds.
sanitize() {
    local failed=0 program
    for program in $(programs_with_small_tests); do
        echo "== $1 on ${program##*/}"
        SML_REQUIRE_GPU=1 with_libtorch compute-sanitizer --tool "$1" --error-exitcode 99 --print-limit 20 "${@:2}" \
            "$program" --test-threads=1 small_ 2>&1 || failed=1
    done
    return "$failed"
}
step_memcheck() { sanitize memcheck --leak-check no; }
step_racecheck() { sanitize racecheck; }
step_synccheck() { sanitize synccheck; }
step_initcheck() { sanitize initcheck; }

step_latency() {
    with_libtorch "$bundle/bin/gpu_latency" --json "$SML_CHECK_SCRATCH/latency.json" --frames-folder "$SML_CHECK_SCRATCH" 2>&1
}

# Counters of one frame of each form. Clocks are left as they are; caches are emptied before each kernel (the default).
step_counters() {
    local metrics=gpu__time_duration.sum,dram__bytes_read.sum,dram__bytes_write.sum
    metrics+=,dram__throughput.avg.pct_of_peak_sustained_elapsed,lts__t_bytes.sum
    metrics+=,sm__throughput.avg.pct_of_peak_sustained_elapsed,sm__warps_active.avg.pct_of_peak_sustained_active
    metrics+=,smsp__inst_executed.sum,launch__registers_per_thread,launch__shared_mem_per_block
    with_libtorch ncu --clock-control none --metrics "$metrics" --csv --page raw --print-units base \
        --kernel-name-base function --kernel-name 'regex:^(standardize|suppress|smooth|accumulate|preprocess)' \
        "$bundle/bin/gpu_latency" --once 2>&1 | tee "$SML_CHECK_SCRATCH/counters.csv" || return 1
    counters_table
}

# One line a kernel, out of the columns that are wanted.
counters_table() {
    python3 - "$SML_CHECK_SCRATCH/counters.csv" <<'PYTHON'
import csv, sys
lines = [line for line in open(sys.argv[1], encoding="utf-8") if line.startswith('"')]
rows = list(csv.DictReader(lines))[1:]
columns = [
    ("us", "gpu__time_duration.sum", 1e-3), ("read MB", "dram__bytes_read.sum", 1e-6),
    ("written MB", "dram__bytes_write.sum", 1e-6), ("DRAM %", "dram__throughput.avg.pct_of_peak_sustained_elapsed", 1),
    ("L2 MB", "lts__t_bytes.sum", 1e-6), ("SM %", "sm__throughput.avg.pct_of_peak_sustained_elapsed", 1),
    ("warps %", "sm__warps_active.avg.pct_of_peak_sustained_active", 1),
    ("M instr.", "smsp__inst_executed.sum", 1e-6), ("registers", "launch__registers_per_thread", 1),
    ("shared B", "launch__shared_mem_per_block", 1),
]
print("kernel counters, one launch a line, caches emptied before each")
print(f"{'kernel':32}" + "".join(f"{name:>11}" for name, _, _ in columns))
for row in rows:
    cells = []
    for _, metric, factor in columns:
        try:
            cells.append(f"{float(row[metric].replace(',', '')) * factor:11.1f}")
        except (KeyError, ValueError, AttributeError):
            cells.append(f"{'?':>11}")
    print(f"{row.get('Kernel Name', '?')[:31]:32}" + "".join(cells))
if not rows:
    sys.exit("ncu reported no kernel")
PYTHON
}

step_peers() {
    local ours=()
    [ ! -e "$SML_CHECK_SCRATCH/latency.json" ] || ours=(--ours "$SML_CHECK_SCRATCH")
    python3 -u "$bundle/benches/peers/run.py" --device cuda --from 1 4 8 --dtype f16 f32 --seconds 0.25 \
        --compile-until "$((SML_CHECK_LIMIT - 70))" --json "$SML_CHECK_SCRATCH/peers.json" "${ours[@]}" 2>&1
}

step_results() {
    local files=() file
    for file in "$SML_CHECK_SCRATCH"/{latency,peers}.json; do [ ! -e "$file" ] || files+=("$file"); done
    python3 "$bundle/results_table.py" merge "${files[@]}" -o "$SML_CHECK_OUT/results.json" || return 1
    python3 "$bundle/results_table.py" print "$SML_CHECK_OUT/results.json"
}

if [ "${1:-}" = --step ]; then
    "step_$2"
    exit
fi

# ---- the order of the steps, their limits and the summary ----

out=gpu-check
while [ $# -gt 0 ]; do
    case "$1" in
        --require-gpu) required=1 ;;
        --seconds)
            [[ ${2:-} =~ ^[1-9][0-9]{0,4}$ ]] || fail "--seconds takes a whole number of seconds, not '${2:-}'"
            total=$2
            shift
            ;;
        --help | -h) sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//'; exit ;;
        -*) fail "unknown option $1 (see --help)" ;;
        *) out=$1 ;;
    esac
    shift
done
[ -x "$bundle/bin/sml" ] || fail "$bundle/bin/sml is not there: run make gpu-bundle where Rust is"
mkdir -p "$out" || fail "cannot make the folder $out"
out=$(cd "$out" && pwd)
scratch=$(mktemp -d)
declare -A allowed=() started=() process=()
trap 'rm -rf "$scratch"' EXIT
trap 'kill "${process[@]}" 2>/dev/null; exit 130' INT TERM
export SML_CHECK_OUT=$out SML_CHECK_SCRATCH=$scratch SML_CHECK_LIBRARIES='' SML_CHECK_GPU=''
# Kernels are compiled here, not taken from an earlier run.
export SML_CACHE_DIR=$scratch/kernels PYTHONDONTWRITEBYTECODE=1
rm -f "$out"/{libtorch,doctor,tests,sanitizer,latency,counters,peers}.log "$out"/{results.json,summary.txt}

summary=() failures=0 skips=0 began=$SECONDS

note() { summary+=("$(printf '%-10s %-7s %5s  %s' "$1" "$2" "$3" "$4")"); }

skip() {
    note "$1" skipped '' "$2"
    skips=$((skips + 1))
    printf 'gpu_check: %s is skipped: %s\n' "$1" "$2" >&2
}

# begin NAME: starts a step in the background, with its limit or what is left of the whole. False if nothing is left.
begin() {
    local left=$((total - (SECONDS - began)))
    allowed[$1]=$((limit[$1] < left ? limit[$1] : left))
    if [ "${allowed[$1]}" -lt 3 ]; then
        note "$1" FAILED '' "no time was left (the whole may take $total s)"
        failures=$((failures + 1))
        return 1
    fi
    printf 'gpu_check: %s (at most %s s)\n' "$1" "${allowed[$1]}" >&2
    started[$1]=$SECONDS
    SML_CHECK_LIMIT=${allowed[$1]} timeout -k 5 "${allowed[$1]}" bash "${BASH_SOURCE[0]}" --step "$1" \
        >"$scratch/$1.log" 2>&1 </dev/null &
    process[$1]=$!
}

# finish NAME LOG: waits for it, adds its output to the log, and notes how it went.
finish() {
    local code=0 took
    wait "${process[$1]}" || code=$?
    took="$((SECONDS - started[$1])) s"
    tail -c "$most_log_bytes" "$scratch/$1.log" >>"$out/$2"
    case $code in
        0) note "$1" ok "$took" ''; return 0 ;;
        124 | 137) note "$1" FAILED "$took" "stopped at its limit of ${allowed[$1]} s; see $2" ;;
        *) note "$1" FAILED "$took" "exit code $code; see $2: $(last_line "$scratch/$1.log")" ;;
    esac
    failures=$((failures + 1))
    return 1
}

step() { begin "$1" && finish "$1" "$2"; }

last_line() { grep -v '^[[:space:]]*$' "$1" | tail -n 1 | cut -c 1-120; }
value() { sed -n "s/^$1=//p" "$out/doctor.log" | tail -n 1; }

# libtorch and doctor share a log, as the sanitizer's tools do: at most eight files come out of a run.
find_libtorch() {
    if ! command -v python3 >/dev/null; then
        skip libtorch 'there is no python3'
        return
    fi
    if ! python3 -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; then
        skip libtorch 'python3 has no torch'
        return
    fi
    step libtorch doctor.log || return
    SML_CHECK_LIBRARIES=$(value libraries)
    SML_CHECK_GPU=$(value gpu)
    summary[-1]+="torch $(value version), GPU: ${SML_CHECK_GPU:-none}"
}

passed() { grep -h '^test result' "$out/tests.log" | awk '{ n += $4; f += $6 } END { printf "%d passed, %d failed", n, f }'; }

run_tests() {
    step tests tests.log
    [ -f "$out/tests.log" ] && summary[-1]+=" ($(passed))"
    if [ -z "$SML_CHECK_GPU" ]; then
        skip 'GPU tests' "no GPU: the programs start, and $(grep -c '^skipped' "$out/tests.log") times a test said that it skips"
    fi
}

# Whether a step that needs the GPU (and a tool) can be run; else says why not.
possible() {
    if [ -z "$SML_CHECK_GPU" ]; then skip "$1" 'torch sees no GPU'; return 1; fi
    if [ -n "${2:-}" ] && ! command -v "$2" >/dev/null; then skip "$1" "no $2 on the PATH"; return 1; fi
}

find_libtorch
step doctor doctor.log
run_tests
possible embedded && step embedded tests.log
# Nothing is timed yet, so the four tools run side by side.
tools=()
for tool in memcheck racecheck synccheck initcheck; do
    possible "$tool" compute-sanitizer && begin "$tool" && tools+=("$tool")
done
for tool in "${tools[@]}"; do finish "$tool" sanitizer.log; done
possible latency && step latency latency.log
possible counters ncu && step counters counters.log
possible peers && step peers peers.log
possible results && step results summary.txt

for log in latency counters peers; do
    [ ! -f "$out/$log.log" ] || { printf -- '---- end of %s.log\n' "$log"; tail -n 60 "$out/$log.log"; }
done
[ ! -f "$out/summary.txt" ] || cat "$out/summary.txt"
{
    printf '%s\n' "---- $(head -n 1 "$bundle/contents" 2>/dev/null), $((SECONDS - began)) s in all, logs in $out"
    printf '%s\n' "${summary[@]}"
} | tee -a "$out/summary.txt"
[ "$failures" -eq 0 ] || exit 1
[ "$required" != 1 ] || [ "$skips" -eq 0 ] || { echo 'gpu_check: a step was skipped and a GPU is required' >&2; exit 1; }
