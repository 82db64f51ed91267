"""The method in float64 NumPy, written from its definition, and the comparison of a result with it.

Plain and slow: the oracle of the peers. `python3 reference.py tests/golden` checks the oracle itself against vectors
of the official code. Scores have the official sign here: high means normal.
"""

import dataclasses
import json
import pathlib
import sys

import numpy as np


@dataclasses.dataclass(frozen=True)
class Method:
    """Parameters of the post-processing; the defaults are the engine's."""

    width: int = 4
    iterations: int = 4
    kernel: int = 7
    sigma: float = 1.0
    dilation: int = 6
    align_corners: bool = False

    def radii(self) -> list[int]:
        """L1 radius of the mask of each iteration."""
        step = self.width // self.iterations
        last = self.iterations - 1
        return [0 if i == last or self.width == 0 else self.width - step * i - 1 for i in range(self.iterations)]

    def taps(self) -> np.ndarray:
        """One axis of the Gaussian, normalised to the sum 1."""
        x = np.arange(self.kernel) - self.kernel // 2
        weight = np.exp(-(x**2) / (2 * self.sigma**2))
        return weight / weight.sum()


def axis(size: int, given: int, align_corners: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both neighbours of each output position along one axis, and the weight of the second."""
    place = np.arange(size, dtype=np.float64)
    if align_corners:
        source = place * (given - 1) / (size - 1) if size > 1 else np.zeros(1)
    else:
        source = np.maximum((place + 0.5) * given / size - 0.5, 0.0)
    first = np.minimum(np.floor(source).astype(int), given - 1)
    return first, np.minimum(first + 1, given - 1), source - first


def upsample(logits: np.ndarray, height: int, width: int, align_corners: bool) -> np.ndarray:
    """Bilinear, each class of C x h x w alone."""
    if logits.shape[1:] == (height, width):
        return logits
    top, bottom, down = axis(height, logits.shape[1], align_corners)
    left, right, across = axis(width, logits.shape[2], align_corners)
    rows = logits[:, top] * (1 - down)[:, None] + logits[:, bottom] * down[:, None]
    return rows[:, :, left] * (1 - across) + rows[:, :, right] * across


def shifted(map_: np.ndarray, dy: int, dx: int, outside: float | None = None) -> np.ndarray:
    """The map moved so that each pixel holds its neighbour; outside the image `outside`, or the nearest pixel."""
    height, width = map_.shape
    y, x = np.arange(height) + dy, np.arange(width) + dx
    moved = map_[np.clip(y, 0, height - 1)][:, np.clip(x, 0, width - 1)]
    if outside is not None:
        moved[(y < 0) | (y >= height)] = outside
        moved[:, (x < 0) | (x >= width)] = outside
    return moved


CROSS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
SQUARE = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


def boundary(prediction: np.ndarray) -> np.ndarray:
    """Pixels whose largest label among the 4-neighbourhood is not the smallest of the 3 x 3 window."""
    label = prediction.astype(np.int64)
    largest = np.max([shifted(label, *step, outside=-1) for step in CROSS], axis=0)
    smallest = np.min([shifted(label, *step, outside=1000) for step in SQUARE], axis=0)
    return largest != smallest


def suppress(score: np.ndarray, edges: np.ndarray, method: Method) -> np.ndarray:
    """Iterative boundary-aware average."""
    for radius in method.radii():
        mask = edges
        for _ in range(radius):
            mask = np.any([shifted(mask, *step, outside=False) for step in CROSS], axis=0)
        total, count = np.zeros_like(score), np.zeros_like(score)
        for step in SQUARE:
            unmasked = ~shifted(mask, *step)
            total += np.where(unmasked, shifted(score, *step), 0.0)
            count += unmasked
        score = np.where(mask & (count > 0), total / np.maximum(count, 1), score)
    return score


def smooth(score: np.ndarray, method: Method) -> np.ndarray:
    """Dilated Gaussian, as the two-dimensional sum."""
    taps, reach = method.taps(), method.kernel // 2
    result = np.zeros_like(score)
    for j, wy in enumerate(taps):
        for i, wx in enumerate(taps):
            step = ((j - reach) * method.dilation, (i - reach) * method.dilation)
            result += wy * wx * shifted(score, *step)
    return result


def statistics(logits: np.ndarray, size: tuple[int, int], method: Method) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased variance of the max logit of each predicted class; the pooled ones for a class without."""
    full = upsample(logits.astype(np.float64), *size, method.align_corners)
    largest, prediction = full.max(0), full.argmax(0)
    mean, var = np.empty(len(full)), np.empty(len(full))
    for c in range(len(full)):
        own = largest[prediction == c]
        own = own if own.size > 1 and own.var() > 0 else largest
        mean[c], var[c] = own.mean(), own.var(ddof=1)
    return mean, var


@dataclasses.dataclass
class Stages:
    """What each stage makes of one frame, H x W."""

    prediction: np.ndarray
    # How far the largest logit is above the second.
    margin: np.ndarray
    standardized: np.ndarray
    edges: np.ndarray
    suppressed: np.ndarray
    smoothed: np.ndarray


def stages(logits, mean, var, size: tuple[int, int], method: Method) -> Stages:
    """All stages on one frame C x h x w."""
    full = upsample(np.asarray(logits, np.float64), *size, method.align_corners)
    prediction = full.argmax(0)
    largest = full.max(0)
    others = full.copy()
    np.put_along_axis(others, prediction[None], -np.inf, axis=0)
    second = others.max(0)
    standardized = (largest - np.asarray(mean)[prediction]) / np.sqrt(np.asarray(var))[prediction]
    edges = boundary(prediction)
    suppressed = suppress(standardized, edges, method)
    smoothed = smooth(suppressed, method)
    return Stages(prediction, largest - second, standardized, edges, suppressed, smoothed)


def difference(want: Stages, score: np.ndarray, prediction: np.ndarray, method: Method) -> str | None:
    """Why a result is not the reference's; `None` if it is.

    A prediction may differ only where the two largest logits are within rounding of each other; scores are compared
    where no such pixel reaches (mask, averages, taps of the blur).
    """
    wrong = prediction != want.prediction
    if (wrong & (want.margin >= 3e-4)).any():
        return f"the prediction differs at {int((wrong & (want.margin >= 3e-4)).sum())} pixels beyond rounding"
    reach = 1 + max(method.radii()) + method.iterations + method.kernel // 2 * method.dilation
    compared = np.ones(wrong.shape, bool)
    for y, x in np.argwhere(wrong):
        compared[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = False
    if compared.mean() < 0.9:
        return f"{int(wrong.sum())} predictions at ties leave only {compared.mean():.0%} of the pixels to compare"
    scale = max(1.0, float(np.abs(want.standardized).max()))
    error = np.abs(score.astype(np.float64) - want.smoothed)[compared]
    if not np.isfinite(error).all():
        return "the score holds numbers that are not finite"
    if error.max() > 3e-6 * scale:
        return f"the score differs by {error.max():.3g}, allowed are {3e-6 * scale:.3g}"
    return None


def check_golden(folder: pathlib.Path) -> int:
    """Compares the reference with every case of the golden vectors that it can express; returns their number."""
    cases = json.loads((folder / "manifest.json").read_text())["cases"]
    checked = 0
    for case in cases:
        if case["kind"] != "pipeline" or case["score_mode"] != "standardized_max_logit":
            continue
        arrays = np.load(folder / case["file"])
        name = case["arrays"]
        whole = case["boundary_suppression"] and case["dilated_smoothing"] and case["border_labels"] == "ignore"
        if not whole or not np.isfinite(case["scale"]) or "final_f64" not in name:
            continue
        method = Method(case["boundary_width"], case["boundary_iteration"], 7, 1.0, case["smoothing_dilation"], True)
        logits = arrays[case["input"]]
        for n, one in enumerate(logits):
            got = stages(one, arrays["mean"], arrays["var"], tuple(case["out_size"]), method)
            equal = (got.prediction == arrays[name["pred"]][n].reshape(got.prediction.shape)).all()
            want = arrays[name["final_f64"]][n].reshape(got.smoothed.shape)
            error = np.abs(got.smoothed - want).max()
            if not equal or not error <= 1e-7 * case["scale"]:
                raise SystemExit(f"{case['id']}: predictions equal: {equal}, scores differ by {error:.3g}")
        checked += 1
    return checked


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: reference.py FOLDER_OF_GOLDEN_VECTORS")
    number = check_golden(pathlib.Path(sys.argv[1]))
    if number == 0:
        raise SystemExit("no case was compared")
    print(f"the reference agrees with {number} golden cases")
