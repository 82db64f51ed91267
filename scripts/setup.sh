#!/usr/bin/env bash
# Fetches what the build needs and this machine lacks: libtorch 2.11.0, the CUDA 13.0 runtime it loads, and NVRTC,
# from pinned Python wheels into .libtorch/ inside this clone. Runs again at no cost: what is complete is verified
# and kept, a wheel that arrived whole is not fetched twice, and nothing half-unpacked ever carries the final name.
# LIBTORCH set in the environment wins: then nothing is fetched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

pins=scripts/libtorch-requirements.txt
home=.libtorch
needed_megabytes=2500

use_given_libtorch() {
    [ -d "$LIBTORCH/lib" ] && [ -d "$LIBTORCH/include" ] ||
        fail "LIBTORCH=$LIBTORCH holds no lib/ and include/; point it at a libtorch 2.11.0, or unset it to fetch one"
    say "LIBTORCH is set: using $LIBTORCH"
}

is_complete() {
    [ -f "$home/checksums" ] && [ -f "$home/pins" ] && cmp -s "$pins" "$home/pins" &&
        (cd "$home" && sha256sum --check --quiet --status checksums)
}

check_machine() {
    [ "$(uname -s)" = Linux ] || fail "only Linux is set up by this script; set LIBTORCH to a libtorch 2.11.0 instead"
    case "$(uname -m)" in
        x86_64 | aarch64) ;;
        *) fail "no libtorch wheel exists for $(uname -m); set LIBTORCH to a libtorch 2.11.0 that you built" ;;
    esac
    command -v cargo >/dev/null || fail "cargo was not found; install Rust with rustup"
    command -v c++ >/dev/null || command -v g++ >/dev/null ||
        fail "no C++ compiler was found; install one (Debian and Ubuntu: apt-get install g++)"
    command -v python3 >/dev/null || fail "python3 was not found; install Python 3.9 or newer with pip"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' || fail "python3 is older than 3.9; install a newer one"
    python3 -m pip --version >/dev/null 2>&1 ||
        fail "python3 has no pip; install it (Debian and Ubuntu: apt-get install python3-pip)"
    local free
    free=$(df -Pm . | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$needed_megabytes" ] ||
        fail "$free MB are free on this disk and $needed_megabytes MB are needed; free some, or move the clone"
}

# pip checks the pinned digests; one wheel a call, so that an interrupted run keeps those that arrived.
fetch_wheels() {
    local machine pin platforms=()
    machine=$(uname -m)
    for glibc in 2_28 2_27 2_25 2_17 2_12; do platforms+=(--platform "manylinux_${glibc}_$machine"); done
    platforms+=(--platform "manylinux2014_$machine" --platform "manylinux2010_$machine")
    mkdir -p "$home/wheels"
    local one="$home/one-wheel.txt"
    for pin in $(sed -n 's/^\([a-z0-9-]*==[0-9.]*\) .*/\1/p' "$pins"); do
        say "fetching $pin (kept if it is here already)"
        awk -v pin="$pin" '/^[a-z]/ { on = ($1 == pin) } /^[ a-z]/ && on' "$pins" >"$one"
        python3 -m pip download --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
            --python-version 3.12 --implementation cp "${platforms[@]}" \
            --dest "$home/wheels" --requirement "$one" >&2 ||
            fail "pip could not fetch $pin (its message is above); check the network and the disk, then run this again"
    done
    rm -f "$one"
}

unpack_wheels() {
    rm -rf "$home/unpacked" "$home/lib" "$home/include" "$home/build-version" "$home/checksums" "$home/pins"
    python3 scripts/unpack_wheels.py "$home/wheels" "$home/unpacked" ||
        fail "a wheel could not be unpacked (message above); delete $home and run this again"
    mv "$home/unpacked/lib" "$home/unpacked/include" "$home/unpacked/build-version" "$home/"
    rmdir "$home/unpacked"
    # The pins are written last: without them a later run starts over from the wheels.
    (cd "$home" && sha256sum build-version lib/* >checksums.new && mv checksums.new checksums)
    cp "$pins" "$home/pins.new" && mv "$home/pins.new" "$home/pins"
    rm -rf "$home/wheels"
}

if [ -n "${LIBTORCH:-}" ]; then
    use_given_libtorch
elif is_complete; then
    say "libtorch 2.11.0 is complete in $home"
else
    check_machine
    say "fetching libtorch 2.11.0 and CUDA 13.0's runtime and NVRTC into $home (about 640 MB)"
    fetch_wheels
    unpack_wheels
    is_complete || fail "the unpacked files do not verify; delete $home and run this again"
    say "libtorch 2.11.0 is ready in $home"
fi
