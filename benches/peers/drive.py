#!/usr/bin/env python3
"""One peer of `sml bench --peers`: runs the frames that the program asks for, and tells how long each took.

    drive.py FOLDER VERSION

FOLDER holds task.json and the inputs as .npy when the first command comes. Commands come on the standard input, one a line, and each is answered by
one line of JSON on the standard output:

    prepare FORM      load the inputs, build (and compile) the version, run the first input once, write its result as
                      plain numbers to FOLDER/score.bin (float32) and FOLDER/prediction.bin (bytes)
                                                                       -> {"seconds": 1.5}
    run INPUT         run one input                                    -> {"us": 123.4}

The first line, before any command, tells versions, or why nothing can run. Whatever libraries print goes to the
standard error. The end of the input ends the program.
"""

import importlib
import json
import os
import pathlib
import sys
import time

# Answers have a descriptor of their own; what libraries print by any way must not come between them.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

# Names of the versions, the modules that they need, and how to build each.
VERSIONS = {
    "official eager": ("numpy", "torch"),
    "careful eager": ("numpy", "torch"),
    "careful compiled": ("numpy", "torch"),
    "opencv": ("numpy", "cv2"),
    "opencv banded": ("numpy", "cv2"),
}


def answer(**what: object) -> None:
    """One line to the program."""
    print(json.dumps(what), file=answers, flush=True)


class Version:
    """A peer, with the inputs of one form of the logits."""

    def __init__(self, name: str, folder: pathlib.Path, form: dict, threads: int):
        import numpy as np
        from reference import Method

        self.size = tuple(form["size"])
        self.inputs = [np.load(folder / file) for file in form["inputs"]]
        mean, variance, method = np.array(form["mean"]), np.array(form["variance"]), Method()
        if name.startswith("opencv"):
            import opencv_numpy

            kind = opencv_numpy.Banded if name == "opencv banded" else opencv_numpy.Passes
            self.passes = kind(mean, variance, method, threads)
            return
        import torch

        torch.set_num_threads(threads)
        self.inputs = [torch.from_numpy(one) for one in self.inputs]
        if name == "official eager":
            import official_passes

            self.passes = official_passes.Passes(mean, variance, method, "cpu")
            return
        import careful_torch

        compiled = name == "careful compiled"
        self.passes = careful_torch.Passes(mean, variance, method, "cpu", fusable=compiled)
        if compiled:
            torch._dynamo.reset()
            self.passes = torch.compile(self.passes, mode="max-autotune", dynamic=False, fullgraph=True)

    def run(self, number: int):
        """Score and prediction of one input."""
        return self.passes(self.inputs[number], self.size)

    def write_result(self, folder: pathlib.Path) -> None:
        """What the first input comes to."""
        import numpy as np

        score, prediction = self.run(0)
        np.ascontiguousarray(score, np.float32).tofile(folder / "score.bin")
        np.asarray(prediction).astype(np.uint8).tofile(folder / "prediction.bin")


def tell_versions(name: str) -> None:
    """The first line: versions of what the peer needs."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for module in VERSIONS[name]:
        try:
            found[module] = importlib.import_module(module).__version__
        except Exception as error:  # Whatever keeps a library from loading keeps the peer from running.
            answer(missing=module, reason=f"{type(error).__name__}: {error}".splitlines()[0])
            sys.exit(1)
    answer(versions=found)


def obey(name: str, folder: pathlib.Path) -> None:
    """Answers commands until there are none."""
    version = task = None
    for line in sys.stdin:
        command, number = line.split()
        if command == "prepare":
            version = None
            task = task or json.loads((folder / "task.json").read_text(encoding="utf-8"))
            start = time.perf_counter()
            version = Version(name, folder, task["forms"][int(number)], task["threads"])
            version.write_result(folder)
            answer(seconds=time.perf_counter() - start)
        else:
            start = time.perf_counter_ns()
            version.run(int(number))
            answer(us=(time.perf_counter_ns() - start) / 1e3)


def main() -> None:
    """The command line."""
    folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    tell_versions(name)
    if "torch" not in VERSIONS[name]:
        obey(name, folder)
        return
    import torch

    with torch.inference_mode():
        obey(name, folder)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # One line: the program shows it, and goes on with the next peer.
        answer(error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        raise
