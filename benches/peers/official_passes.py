"""The method pass by pass, as the official project computes it in PyTorch: what most users run today.

Written from the definition of the method, not from that project's source: it keeps the shape of the official
computation (which passes there are and what each touches), with the fastest form of every pass that eager PyTorch has.
Maps are N x H x W. Scores have the official sign: high means normal.
"""

from reference import Method
from torch.nn import functional

import torch


class Passes:
    """The three stages for given statistics, on one device."""

    def __init__(self, mean, var, method: Method, device: str):
        self.mean = [float(value) for value in mean]
        self.deviation = [float(value) ** 0.5 for value in var]
        self.method = method
        gaussian = torch.tensor(method.taps(), dtype=torch.float64)
        self.gaussian = torch.outer(gaussian, gaussian).float()[None, None].to(device)
        self.ones = torch.ones(1, 1, 3, 3, device=device)

    def standardize(self, logits: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Upsamples all classes into a tensor, takes the maximum, and standardizes class after class."""
        if logits.shape[2:] != size:
            # In float32, so that results agree: float16 would round every upsampled logit.
            logits = functional.interpolate(
                logits.float(), size=size, mode="bilinear", align_corners=self.method.align_corners
            )
        score, prediction = logits.max(dim=1)
        score = score.float()
        for c, (mean, deviation) in enumerate(zip(self.mean, self.deviation, strict=True)):
            score = torch.where(prediction == c, (score - mean) / deviation, score)
        return score, prediction

    def suppress(self, score: torch.Tensor, prediction: torch.Tensor) -> torch.Tensor:
        """Averages along class boundaries: one dilation of the boundary and two convolutions an iteration."""
        score = score[:, None]
        edges = boundary(prediction)
        for radius in self.method.radii():
            mask = edges
            for _ in range(radius):
                mask = dilate_by_cross(mask)
            keep = 1 - mask
            frame = (1, 1, 1, 1)
            total = functional.conv2d(functional.pad(score * keep, frame, mode="replicate"), self.ones)
            count = functional.conv2d(functional.pad(keep, frame, mode="replicate"), self.ones)
            average = total / torch.where(count == 0, torch.ones_like(count), count)
            score = torch.where((mask > 0) & (count > 0), average, score)
        return score[:, 0]

    def smooth(self, score: torch.Tensor) -> torch.Tensor:
        """Dense two-dimensional convolution with dilated taps."""
        dilation = self.method.dilation
        reach = self.method.kernel // 2 * dilation
        padded = functional.pad(score[:, None], (reach,) * 4, mode="replicate")
        return functional.conv2d(padded, self.gaussian, dilation=dilation)[:, 0]

    def __call__(self, logits: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Score and prediction of a batch."""
        score, prediction = self.standardize(logits, size)
        return self.smooth(self.suppress(score, prediction)), prediction


def dilate_by_cross(mask: torch.Tensor) -> torch.Tensor:
    """Maximum over each pixel and its four neighbours."""
    upright = functional.max_pool2d(mask, (3, 1), stride=1, padding=(1, 0))
    across = functional.max_pool2d(mask, (1, 3), stride=1, padding=(0, 1))
    return torch.maximum(upright, across)


def boundary(prediction: torch.Tensor) -> torch.Tensor:
    """1 where dilation by the cross and erosion by the square differ, else 0; float32, N x 1 x H x W."""
    label = prediction[:, None].float()
    eroded = -functional.max_pool2d(-label, 3, stride=1, padding=1)
    return (dilate_by_cross(label) != eroded).float()
