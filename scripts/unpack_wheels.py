"""Unpacks what `sml` links against from the downloaded wheels into one folder.

usage: unpack_wheels.py WHEELS_DIR TARGET_DIR

TARGET_DIR gets `include/` (libtorch's headers), `lib/` (the libraries that tch needs on the CPU, the CUDA
runtime they load, and NVRTC), `lib/libtorch.so` (a linker script: the real one only pulls libtorch_cpu in) and
`build-version`, which torch-sys compares with the release it was written for.
"""

import pathlib
import re
import shutil
import sys
import zipfile

WANTED = re.compile(
    r"torch/(?P<include>include/.+)"
    r"|torch/lib/(?P<torch>libtorch_cpu\.so|libc10\.so|libgomp[^/]*|libarm_compute[^/]*|lib(gfortran|openblas)[^/]*)"
    r"|torch\.libs/(?P<bundled>[^/]+\.so[^/]*)"
    r"|nvidia/cu13/lib/(?P<cuda>(libcudart|libcupti|libnvrtc|libnvrtc-builtins)\.so\.[0-9.]+)"
)


def main() -> int:
    wheels, target = (pathlib.Path(argument) for argument in sys.argv[1:3])
    (target / "lib").mkdir(parents=True)
    for wheel in sorted(wheels.glob("*.whl")):
        print(f"  unpacking {wheel.name}", file=sys.stderr)
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                match = WANTED.fullmatch(member.filename)
                if not match or member.is_dir():
                    continue
                if match["include"]:
                    path = target / match["include"]
                else:
                    path = target / "lib" / (match["torch"] or match["bundled"] or match["cuda"])
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, open(path, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    (target / "lib" / "libtorch.so").write_text("INPUT(-ltorch_cpu)\n")
    (target / "build-version").write_text("2.11.0\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
