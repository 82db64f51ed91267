#!/usr/bin/env bash
# Makes a Python environment in .python/ that can import PyTorch 2.11.0 on the CPU, for tests/python_torch.rs.
#
# PyPI has that release for CUDA alone, and its wheel asks for two more gigabytes of CUDA's libraries, of which a program
# without a GPU calls nothing but the runtime, which scripts/setup.sh has fetched. The others only have to be there when
# the program is linked at its start. Small libraries that define the same names take their place here: a call of one
# would do nothing, and torch.cuda.is_available() is False as long as there is no driver. Never use it with a GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'python-env: %s\n' "$*" >&2; }
fail() { printf 'python-env: error: %s\n' "$*" >&2; exit 1; }

home=.python
runtime=${LIBTORCH:-.libtorch}/lib
packages=(filelock==3.20.0 fsspec==2025.10.0 jinja2==3.1.6 MarkupSafe==3.0.3 mpmath==1.3.0 networkx==3.4.2
    sympy==1.14.0 typing_extensions==4.15.0)

works() { "$home/bin/python" -c 'import torch; assert torch.__version__.startswith("2.11.0")' 2>/dev/null; }

# A library of the name $1 with every function that torch expects of it: those whose names match $2.
stand_in() {
    local name=$1 pattern=$2
    nm -D --undefined-only "$torch"/libtorch_{nvshmem,cuda,cuda_linalg,python}.so | awk 'NF { print $2 }' |
        grep -E "$pattern" | sort -u >"$work/symbols" || true
    sed 's/@.*//; s/.*/void &(void) {}/' "$work/symbols" | sort -u >"$work/functions.c"
    # NAME@VERSION: each version is a group of the linker's script.
    awk -F@ '$2 { of[$2] = of[$2] $1 "; " } END { for (v in of) print v " { " of[v] "};" }' \
        "$work/symbols" >"$work/versions"
    local script=()
    [ ! -s "$work/versions" ] || script=("-Wl,--version-script=$work/versions")
    cc -shared -fPIC "$work/functions.c" -o "$torch/$name" "-Wl,-soname,$name" "${script[@]}"
}

if works; then
    say "PyTorch is ready in $home"
    exit 0
fi
command -v python3 >/dev/null || fail "python3 was not found; install Python 3.10 or newer"
for library in libcudart.so.13 libcupti.so.13; do
    [ -f "$runtime/$library" ] || fail "$runtime/$library is missing; run 'make setup' first"
done
rm -rf "$home"
python3 -m venv "$home" || fail "python3 cannot make an environment; install its venv module"
say 'fetching PyTorch 2.11.0 (530 MB)'
"$home/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps torch==2.11.0 "${packages[@]}" ||
    fail 'pip could not fetch PyTorch (its message is above)'
torch=$("$home/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/torch/lib
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$runtime"/lib{cudart,cupti}.so.13 "$torch/"
stand_in libnvshmem_host.so.3 '^nvshmem'
stand_in libcublas.so.13 '^cublas[^L]'
stand_in libcublasLt.so.13 '^cublasLt'
stand_in libcudnn.so.9 '^cudnn'
stand_in libcufft.so.12 '^cufft'
stand_in libcufile.so.0 '^cuFile'
stand_in libcurand.so.10 '^curand'
stand_in libcusolver.so.12 '^cusolver'
stand_in libcusparse.so.12 '^cusparse[^L]'
stand_in libcusparseLt.so.0 '^cusparseLt'
stand_in libnccl.so.2 '^nccl'
works || fail "PyTorch does not start: $("$home/bin/python" -c 'import torch' 2>&1 | tail -1)"
say "PyTorch is ready: SML_PYTHON=$PWD/$home/bin/python"
