"""The method with OpenCV and NumPy, as an expert for both writes it: what a user without PyTorch runs on a CPU.

Two forms of the same. `Passes` has one call of OpenCV a step, over the whole picture, and OpenCV's own threads; only the
maximum over the classes is taken in strips of rows that fit the cache, because NumPy's would go through memory once a
class. `Banded` is as fast as we can make it with these libraries: a thread a band of rows through all stages, bytes
wherever a byte will do, and a dilated kernel as a plain one on every sixth column and row. Maps are H x W. Scores have
the official sign: high means normal.
"""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from reference import Method

# Rows of a strip: with 2048 columns, its scores and one class of logits lie in half a megabyte.
STRIP = 32
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
SQUARE = np.ones((3, 3), np.uint8)
NEAREST = cv2.BORDER_REPLICATE
# 1 / n for the number of pixels of a 3 x 3 window; 0 pixels have no average.
RECIPROCAL = np.concatenate([[0.0], 1 / np.arange(1, 256)]).astype(np.float32)


def upsampled(logits: np.ndarray, rows: slice, size: tuple[int, int]) -> np.ndarray:
    """Some rows of one class, h x w, at the result's size. Neighbours are half a row away at most."""
    height, width = size
    ratio = height // logits.shape[0]
    if ratio == 1:
        return logits[rows].astype(np.float32, copy=False)
    first = max(rows.start // ratio - 1, 0)
    last = min(-(-rows.stop // ratio) + 1, logits.shape[0])
    part = logits[first:last].astype(np.float32, copy=False)
    part = cv2.resize(part, (width, (last - first) * ratio), interpolation=cv2.INTER_LINEAR)
    return part[rows.start - first * ratio : rows.stop - first * ratio]


class Passes:
    """One call a step."""

    def __init__(self, mean: np.ndarray, var: np.ndarray, method: Method, threads: int):
        if method.align_corners:
            raise ValueError("cv2.resize has no aligned corners")
        self.mean = np.asarray(mean, np.float32)
        self.deviation = np.sqrt(np.asarray(var, np.float64)).astype(np.float32)
        self.method = method
        self.pool = ThreadPoolExecutor(threads)
        cv2.setNumThreads(threads)
        # sepFilter2D knows no dilation: zeros stand between the taps.
        self.kernel = np.zeros((method.kernel - 1) * method.dilation + 1, np.float32)
        self.kernel[:: method.dilation] = method.taps()

    def standardize(self, logits: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """A running maximum, strip by strip, then mean and deviation by the class."""
        score, prediction = np.empty(size, np.float32), np.empty(size, np.uint8)

        def strip(first: int) -> None:
            rows = slice(first, min(first + STRIP, size[0]))
            most, best = score[rows], prediction[rows]
            np.copyto(most, upsampled(logits[0], rows, size))
            best[:] = 0
            larger = np.empty(best.shape, bool)
            for c in range(1, len(logits)):
                other = upsampled(logits[c], rows, size)
                np.greater(other, most, out=larger)
                np.copyto(best, c, where=larger)
                np.maximum(other, most, out=most)
            most -= cv2.LUT(best, self.table(self.mean))
            most /= cv2.LUT(best, self.table(self.deviation))

        list(self.pool.map(strip, range(0, size[0], STRIP)))
        return score, prediction

    @staticmethod
    def table(values: np.ndarray) -> np.ndarray:
        """A value for each byte, as cv2.LUT wants it."""
        return np.pad(values, (0, 256 - len(values)))

    def suppress(self, score: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Morphology for the masks, box filters for the averages."""
        mask = cv2.compare(cv2.dilate(prediction, CROSS), cv2.erode(prediction, SQUARE), cv2.CMP_NE)
        masks = [mask]
        for _ in range(max(self.method.radii())):
            masks.append(cv2.dilate(masks[-1], CROSS))
        for radius in self.method.radii():
            mask = masks[radius]
            keep = cv2.bitwise_not(mask)
            total = cv2.boxFilter(cv2.copyTo(score, keep), -1, (3, 3), normalize=False, borderType=NEAREST)
            count = cv2.boxFilter(keep & 1, -1, (3, 3), normalize=False, borderType=NEAREST)
            average = cv2.multiply(total, cv2.LUT(count, RECIPROCAL))
            score = cv2.copyTo(average, cv2.copyTo(mask, count), score.copy())
        return score

    def smooth(self, score: np.ndarray) -> np.ndarray:
        """A separable filter."""
        return cv2.sepFilter2D(score, -1, self.kernel, self.kernel, borderType=NEAREST)

    def __call__(self, logits: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Score and prediction of a batch."""
        score = np.empty((len(logits), *size), np.float32)
        prediction = np.empty(score.shape, np.uint8)
        for n, one in enumerate(logits):
            standardized, prediction[n] = self.standardize(one, size)
            score[n] = self.smooth(self.suppress(standardized, prediction[n]))
        return score, prediction


class Banded(Passes):
    """A band of rows a thread, from the logits to the result."""

    def __init__(self, mean: np.ndarray, var: np.ndarray, method: Method, threads: int):
        super().__init__(mean, var, method, threads)
        # The threads are ours: OpenCV's would compete with them.
        cv2.setNumThreads(1)
        self.threads = threads
        self.factor = 1 / self.deviation
        self.shift = -self.mean * self.factor
        self.taps, self.one = method.taps().astype(np.float32), np.ones(1, np.float32)

    def __call__(self, logits: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Score and prediction of a batch."""
        score = np.empty((len(logits), *size), np.float32)
        prediction = np.empty(score.shape, np.uint8)
        height, bands = size[0], min(self.threads, size[0])
        for n, one in enumerate(logits):
            edges = [height * band // bands for band in range(bands + 1)]
            rows = map(slice, edges, edges[1:])
            done = self.pool.map(lambda rows, one=one, n=n: self.band(one, rows, score[n], prediction[n]), rows)
            list(done)
        return score, prediction

    def band(self, logits: np.ndarray, rows: slice, score: np.ndarray, prediction: np.ndarray) -> None:
        """All stages for some rows. Rows that the stages see beyond them are computed in each band anew."""
        method, size = self.method, score.shape
        reach = method.kernel // 2 * method.dilation
        suppressed = slice(max(rows.start - reach, 0), min(rows.stop + reach, size[0]))
        halo = 1 + max(method.radii()) + method.iterations
        given = slice(max(suppressed.start - halo, 0), min(suppressed.stop + halo, size[0]))
        part, best = self.standardize_band(logits, given, size)
        part = self.suppress(part, best)[suppressed.start - given.start : suppressed.stop - given.start]
        top, bottom = rows.start - suppressed.start, suppressed.stop - rows.stop
        score[rows] = self.smooth_band(part, reach - top, reach - bottom)[: rows.stop - rows.start]
        prediction[rows] = best[rows.start - given.start : rows.stop - given.start]

    def standardize_band(self, logits: np.ndarray, rows: slice, size: tuple[int, int]):
        """As `standardize`, for some rows: a class that is larger is also the larger byte, so a maximum keeps it."""
        score = np.empty((rows.stop - rows.start, size[1]), np.float32)
        prediction = np.zeros(score.shape, np.uint8)
        for first in range(0, len(score), STRIP):
            most, best = score[first : first + STRIP], prediction[first : first + STRIP]
            strip = slice(rows.start + first, rows.start + first + len(most))
            np.copyto(most, upsampled(logits[0], strip, size))
            label = np.empty(best.shape, np.uint8)
            for c in range(1, len(logits)):
                other = upsampled(logits[c], strip, size)
                np.greater(other, most, out=label.view(bool))
                np.maximum(other, most, out=most)
                np.multiply(label, c, out=label)
                np.maximum(best, label, out=best)
            np.subtract(most, cv2.LUT(best, self.table(self.mean)), out=most)
            np.multiply(most, cv2.LUT(best, self.table(self.factor)), out=most)
        return score, prediction

    def smooth_band(self, score: np.ndarray, above: int, below: int) -> np.ndarray:
        """A map whose pixels of one phase are channels, or rows, of their own: every tap of a plain kernel then counts."""
        dilation = self.method.dilation
        reach = self.method.kernel // 2 * dilation
        height, width = score.shape[0] + above + below, score.shape[1] + 2 * reach
        more = -height % dilation, -width % dilation
        padded = cv2.copyMakeBorder(score, above, below + more[0], reach, reach + more[1], NEAREST)
        rows, columns = padded.shape
        across = cv2.sepFilter2D(padded.reshape(rows, -1, dilation), -1, self.taps, self.one)
        upright = cv2.sepFilter2D(across.reshape(-1, dilation * columns), -1, self.one, self.taps)
        return upright.reshape(rows, columns)[reach:, reach : reach + score.shape[1]]
