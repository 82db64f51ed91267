#!/usr/bin/env bash
# Makes the Python environment that `sml bench --peers` measures in: PyTorch 2.11.0 on the CPU (scripts/python_env.sh),
# NumPy and OpenCV, all in .python/. Runs again at no cost where everything is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'bench-env: %s\n' "$*" >&2; }
fail() { printf 'bench-env: error: %s\n' "$*" >&2; exit 1; }

home=.python
pins=scripts/bench-requirements.txt

scripts/python_env.sh
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail 'python3 is older than 3.11; install a newer one'
# Asked of the interpreter, so that a package which is there but does not load is put right too.
works() {
    "$home/bin/python" - "$pins" 2>/dev/null <<'PYTHON'
import importlib.metadata, sys
import cv2, numpy, torch
for line in open(sys.argv[1]):
    name, equals, version = line.strip().partition("==")
    if equals and importlib.metadata.version(name) != version:
        sys.exit(1)
PYTHON
}
if works; then
    say "NumPy and OpenCV are ready in $home"
    exit 0
fi
say 'fetching NumPy and OpenCV (80 MB)'
# Every package is named here: OpenCV needs nothing but NumPy.
"$home/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r "$pins" ||
    fail 'pip could not fetch NumPy and OpenCV (its message is above)'
works || fail "NumPy or OpenCV does not start: $("$home/bin/python" -c 'import cv2, numpy, torch' 2>&1 | tail -1)"
command -v g++ >/dev/null || say 'note: no g++ was found; torch.compile needs one and is left out without'
say "ready: sml bench --peers, or SML_PYTHON=$PWD/$home/bin/python"
