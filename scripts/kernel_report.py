#!/usr/bin/env python3
"""Prints what the kernels of usual frames take, for every architecture: `make kernel-report`.

Kernels are compiled by the example kernel_cubins; NVIDIA's cuobjdump says what they take and lists their instructions.
Neither needs a GPU. cuobjdump comes from a pinned wheel, into target/kernel-report.

    kernel_report.py [--json] [--architecture sm_90]
"""

import argparse
import json
import re
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "target/kernel-report"
WHEELS = REPOSITORY / "scripts/kernel-report-requirements.txt"
REGISTERS_OF_A_MULTIPROCESSOR = 65536


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="write the table as JSON")
    parser.add_argument("--architecture", help="only this one, such as sm_90")
    options = parser.parse_args()
    tools = fetch_tools()
    cubins = FOLDER / "cubins"
    run(["cargo", "run", "--release", "--locked", "--quiet", "--example", "kernel_cubins", "--", cubins])
    launches = json.loads((cubins / "launches.json").read_text())
    launches = [launch for launch in launches if options.architecture in (None, launch["architecture"])]
    if not launches:
        fail(f"no kernel is made for {options.architecture}")
    with ThreadPoolExecutor() as threads:
        files = sorted({launch["file"] for launch in launches})
        inspected = dict(zip(files, threads.map(lambda file: inspect(tools, cubins / file), files)))
    rows = [row_of(launch, inspected[launch["file"]][launch["entry"]]) for launch in launches]
    if options.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
    else:
        print_table(rows)


def fetch_tools():
    """The folder of NVIDIA's tools, fetched if they are not there."""
    home = FOLDER / "tools"
    stamp = home / WHEELS.name

    def find():
        return next(iter(sorted(home.glob("lib/python*/site-packages/nvidia/cu13/bin/cuobjdump"))), None)

    if not find() or not stamp.is_file() or stamp.read_text() != WHEELS.read_text():
        print("kernel-report: fetching cuobjdump and nvdisasm (6 MB)", file=sys.stderr)
        venv.create(home, clear=True, with_pip=True)
        pip = [home / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        run([*pip, "--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", WHEELS])
        stamp.write_text(WHEELS.read_text())
    found = find()
    if not found:
        fail(f"the wheels hold no cuobjdump; delete {home} and run this again")
    return found.parent


def inspect(tools, cubin):
    """What each entry point of a cubin takes, by its name."""
    usage = output_of([tools / "cuobjdump", "-res-usage", cubin], tools)
    entries = {}
    pattern = r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)"
    for name, registers, stack, shared, local in re.findall(pattern, usage):
        entries[name] = {
            "registers": int(registers),
            "stack_bytes": int(stack),
            "static_shared_bytes": int(shared),
            "local_bytes": int(local),
        }
    listing = output_of([tools / "cuobjdump", "-sass", cubin], tools)
    for part in re.split(r"Function : ", listing)[1:]:
        name, instructions = part.split("\n", 1)
        if name.strip() in entries:
            entries[name.strip()].update(count_instructions(instructions))
    return entries


def count_instructions(listing):
    # An instruction's first line: its address, a predicate in some, and its name.
    names = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z][\w.]*)", listing)
    widths = {}
    for name in names:
        parts = name.split(".")
        if parts[0] == "LDG":
            width = next((part for part in parts if part in ("64", "128", "256", "U8", "S8", "U16", "S16")), "32")
            widths[width] = widths.get(width, 0) + 1
    return {
        "instructions": sum(1 for name in names if name != "NOP"),
        "spill_instructions": sum(1 for name in names if name.split(".")[0] in ("LDL", "STL")),
        "global_loads": widths,
        "code_bytes": 16 * len(names),
    }


def row_of(launch, entry):
    entry = dict(entry)
    if int(launch["architecture"].removeprefix("sm_")) >= 90:
        # There the tools count what the system takes from every block.
        entry["static_shared_bytes"] -= min(entry["static_shared_bytes"], launch["multiprocessor"]["reserved_bytes"])
    shared = entry["static_shared_bytes"] + launch["dynamic_shared_bytes"]
    blocks = blocks_at_a_time(launch, entry["registers"], shared)
    return {
        "kernel": launch["kernel"],
        "entry": launch["entry"],
        "frame": launch["frame"],
        "architecture": launch["architecture"],
        "compile_milliseconds": launch["compile_milliseconds"],
        "threads": launch["threads"],
        "dynamic_shared_bytes": launch["dynamic_shared_bytes"],
        **entry,
        "blocks_per_multiprocessor": blocks,
        "occupancy": blocks * launch["threads"] / launch["multiprocessor"]["threads"],
    }


def blocks_at_a_time(launch, registers, shared_bytes):
    """Registers are handed out by 256 a warp, shared memory by 128 bytes."""
    most = launch["multiprocessor"]
    warps = -(-launch["threads"] // 32)
    by_registers = REGISTERS_OF_A_MULTIPROCESSOR // (-(-registers * 32 // 256) * 256) // warps
    shared = max(128, -(-(shared_bytes + most["reserved_bytes"]) // 128) * 128)
    return min(most["blocks"], most["threads"] // (32 * warps), by_registers, most["shared_bytes"] // shared)


def print_table(rows):
    head = ("arch", "entry", "kernel", "threads", "regs", "shared", "dynamic", "stack", "spills", "loads 16 B",
            "widest", "code", "blocks", "occupancy", "compile")
    lines = [head]
    for row in rows:
        widths = sorted((int(width.lstrip("US")) for width in row["global_loads"]), reverse=True)
        pinned = re.sub(r"SML_|.*\[|\]", "", row["kernel"]).lower() if "[" in row["kernel"] else "generic"
        lines.append((
            row["architecture"], row["entry"], pinned, row["threads"], row["registers"], row["static_shared_bytes"],
            row["dynamic_shared_bytes"], row["stack_bytes"] + row["local_bytes"], row["spill_instructions"],
            row["global_loads"].get("128", 0), f"{widths[0] // 8} B" if widths else "-", row["code_bytes"],
            row["blocks_per_multiprocessor"], f"{row['occupancy']:.0%}", f"{row['compile_milliseconds']} ms",
        ))
    columns = [max(len(str(line[i])) for line in lines) for i in range(len(head))]
    left = (0, 1, 2)
    for line in lines:
        cells = (str(cell).ljust(width) if i in left else str(cell).rjust(width)
                 for i, (cell, width) in enumerate(zip(line, columns)))
        print("  ".join(cells).rstrip())


def run(command):
    """Runs a command in the repository; its standard output goes to ours for errors."""
    result = subprocess.run([str(part) for part in command], cwd=REPOSITORY, stdout=sys.stderr)
    if result.returncode:
        fail(f"{Path(str(command[0])).name} ended with {result.returncode} (its message is above)")


def output_of(command, tools):
    path = {"PATH": f"{tools}:/usr/bin:/bin"}
    result = subprocess.run([str(part) for part in command], env=path, capture_output=True, text=True)
    if result.returncode:
        fail(f"{' '.join(str(part) for part in command)}: {result.stderr.strip()}")
    return result.stdout


def fail(message):
    print(f"kernel-report: error: {message}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
