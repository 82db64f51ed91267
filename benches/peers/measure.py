"""Times calls on a device, measures the device's memory bandwidth, and describes the machine."""

import datetime
import itertools
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable

import numpy as np

import torch

# Copies and reads are timed over buffers of this size, well above any cache.
BANDWIDTH_BYTES = {"cuda": 1 << 30, "cpu": 1 << 28}


def latencies(calls: list[Callable[[], object]], device: str, seconds: float, most: int = 2000) -> np.ndarray:
    """Microseconds of each call, by device events on a GPU; the calls take turns until about `seconds` have passed."""
    turns = itertools.cycle(calls)
    for _ in range(max(3, len(calls))):
        next(turns)()
    synchronize(device)
    start = time.perf_counter()
    for _ in range(3):
        next(turns)()
    synchronize(device)
    estimate = (time.perf_counter() - start) / 3
    frames = int(np.clip(seconds / max(estimate, 1e-9), 5 if device == "cpu" else 30, most))
    if device == "cpu":
        return np.array([timed_on_host(next(turns)) for _ in range(frames)])
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(frames)]
    for before, after in events:
        call = next(turns)
        before.record()
        call()
        after.record()
    synchronize(device)
    return np.array([before.elapsed_time(after) * 1e3 for before, after in events])


def timed_on_host(call: Callable[[], object]) -> float:
    """Microseconds of one call that returns when its work is done."""
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e3


def synchronize(device: str) -> None:
    """Waits for all work on the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def summary(latency: np.ndarray) -> dict[str, float]:
    """Percentiles by nearest rank, and moments, in microseconds."""
    ranks = {"p50": 50, "p90": 90, "p99": 99, "p999": 99.9}
    found = {name: float(np.percentile(latency, rank, method="inverted_cdf")) for name, rank in ranks.items()}
    return found | {
        "max": float(latency.max()),
        "mean": float(latency.mean()),
        "stddev": float(latency.std(ddof=1)) if latency.size > 1 else 0.0,
    }


def bandwidth(device: str) -> tuple[float, float]:
    """GB/s of a copy on the device (bytes read and written counted) and of a read (a sum)."""
    size = BANDWIDTH_BYTES[device]
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    copy = np.median(latencies([lambda: target.copy_(source)], device, 0.3, 100))
    reads = (lambda: source.sum(), lambda: source.view(torch.int32).amax())
    read = min(np.median(latencies([call], device, 0.3, 100)) for call in reads)
    return 2 * size / copy / 1e3, size / read / 1e3


def machine(device: str) -> dict[str, object]:
    """What a figure must be read with."""
    found: dict[str, object] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": None,
        "driver": None,
        "clocks_mhz": None,
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "gpu": properties.name,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "l2_bytes": properties.L2_cache_size,
            "driver": ask_smi("driver_version"),
            "clocks_mhz": clocks(),
        }
    return found


def clocks() -> dict[str, str | None]:
    """Clocks of the first GPU now, and what holds them down, as the driver's tool tells."""
    fields = {"sm": "clocks.sm", "memory": "clocks.mem", "held_down_by": "clocks_event_reasons.active"}
    return {name: ask_smi(field) for name, field in fields.items()}


def ask_smi(field: str) -> str | None:
    """One field of nvidia-smi; `None` where it does not tell."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits", "--id=0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def processor() -> str:
    """Name and number of the processors."""
    name = platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{name}, {len(os.sched_getaffinity(0))} processors"
