#!/usr/bin/env python3
"""Turns measurements on a GPU into the table that README.md shows.

    results_table.py merge LATENCY.json PEERS.json ... -o RESULTS.json   one file out of the programs' files
    results_table.py keep RESULTS.json      copy it to benches/results/GPU-DATE.json
    results_table.py write                  put the table of the newest such file into README.md
    results_table.py check                  fail when README.md shows another table
    results_table.py print [RESULTS.json]   the table alone

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

BEGIN = "<!-- the table on a GPU: written by scripts/results_table.py, not by hand -->\n"
END = "<!-- end of the table on a GPU -->\n"
OURS = "sml"
OFFICIAL = "official eager"
CAREFUL = "careful eager"


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


def file_name(whole: dict) -> str:
    """`h200-2026-01-31.json` for an NVIDIA H200."""
    machine = whole["machine"]
    words = re.findall(r"[a-z0-9]+", str(machine.get("gpu") or "").lower())
    words = [word for word in words if word not in ("nvidia", "geforce", "tesla", "quadro")]
    if not words or not machine.get("date"):
        raise Problem("the results do not tell GPU and date")
    return f"{'-'.join(words)}-{machine['date'][:10]}.json"


def newest(repository: pathlib.Path) -> pathlib.Path | None:
    """The file measured last."""
    files = sorted((repository / "benches" / "results").glob("*.json"))
    on_gpu = [file for file in files if read(file)["machine"].get("gpu")]
    return max(on_gpu, key=lambda file: read(file)["machine"]["date"], default=None)


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


def section(repository: pathlib.Path) -> str:
    """What README.md must hold between the two marks."""
    file = newest(repository)
    if file is None:
        return "Not yet measured on a GPU.\n"
    return table(read(file))


def parts(readme: str) -> tuple[str, str, str]:
    """README.md before, between and behind the marks."""
    before, begin, rest = readme.partition(BEGIN)
    between, end, behind = rest.partition(END)
    if not begin or not end:
        raise Problem(f"README.md has no lines {BEGIN.strip()!r} and {END.strip()!r}")
    return before + begin, between, end + behind


def run(arguments: argparse.Namespace) -> int:
    """Does what the command line says."""
    readme = arguments.repository / "README.md"
    if arguments.command == "merge":
        write_whole(arguments.output, json.dumps(merge(arguments.files), indent=1) + "\n")
    elif arguments.command == "keep":
        whole = read(arguments.file)
        table(whole)
        target = arguments.repository / "benches" / "results" / file_name(whole)
        write_whole(target, json.dumps(whole, indent=1) + "\n")
        print(target)
    elif arguments.command == "print":
        print(table(read(arguments.file)) if arguments.file else section(arguments.repository), end="")
    else:
        before, between, behind = parts(readme.read_text(encoding="utf-8"))
        wanted = section(arguments.repository)
        if arguments.command == "write":
            write_whole(readme, before + wanted + behind)
        elif between != wanted:
            raise Problem(
                "README.md shows another table on a GPU than benches/results/ gives: run scripts/results_table.py write"
            )
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
    commands.add_parser("write", help="put the table into README.md")
    commands.add_parser("check", help="fail when README.md shows another table")
    commands.add_parser("print", help="print the table").add_argument("file", type=pathlib.Path, nargs="?")
    try:
        return run(parser.parse_args())
    except (Problem, OSError, KeyError) as problem:
        what = f"the results have no field {problem}" if isinstance(problem, KeyError) else problem
        print(f"error: {what}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
