#!/usr/bin/env python3
"""Times what users run today in PyTorch on the frame that the engine is timed on, after comparing the results.

    python3 benches/peers/run.py --device cuda --from 1 4 8 --dtype f16 f32 --json peers.json

Every version is compared with a float64 computation first, and not timed where it differs; the exit code is 1 then,
unless it was torch.compile that made the difference. Times are of the device (events) on a GPU, of the host on a
CPU. Needs Python 3.11, torch 2.11 and numpy.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable

import careful_torch
import frame
import measure
import numpy as np
import official_passes
from reference import Method, Stages, difference, stages, statistics

import torch

SCHEMA = 1
DTYPES = {"f32": torch.float32, "f16": torch.float16}
# "cold" figures rotate inputs of this many times the cache: nothing of one is left in it when its turn comes again.
COLD_FACTOR = 3
ASSUMED_CPU_CACHE = 64 << 20
EAGER = ("official eager", "careful eager")
# The strongest first: compiling may use up the time.
COMPILED = ("careful compiled", "careful compiled, own graph", "official compiled")


@dataclasses.dataclass
class Case:
    """One form of the frame, with what is needed to check and time a version on it."""

    shape: tuple[int, int, int, int]
    dtype: str
    divisor: int
    method: Method
    mean: np.ndarray
    var: np.ndarray
    sets: list[torch.Tensor]
    want: list[Stages]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the result."""
        return self.shape[2:]

    def __str__(self) -> str:
        return f"{self.dtype} 1/{self.divisor}"

    def bytes(self, stage: str) -> int:
        """The least that a stage must read and write: see benches/NOTES.md."""
        pixels = self.shape[0] * self.shape[2] * self.shape[3]
        logits = self.sets[0].numel() * self.sets[0].element_size()
        return {"all": logits + 5 * pixels, "standardize": logits + 5 * pixels, "suppress": 9 * pixels}.get(
            stage, 8 * pixels
        )


