"""The drawn frame that every benchmark runs on: the Python twin of src/drawn_logits.rs.

Both draw the same float32 numbers, bit for bit, so that peers and engine are timed and compared on identical
inputs without exchanging files. Change one only together with the other, and `DIGEST` in both.

A coarse random field a class makes regions, a finer and weaker one roughens their borders, and a little noise differs
from pixel to pixel. Every resolution shows the same scene.
"""

import numpy as np

CLASSES = 19
# Grid and amplitude of the two fields of a class.
FIELDS = (((6, 12), 12.0), ((96, 192), 0.7))
NOISE = np.float32(0.05)


def mixed(numbers: np.ndarray) -> np.ndarray:
    """Random float32 numbers in [0, 1) out of counters: the finalizer of SplitMix64, of which 24 bits are kept."""
    with np.errstate(over="ignore"):
        z = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def stream(seed: int, number: int, length: int) -> np.ndarray:
    """`length` random numbers of stream `number` of the scene `seed`."""
    first = (seed << 48) | (number << 32)
    return mixed(np.arange(length, dtype=np.uint64) + np.uint64(first))


def position(length: int, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each pixel's centre along one axis: the node before it, and how far it lies behind that node (0 to 1)."""
    centre = (np.arange(length).astype(np.float32) + np.float32(0.5)) / np.float32(length)
    place = centre * np.float32(nodes - 1)
    first = np.minimum(place.astype(np.int64), nodes - 2)
    return first, place - first.astype(np.float32)


def field(nodes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation of a grid over the picture."""
    top, down = position(height, nodes.shape[0])
    left, right = position(width, nodes.shape[1])
    one = np.float32(1.0)
    rows = nodes[:, left] * (one - right) + nodes[:, left + 1] * right
    return rows[top] * (one - down)[:, None] + rows[top + 1] * down[:, None]


def scene(seed: int, height: int, width: int, classes: int = CLASSES) -> np.ndarray:
    """Logits of one frame, C x h x w, float32."""
    logits = np.empty((classes, height, width), np.float32)
    for c in range(classes):
        for f, (grid, amplitude) in enumerate(FIELDS):
            nodes = np.float32(amplitude) * stream(seed, 3 * c + f, grid[0] * grid[1]).reshape(grid)
            part = field(nodes, height, width)
            logits[c] = part if f == 0 else logits[c] + part
        logits[c] += NOISE * stream(seed, 3 * c + 2, height * width).reshape(height, width)
    return logits


# `digest(scene(1, 16, 24, 3))`, the same number as in src/drawn_logits.rs.
DIGEST = 0xB90AABE5E85A4607


def digest(numbers: np.ndarray) -> int:
    """Folds the bits of float32 numbers into one (FNV-1a over whole numbers)."""
    folded = 0xCBF29CE484222325
    for bits in numbers.reshape(-1).view(np.uint32).tolist():
        folded = (folded ^ bits) * 0x100000001B3 & (1 << 64) - 1
    return folded


def check_twin() -> None:
    """Ends the program where this file no longer draws what src/drawn_logits.rs draws."""
    if digest(scene(1, 16, 24, 3)) != DIGEST:
        raise SystemExit("error: benches/peers/frame.py draws another scene than src/drawn_logits.rs")
