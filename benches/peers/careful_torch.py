"""The same method by a careful PyTorch user: fewer and narrower passes, the same results.

One gather instead of a pass a class, labels and distances as bytes, the distance to a boundary found once for all
iterations, separable sums and a separable blur. This is the strongest form in plain PyTorch that we know; it is
also the one that is given to torch.compile. Maps are N x H x W. Scores have the official sign: high means normal.
"""

from reference import Method
from torch.nn import functional

import torch


class Passes:
    """The three stages for given statistics, on one device.

    `fusable` writes the blur as a sum of shifted maps, which a compiler fuses; otherwise it is two convolutions.
    """

    def __init__(self, mean, var, method: Method, device: str, fusable: bool = False):
        self.mean = torch.tensor(mean, dtype=torch.float64).float().to(device)
        self.deviation = torch.tensor(var, dtype=torch.float64).sqrt().float().to(device)
        self.method = method
        self.fusable = fusable
        self.taps = [float(tap) for tap in method.taps()]
        taps = torch.tensor(method.taps()).float().to(device)
        self.across, self.upright = taps.view(1, 1, 1, -1), taps.view(1, 1, -1, 1)

    def standardize(self, logits: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Upsampling, maximum, and one gather of mean and deviation."""
        if logits.shape[2:] != size:
            logits = functional.interpolate(
                logits.float(), size=size, mode="bilinear", align_corners=self.method.align_corners
            )
        score, prediction = logits.max(dim=1)
        return (score.float() - self.mean[prediction]) / self.deviation[prediction], prediction

    def suppress(self, score: torch.Tensor, prediction: torch.Tensor) -> torch.Tensor:
        """One map of distances, compared with each iteration's radius."""
        radii = self.method.radii()
        distance = distance_to_boundary(prediction.to(torch.uint8), max(radii))
        for radius in radii:
            mask = distance <= radius
            total = sum_of_square(torch.where(mask, 0.0, score))
            count = sum_of_square((~mask).to(torch.uint8))
            score = torch.where(mask & (count > 0), total / count.clamp(min=1), score)
        return score

    def smooth(self, score: torch.Tensor) -> torch.Tensor:
        """A horizontal and a vertical pass."""
        dilation = self.method.dilation
        reach = self.method.kernel // 2 * dilation
        padded = functional.pad(score[:, None], (reach,) * 4, mode="replicate")
        if not self.fusable:
            rows = functional.conv2d(padded, self.across, dilation=(1, dilation))
            return functional.conv2d(rows, self.upright, dilation=(dilation, 1))[:, 0]
        height, width = score.shape[1:]
        rows = sum(t * padded[..., i * dilation : i * dilation + width] for i, t in enumerate(self.taps))
        return sum(t * rows[..., i * dilation : i * dilation + height, :] for i, t in enumerate(self.taps))[:, 0]

    def __call__(self, logits: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Score and prediction of a batch."""
        score, prediction = self.standardize(logits, size)
        return self.smooth(self.suppress(score, prediction)), prediction


def framed(map_: torch.Tensor) -> torch.Tensor:
    """The map with its outermost pixels repeated once around it. (Padding has this for floating point only.)"""
    map_ = torch.cat((map_[:, :1], map_, map_[:, -1:]), 1)
    return torch.cat((map_[:, :, :1], map_, map_[:, :, -1:]), 2)


def distance_to_boundary(label: torch.Tensor, most: int) -> torch.Tensor:
    """L1 distance to the next boundary pixel as a byte, at most `most + 1`."""
    around = framed(label)
    left, right = around[:, 1:-1, :-2], around[:, 1:-1, 2:]
    up, down = around[:, :-2, 1:-1], around[:, 2:, 1:-1]
    edges = (left != label) | (right != label) | (up != label) | (down != label)
    for corner in (around[:, :-2, :-2], around[:, :-2, 2:], around[:, 2:, :-2], around[:, 2:, 2:]):
        edges = edges | (corner < label)
    distance = torch.where(edges, 0, most + 1).to(torch.uint8)
    for _ in range(most):
        around = framed(distance)
        beside = torch.minimum(around[:, 1:-1, :-2], around[:, 1:-1, 2:])
        above = torch.minimum(around[:, :-2, 1:-1], around[:, 2:, 1:-1])
        distance = torch.minimum(distance, torch.minimum(beside, above) + 1)
    return distance


def sum_of_square(map_: torch.Tensor) -> torch.Tensor:
    """Sum of each 3 x 3 window, positions outside clamped to the map."""
    around = framed(map_)
    rows = around[:, :, :-2] + around[:, :, 1:-1] + around[:, :, 2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