def build_case(arguments: argparse.Namespace, dtype: str, divisor: int) -> Case:
    """Draws the frame, measures its statistics, and computes what is expected; the inputs follow in `give_inputs`."""
    batch, classes, height, width = arguments.shape
    frames = [frame.scene(n, height // divisor, width // divisor, classes) for n in range(batch)]
    logits = torch.from_numpy(np.stack(frames)).to(DTYPES[dtype])
    exact = logits.double().numpy()
    method = Method(align_corners=arguments.align_corners)
    mean, var = statistics(exact[0], (height, width), method)
    theirs = arguments.ours / f"statistics-{dtype}-{divisor}.json" if arguments.ours else None
    if theirs and theirs.exists():
        # A pixel between two classes may count for either, which moves the mean of a small class by more than rounding:
        # so the engine's statistics are used by all, if they are the same but for that.
        given = json.loads(theirs.read_text())
        engines = np.array(given["mean"], float), np.array(given["variance"], float)
        if not all(np.allclose(one, other, rtol=1e-3) for one, other in zip(engines, (mean, var), strict=True)):
            raise SystemExit(f"error: {theirs} does not hold the statistics of this frame")
        mean, var = engines
    want = [stages(one, mean, var, (height, width), method) for one in exact]
    return Case(arguments.shape, dtype, divisor, method, mean, var, [logits], want)


def give_inputs(case: Case, device: str) -> None:
    """Puts the inputs that take turns on the device: the frame itself, and others."""
    cache = ASSUMED_CPU_CACHE
    if device == "cuda":
        cache = torch.cuda.get_device_properties(0).L2_cache_size
    logits = case.sets[0].to(device)
    number = min(max(2, -(-COLD_FACTOR * cache // (logits.numel() * logits.element_size()))), 256)
    # Others by moving the scene sideways: as many borders and the same statistics, in other memory.
    case.sets = [logits.roll(k * logits.shape[3] // number, dims=3).contiguous() for k in range(number)]


def why_different(case: Case, version: Callable) -> str | None:
    """Runs a version on the first input and compares; `None` if it is right."""
    with torch.inference_mode():
        score, prediction = version(case.sets[0], case.size)
    for n, want in enumerate(case.want):
        reason = difference(want, score[n].float().cpu().numpy(), prediction[n].cpu().numpy(), case.method)
        if reason:
            return f"image {n}: {reason}"
    return None


def check_ours(case: Case, folder: pathlib.Path) -> str | None:
    """Compares the engine's files for this case, and its input with ours."""
    name = f"{case.dtype}-{case.divisor}.bin"
    if not (folder / f"logits-{name}").exists():
        return f"{folder}/logits-{name} is not there"
    given = np.fromfile(folder / f"logits-{name}", np.uint8)
    if not np.array_equal(given, case.sets[0].cpu().numpy().reshape(-1).view(np.uint8)):
        return "the engine's logits are not these"
    score = np.fromfile(folder / f"score-{name}", np.float32).reshape(case.shape[0], *case.size)
    prediction = np.fromfile(folder / f"prediction-{name}", np.uint8).reshape(score.shape)
    for n, want in enumerate(case.want):
        # The engine's sign is the other one: higher is more anomalous.
        reason = difference(want, -score[n], prediction[n], case.method)
        if reason:
            return f"image {n}: {reason}"
    return None


def versions(case: Case, device: str) -> dict[str, Callable[[], Callable]]:
    """How to build each version: eager ones at no cost, compiled ones in up to minutes."""

    def official() -> official_passes.Passes:
        return official_passes.Passes(case.mean, case.var, case.method, device)

    def careful(fusable: bool) -> careful_torch.Passes:
        return careful_torch.Passes(case.mean, case.var, case.method, device, fusable)

    def compiled(passes: Callable, mode: str) -> Callable:
        torch._dynamo.reset()
        return torch.compile(passes, mode=mode, dynamic=False, fullgraph=True)

    return {
        "official eager": official,
        "careful eager": lambda: careful(False),
        "official compiled": lambda: compiled(official(), "max-autotune"),
        "careful compiled": lambda: compiled(careful(True), "max-autotune"),
        # Without the copy of each input that torch.compile's own graphs make.
        "careful compiled, own graph": lambda: compiled(careful(True), "max-autotune-no-cudagraphs"),
    }


def captured(version: Callable, case: Case) -> list[Callable[[], object]]:
    """The version as one CUDA graph for each input; the graphs share their memory, as they run one after another."""
    pool = torch.cuda.graph_pool_handle()
    graphs = []
    for one in case.sets:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            version(one, case.size)
        graphs.append(graph)
    return [graph.replay for graph in graphs]


class Report:
    """Results, as a table for people and as JSON."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.copy, self.read = measure.bandwidth(arguments.device)
        self.machine = measure.machine(arguments.device)
        self.results: list[dict] = []
        self.skipped: list[dict] = []
        self.different: list[str] = []

    def skip(self, name: str, case: Case, reason: str) -> None:
        """Notes a version that is not timed, and says so at once."""
        self.skipped.append({"version": name, "dtype": case.dtype, "from": case.divisor, "reason": reason})
        print(f"{name}, {case}: not timed: {reason}", file=sys.stderr)

    def time(self, name: str, case: Case, stage: str, cache: str, calls: list[Callable[[], object]]) -> None:
        """Times calls twice, so that the difference shows the noise, and notes the first result."""
        arguments = self.arguments
        with torch.inference_mode():
            first, again = (measure.latencies(calls, arguments.device, arguments.seconds) for _ in range(2))
        latency = measure.summary(first)
        size = case.bytes(stage)
        self.results.append(
            {
                "version": name,
                "stage": stage,
                "shape": "x".join(map(str, case.shape)),
                "dtype": case.dtype,
                "from": case.divisor,
                "layout": "nchw",
                "cache": cache,
                "graph": "compiled" in name and arguments.device == "cuda",
                "frames": len(first),
                "latency_us": latency,
                "repeat_p50_us": measure.summary(again)["p50"],
                "bytes": size,
                "gb_per_s": size / latency["p50"] / 1e3,
                "copy_gb_per_s": self.copy,
                "read_gb_per_s": self.read,
            }
        )

    def table(self) -> str:
        """One line a result; every time is a median in microseconds."""
        lines = [
            f"{'version':28} {'logits':9} {'stage':12} {'cache':5} {'p50 us':>10} {'again':>10} {'p99':>10} {'GB/s':>7}"
        ]
        for one in self.results:
            latency = one["latency_us"]
            lines.append(
                f"{one['version']:28} {one['dtype'] + ' 1/' + str(one['from']):9} {one['stage']:12} {one['cache']:5} "
                f"{latency['p50']:10.1f} {one['repeat_p50_us']:10.1f} {latency['p99']:10.1f} {one['gb_per_s']:7.0f}"
            )
        lines.append(f"copy {self.copy:.0f} GB/s (read + write), read {self.read:.0f} GB/s")
        return "\n".join(lines)

    def write(self) -> None:
        """Writes the JSON, if one is wanted, under its name once it is whole.

        Also called before the end, so that a run that is stopped leaves what it measured.
        """
        path = self.arguments.json
        if path is None:
            return
        if self.arguments.device == "cuda":
            self.machine["clocks_mhz_after"] = measure.clocks()
        whole = {
            "schema": SCHEMA,
            "program": "benches/peers/run.py",
            "machine": self.machine,
            "results": self.results,
            "skipped": self.skipped,
            "different": self.different,
        }
        unfinished = path.with_name(path.name + ".unfinished")
        unfinished.write_text(json.dumps(whole, indent=1) + "\n")
        os.replace(unfinished, path)


def time_eager(report: Report, case: Case, name: str) -> None:
    """One eager version: the whole, cold and hot, and each stage alone."""
    version = versions(case, report.arguments.device)[name]()
    if not right(report, name, case, version):
        return
    size, first = case.size, case.sets[0]
    standardize = [lambda one=one: version.standardize(one, size) for one in case.sets]
    report.time(name, case, "all", "cold", [lambda one=one: version(one, size) for one in case.sets])
    report.time(name, case, "all", "hot", [lambda: version(first, size)])
    report.time(name, case, "standardize", "cold", standardize)
    with torch.inference_mode():
        score, prediction = version.standardize(first, size)
        suppressed = version.suppress(score, prediction)
    report.time(name, case, "suppress", "hot", [lambda: version.suppress(score, prediction)])
    report.time(name, case, "smooth", "hot", [lambda: version.smooth(suppressed)])


def time_compiled(report: Report, case: Case, name: str) -> None:
    """One compiled version."""
    version = versions(case, report.arguments.device)[name]()
    if not right(report, name, case, version):
        return
    with torch.inference_mode():
        own_graph = name.endswith("own graph")
        cold = captured(version, case) if own_graph else [lambda o=o: version(o, case.size) for o in case.sets]
    report.time(name, case, "all", "cold", cold)
    report.time(name, case, "all", "hot", cold[:1])


def right(report: Report, name: str, case: Case, version: Callable) -> bool:
    """Whether a version runs and agrees with the reference; notes it where it does not."""
    try:
        reason = why_different(case, version)
    except Exception as error:  # A compiler's failure must not end the other measurements.
        report.skip(name, case, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        return False
    if reason:
        # What a compiler makes of it is the compiler's affair; the eager versions are ours.
        if name in EAGER:
            report.different.append(f"{name}, {case}: {reason}")
        report.skip(name, case, reason)
    return reason is None


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""

    def shape(text: str) -> tuple[int, ...]:
        numbers = tuple(int(part) for part in text.split("x"))
        if len(numbers) != 4 or min(numbers) < 1 or numbers[1] > 255:
            raise argparse.ArgumentTypeError("give N x C x H x W, such as 1x19x1024x2048")
        return numbers

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--shape", type=shape, default=shape("1x19x1024x2048"), help="of the result, with its classes")
    parser.add_argument("--from", dest="divisors", type=int, nargs="+", default=[1, 4, 8], choices=(1, 2, 4, 8, 16))
    parser.add_argument("--dtype", dest="dtypes", nargs="+", default=["f16", "f32"], choices=tuple(DTYPES))
    parser.add_argument("--align-corners", action="store_true", help="the upsampling's grid; default: not aligned")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the results there")
    parser.add_argument("--ours", type=pathlib.Path, metavar="FOLDER", help="the engine's files: compare them too")
    parser.add_argument("--seconds", type=float, default=0.4, help="for each measurement, of which there are two")
    parser.add_argument(
        "--compile-until",
        type=float,
        default=3600,
        metavar="SECONDS",
        help="begin no compilation later than so long after the start; 0: compile nothing",
    )
    return parser.parse_args(words)


def main() -> int:
    """Runs all cases: eager versions first, then the compiled ones."""
    began = time.monotonic()
    arguments = parse()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("error: torch sees no GPU here; use --device cpu", file=sys.stderr)
        return 1
    frame.check_twin()
    # The stencils are sums of float32: TF32 would round their inputs to 10 bits, and results would differ.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    report = Report(arguments)
    forms = [(dtype, divisor) for divisor in arguments.divisors for dtype in arguments.dtypes]
    # Those with a target first (benches/NOTES.md).
    forms.sort(key=lambda form: form[0] == "f32" and form[1] > 1)
    with concurrent.futures.ThreadPoolExecutor(min(len(forms), os.cpu_count() or 1)) as pool:
        cases = list(pool.map(lambda form: build_case(arguments, *form), forms))
    for case in cases:
        if arguments.ours:
            reason = check_ours(case, arguments.ours)
            print(f"the engine, {case}: {reason or 'agrees with the reference'}", file=sys.stderr)
            if reason:
                report.different.append(f"the engine, {case}: {reason}")
        give_inputs(case, arguments.device)
        for name in EAGER:
            time_eager(report, case, name)
        case.sets = case.sets[:1]
        report.write()
    for name in COMPILED:
        if name.endswith("own graph") and arguments.device != "cuda":
            continue
        for case in cases:
            if time.monotonic() - began > arguments.compile_until:
                report.skip(name, case, "no time to compile is left (--compile-until)")
                continue
            give_inputs(case, arguments.device)
            time_compiled(report, case, name)
            case.sets = case.sets[:1]
            report.write()
    print(report.table())
    report.write()
    for line in report.different:
        print(f"error: {line}", file=sys.stderr)
    return 1 if report.different else 0


if __name__ == "__main__":
    sys.exit(main())
