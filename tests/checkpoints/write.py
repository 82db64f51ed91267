"""Writes checkpoints with PyTorch for tests/checkpoint.rs and tests/python_torch.rs.

usage: write.py FOLDER

Element i of each tensor is i / 8 - 1, so that a reader needs no list of expected values. tests/checkpoints/ holds what
this program wrote with torch 2.11.0; a test runs it again where PyTorch is installed.
"""

import argparse
import collections
import os
import pathlib
import sys
import types

import torch

try:
    import numpy
except ImportError:
    numpy = None


def numbered(*shape, dtype=torch.float32):
    count = 1
    for side in shape:
        count *= side
    return (torch.arange(count, dtype=torch.float64) / 8 - 1).reshape(shape).to(dtype)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)

    def forward(self, picture):
        return self.norm(self.conv(picture))


def trained():
    """What a training script saves: the network in a wrapper, the optimizer, and how far it came."""
    network = torch.nn.DataParallel(Network())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    network(torch.ones(2, 3, 5, 5)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[3, 5, 5])
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(numbered(*tensor.shape))
    return {
        "state_dict": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "epoch": 3,
        "mean_iu": 0.5,
        "command": "--arch network --lr 0.01",
        "rng": torch.get_rng_state()[:16],
    }


def tensors():
    """Every element type, and tensors that are parts of others."""
    both = numbered(6, 4)
    return collections.OrderedDict(
        float64=numbered(3, dtype=torch.float64),
        float32=numbered(2, 3),
        float16=numbered(3, dtype=torch.float16),
        bfloat16=numbered(3, dtype=torch.bfloat16),
        int64=torch.tensor(7),
        uint8=torch.tensor([0, 255], dtype=torch.uint8),
        bool=torch.tensor([True, False]),
        empty=torch.zeros(0, 3),
        rows=both[2:4],
        columns=both[:, 1:3],
        transposed=both.t(),
        channels_last=numbered(2, 3, 2, 2).to(memory_format=torch.channels_last),
        parameter=torch.nn.Parameter(numbered(2, 2)),
    )


def numbers_of_numpy():
    state = numpy.random.RandomState(1).get_state()
    scalars = [numpy.float64(1), numpy.float32(1), numpy.int64(1), numpy.int16(1), numpy.uint8(1), numpy.bool_(True)]
    return {"state": state, "scalars": scalars, "text": numpy.str_("a"), "confusion": numpy.eye(19, dtype=">i4")}


def options():
    """Parameters beside all that scripts keep with them: options, sets, huge numbers, the state of random numbers."""
    counts = collections.defaultdict(list, {"road": [1, 2]})
    return {
        "args": argparse.Namespace(lr=0.1, crop=(768, 768), resume=None, nested=types.SimpleNamespace(gpus=[0, 1])),
        "containers": [{1, 2}, frozenset([3]), collections.deque([4], 5), collections.Counter("aab"), counts, set()],
        "bytes": [b"", b"abc" * 100, bytearray(b"abc")],
        "others": [10**30, -(10**30), 1 + 2j, range(3), slice(1, 2), torch.Size([1, 2]), torch.float16, torch.device("cuda:0")],
        "numpy": numpy and numbers_of_numpy(),
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
        "state_dict": {"weight": numbered(2, 3), "bias": torch.nn.Parameter(numbered(3))},
    }


class Hostile:
    def __reduce__(self):
        return os.system, ("touch run-by-a-checkpoint",)


def main():
    folder = pathlib.Path(sys.argv[1])
    for name, content in [("trained", trained()), ("tensors", tensors()), ("hostile", {"state_dict": Hostile()})]:
        torch.save(content, folder / f"{name}.pth")
        torch.save(content, folder / f"{name}-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(options(), folder / "options.pth")
    torch.save(options(), folder / "options-legacy.pth", _use_new_zipfile_serialization=False)
    for protocol in [4, 5]:
        torch.save(options(), folder / f"options-{protocol}.pth", pickle_protocol=protocol)
    hidden = argparse.Namespace(hook=Hostile())
    torch.save({"args": hidden, "state_dict": {"weight": numbered(2)}}, folder / "hostile-options.pth")
    torch.save({"model": Network().state_dict(), "epoch": 1}, folder / "model-key.pth")
    torch.save({"epoch": 1, "lr": 0.1}, folder / "no-tensors.pth")
    torch.save(Network(), folder / "whole-module.pth")
    torch.save({"expanded": torch.ones(1).expand(1000, 1000)}, folder / "expanded.pth")


if __name__ == "__main__":
    main()
