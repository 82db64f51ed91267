#!/usr/bin/env python3
"""Turns measurements on the CPU and on a GPU into the tables that README.md shows.

    results_table.py merge LATENCY.json PEERS.json ... -o RESULTS.json   one file out of the programs' files on a GPU
    results_table.py keep RESULTS.json      copy it to benches/results/GPU-DATE.json or cpu-NAME-THREADS-DATE.json
    results_table.py write                  put the tables of the newest such files into README.md
    results_table.py check                  fail when README.md shows other tables
    results_table.py print [RESULTS.json]   the tables alone

Results on the CPU are what `sml bench --peers --json` prints.

`keep`, `write` and `check` work on the repository that this file lies in (or on the one given by --repository). Needs
Python 3.9 and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import sys

PEERS_PROGRAM = "sml bench --peers"
OURS = "sml"
OFFICIAL = "official eager"
CAREFUL = "careful eager"
# Lines of the table on the CPU, in their order.
CPU_VERSIONS = {
    OURS: "sml",
    "read": "reading the logits once: the floor",
    OFFICIAL: "PyTorch, official passes",
    CAREFUL: "PyTorch, careful",
    "careful compiled": "the careful one under torch.compile",
    "opencv": "OpenCV and NumPy, a call a step",
    "opencv banded": "OpenCV and NumPy, a thread a band of rows",
}


class Problem(Exception):
    """Something that the user can put right."""


def read(path: pathlib.Path) -> dict:
    """One file of results."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Problem(f"{path}: {error}") from error
    if not isinstance(whole, dict) or whole.get("schema") != 1 or not isinstance(whole.get("results"), list):
        raise Problem(f'{path}: expected {{"schema": 1, "machine": ..., "results": [...]}}')
    return whole


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a file under its name once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def merge(paths: list[pathlib.Path]) -> dict:
    """Results of several programs that ran on one machine, one after another."""
    files = [read(path) for path in paths]
    gpus = {file["machine"].get("gpu") for file in files}
    if len(gpus) > 1:
        raise Problem(f"the files are of different GPUs: {', '.join(map(str, sorted(gpus, key=str)))}")
    machine: dict = {}
    for file in files:
        machine |= {key: value for key, value in file["machine"].items() if value is not None}
    parts = ("results", "skipped", "different")
    return {"schema": 1, "machine": machine} | {part: sum((f.get(part, []) for f in files), []) for part in parts}


def is_on_cpu(whole: dict) -> bool:
    """Whether it is of the engine beside its peers on the CPU."""
    return whole.get("program") == PEERS_PROGRAM


def file_name(whole: dict) -> str:
    """`h200-2026-01-31.json` for an NVIDIA H200, `cpu-amd-epyc-2-threads-2026-01-31.json` for a processor."""
    machine = whole["machine"]
    name = machine.get("cpu") if is_on_cpu(whole) else machine.get("gpu")
    words = re.findall(r"[a-z0-9]+", re.sub(r"\([^)]*\)|@.*", " ", str(name or "")).lower())
    words = [word for word in words if word not in ("nvidia", "geforce", "tesla", "quadro", "cpu", "processor")]
    if not words or not machine.get("date"):
        raise Problem("the results do not tell the device and the date")
    if is_on_cpu(whole):
        words = ["cpu", *words, str(machine["threads"]), "threads"]
    return f"{'-'.join(words)}-{machine['date'][:10]}.json"


def newest(repository: pathlib.Path, on_cpu: bool) -> pathlib.Path | None:
    """The file measured last."""
    dates = {}
    for file in sorted((repository / "benches" / "results").glob("*.json")):
        whole = read(file)
        if is_on_cpu(whole) if on_cpu else not is_on_cpu(whole) and whole["machine"].get("gpu"):
            dates[file] = whole["machine"]["date"]
    return max(dates, key=dates.__getitem__, default=None)


def fastest(results: list[dict], wanted) -> dict | None:
    """The result with the smallest median among those that fit."""
    return min(filter(wanted, results), key=lambda one: one["latency_us"]["p50"], default=None)


def table(whole: dict) -> str:
    """Our whole post-processing beside what users run in PyTorch, one line a form of the logits."""
    results = [one for one in whole["results"] if one["stage"] == "all" and one["cache"] == "cold"]
    machine = whole["machine"]
    ours = [one for one in results if one["version"] == OURS and one["layout"] == "nchw"]
    if not ours:
        raise Problem("the results hold no cold frame of all stages by sml")
    forms = sorted({(one["shape"], one["from"], one["dtype"]) for one in ours})
    lines = [
        f"Measured on {machine['gpu']} (driver {machine.get('driver', 'unknown')}, "
        f"torch {machine.get('torch', 'unknown')}), {machine['date'][:10]}, by `scripts/gpu_check.sh`:",
        "",
        "| logits | result | sml, p50 | p99.9 | bytes at | PyTorch, official passes | PyTorch, careful "
        "| torch.compile |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for shape, divisor, dtype in forms:
        form = [one for one in results if (one["shape"], one["from"], one["dtype"]) == (shape, divisor, dtype)]
        best = fastest(form, lambda one: one["version"] == OURS and one["layout"] == "nchw")
        median = best["latency_us"]["p50"]
        share = 100 * best["gb_per_s"] / best["copy_gb_per_s"]
        peers = [
            fastest(form, lambda one: one["version"] == OFFICIAL),
            fastest(form, lambda one: one["version"] == CAREFUL),
            fastest(form, lambda one: "compiled" in one["version"]),
        ]
        cells = [
            f"{dtype}, {'full resolution' if divisor == 1 else f'1/{divisor} resolution'}",
            shape,
            f"{median:.1f} µs",
            f"{best['latency_us']['p999']:.1f} µs",
            f"{best['gb_per_s']:.0f} GB/s, {share:.0f} %",
            *(beside(peer, median) for peer in peers),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        'All three stages, inputs not in the cache. "Bytes at" counts each logit and each result once and compares with '
        f"the copy bandwidth of the same run ({ours[0]['copy_gb_per_s']:.0f} GB/s). "
        "benches/NOTES.md says how it is measured.",
    ]
    return "\n".join(lines) + "\n"


def beside(peer: dict | None, median: float) -> str:
    """A peer's median, and how many times ours that is."""
    if peer is None:
        return "not measured"
    other = peer["latency_us"]["p50"]
    return f"{other:.0f} µs, {other / median:.1f} x"


def cpu_table(whole: dict) -> str:
    """The engine, the floor and the peers on the CPU: a line a version, a column a form of the logits."""
    if whole.get("interrupted"):
        raise Problem("the run was interrupted")
    if whole.get("different"):
        one = whole["different"][0]
        raise Problem(f"{one['version']} computes something else: {one['reason']}")
    results = {(one["version"], one["shape"], one["dtype"], one["from"]): one for one in whole["results"]}
    forms = sorted({(shape, dtype, divisor) for version, shape, dtype, divisor in results if version == OURS})
    if not forms:
        raise Problem("the results hold no frame by sml")
    machine, versions = whole["machine"], whole["versions"]
    libraries = {"torch": "PyTorch", "cv2": "OpenCV", "numpy": "NumPy"}
    named = [f"{name} {versions[key].split('+')[0]}" for key, name in libraries.items() if key in versions]
    load = machine.get("load_average")
    lines = [
        f"Measured on {machine['cpu']} with {machine['threads']}{' pinned' if machine.get('threads_pinned') else ''} threads "
        f"({machine['instruction_set']}; "
        f"{', '.join(named)}), {machine['date'][:10]}, by `make bench-peers`"
        f"{'' if load is None else f'; load average before it {load:.2f}'}:",
        "",
        "| median of a frame, all stages | " + " | ".join(map(form_name, forms)) + " |",
        "| --- |" + " ---: |" * len(forms),
    ]
    for version, name in CPU_VERSIONS.items():
        row = [results.get((version, *form)) for form in forms]
        if any(row):
            lines.append(f"| {name} | " + " | ".join(map(cpu_cell, row)) + " |")
    lines += [
        "",
        '"x" is how many times our time that is: the median over turns in which both ran the same inputs one behind the '
        "other, and the 10th and 90th percentile. Results were compared first. benches/NOTES.md says how it is measured.",
    ]
    return "\n".join(lines) + "\n"


def form_name(form: tuple[str, str, int]) -> str:
    """`1x19x1024x2048 float32, 1/4 resolution`."""
    shape, dtype, divisor = form
    types = {"f32": "float32", "f16": "float16"}
    return f"{shape} {types.get(dtype, dtype)}, {'full' if divisor == 1 else f'1/{divisor}'} resolution"


def cpu_cell(one: dict | None) -> str:
    """A median, and how many times ours that is."""
    if one is None:
        return "not measured"
    time = significant(one["latency_us"]["p50"] / 1e3)
    beside = one.get("beside_sml")
    if beside is None:
        return f"**{time} ms**"
    ratio = beside["ratio"]
    return (
        f"{time} ms, {significant(ratio['median'])} x "
        f"({significant(ratio['p10'])} to {significant(ratio['p90'])})"
    )


def significant(number: float) -> str:
    """Two digits behind the point below 1, one below 100, none above."""
    return f"{number:.{2 if number < 1 else 1 if number < 100 else 0}f}"


def cpu_section(repository: pathlib.Path) -> str:
    """What README.md must hold between the two marks of the table on the CPU."""
    file = newest(repository, on_cpu=True)
    return "Not yet measured on a CPU.\n" if file is None else cpu_table(read(file))


def gpu_section(repository: pathlib.Path) -> str:
    """What README.md must hold between the two marks of the table on a GPU."""
    file = newest(repository, on_cpu=False)
    return "Not yet measured on a GPU.\n" if file is None else table(read(file))


# README.md's tables: what their marks call them, and what must stand between the marks.
SECTIONS = {"on the CPU": cpu_section, "on a GPU": gpu_section}


def parts(readme: str, name: str) -> tuple[str, str, str]:
    """README.md before, between and behind the marks of a table."""
    begin = f"<!-- the table {name}: written by scripts/results_table.py, not by hand -->\n"
    end = f"<!-- end of the table {name} -->\n"
    before, found, rest = readme.partition(begin)
    between, closed, behind = rest.partition(end)
    if not found or not closed:
        raise Problem(f"README.md has no lines {begin.strip()!r} and {end.strip()!r}")
    return before + begin, between, end + behind


def of_file(whole: dict) -> str:
    """The table of one file."""
    return cpu_table(whole) if is_on_cpu(whole) else table(whole)


def run(arguments: argparse.Namespace) -> int:
    """Does what the command line says."""
    readme = arguments.repository / "README.md"
    if arguments.command == "merge":
        write_whole(arguments.output, json.dumps(merge(arguments.files), indent=1) + "\n")
    elif arguments.command == "keep":
        whole = read(arguments.file)
        of_file(whole)
        target = arguments.repository / "benches" / "results" / file_name(whole)
        write_whole(target, json.dumps(whole, indent=1) + "\n")
        print(target)
    elif arguments.command == "print":
        tables = [section(arguments.repository) for section in SECTIONS.values()]
        print(of_file(read(arguments.file)) if arguments.file else "\n".join(tables), end="")
    else:
        text = written = readme.read_text(encoding="utf-8")
        for name, section in SECTIONS.items():
            before, between, behind = parts(written, name)
            wanted = section(arguments.repository)
            if arguments.command == "check" and between != wanted:
                raise Problem(
                    f"README.md shows another table {name} than benches/results/ gives: "
                    "run scripts/results_table.py write"
                )
            written = before + wanted + behind
        if written != text:
            write_whole(readme, written)
    return 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--repository", type=pathlib.Path, default=here, help="default: the one of this script")
    commands = parser.add_subparsers(dest="command", required=True)
    merging = commands.add_parser("merge", help="one file out of several")
    merging.add_argument("files", type=pathlib.Path, nargs="+")
    merging.add_argument("-o", "--output", type=pathlib.Path, required=True)
    commands.add_parser("keep", help="copy results into benches/results/").add_argument("file", type=pathlib.Path)
    commands.add_parser("write", help="put the tables into README.md")
    commands.add_parser("check", help="fail when README.md shows other tables")
    commands.add_parser("print", help="print the tables").add_argument("file", type=pathlib.Path, nargs="?")
    try:
        return run(parser.parse_args())
    except (Problem, OSError, KeyError) as problem:
        what = f"the results have no field {problem}" if isinstance(problem, KeyError) else problem
        print(f"error: {what}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
