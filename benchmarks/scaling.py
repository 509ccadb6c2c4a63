"""On paper: how long a data-parallel step takes on p ranks.

Enters: what was measured of a model on one rank (seconds of the two parts of a step, by samples), what its
step sums over ranks, and a network. Leaves: seconds of a step. A message of n bytes takes alpha + beta n
seconds. A sum of S bytes over p ranks is made as `kcompile.parallel.communicator` makes it: a small one is
sent whole to all in log2(p) rounds; of a large one each rank sends p - 1 messages of S/p bytes, adds p parts
of S/p bytes up (gamma seconds a byte), and sends p - 1 messages again.

    T(p, b) = gradient(b) + update + sum over the exchanges + what callers wait for each other

b: samples of a rank. Where more ranks than processors share a machine, computing takes their ratio as long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SMALL = 1 << 14  # bytes, as in the communicator


@dataclass(frozen=True)
class Network:
    """alpha: seconds of a message. beta: seconds of a byte. gamma: seconds to add a byte of another rank's.
    call: seconds of an exchange on a rank, whatever it sends."""

    name: str
    alpha: float
    beta: float
    gamma: float = 1.5e-10
    call: float = 1.5e-5

    def exchange(self, size: int, ranks: int) -> float:
        """Seconds to sum `size` bytes over so many ranks."""
        if ranks == 1:
            return 0.0
        if size <= SMALL:
            rounds = math.ceil(math.log2(ranks))
            return self.call + rounds * self.alpha + (ranks - 1) * size * (self.beta + self.gamma)
        part = size / ranks
        one_way = (ranks - 1) * (self.alpha + part * self.beta)
        return 2 * self.call + 2 * one_way + ranks * part * self.gamma


# What data sheets and the makers' own measurements say of a message between two machines
NETWORKS = (
    Network("1 Gb/s Ethernet", 50e-6, 1 / 0.117e9),
    Network("10 Gb/s Ethernet", 25e-6, 1 / 1.17e9),
    Network("100 Gb/s, RDMA", 2e-6, 1 / 12e9),
)


@dataclass(frozen=True)
class Model:
    """A model as measured on one rank. gradient: seconds of the gradient step by samples, (samples, seconds)
    in ascending order. update: seconds of the step that updates weights. sums: bytes of each exchange of a
    step, in order; the last is that of the gradients. backward: the share of the gradient step that is after
    the first gradient."""

    name: str
    gradient: tuple[tuple[int, float], ...]
    update: float
    sums: tuple[int, ...]
    backward: float = 0.6

    def computes(self, samples: float) -> float:
        """Seconds of the gradient step: between measured points along a line, beyond them as the last two."""
        points = self.gradient
        if len(points) == 1:
            return points[0][1] * samples / points[0][0]
        right = next((i for i, (n, _) in enumerate(points) if n >= samples and i), len(points) - 1)
        (n0, t0), (n1, t1) = points[right - 1], points[right]
        return max(t0 + (t1 - t0) * (samples - n0) / (n1 - n0), 0.0)

    def step(
        self,
        ranks: int,
        samples: float,
        network: Network,
        per_processor: float = 1.0,
        bucket: int | None = None,
    ) -> float:
        """Seconds of a step in which each rank has so many samples. per_processor: ranks that share one.
        bucket: bytes of gradients that travel while the rest is computed."""
        gradient = self.computes(samples) * per_processor
        small = sum(network.exchange(size, ranks) for size in self.sums[:-1])
        last = self.sums[-1]
        if bucket is None or bucket >= last:
            summed = network.exchange(last, ranks)
        else:
            count = math.ceil(last / bucket)
            each = network.exchange(math.ceil(last / count), ranks)
            hidden = gradient * self.backward * (count - 1) / count
            summed = each + max((count - 1) * each - hidden, 0.0)
        return gradient + self.update * per_processor + small + summed

    def speed(self, ranks: int, samples: float, network: Network, **options: float | int | None) -> float:
        """Samples a second of all ranks."""
        return ranks * samples / self.step(ranks, samples, network, **options)  # type: ignore[arg-type]


def weak(model: Model, network: Network, ranks: Sequence[int], samples: int) -> list[float]:
    """Efficiency of p ranks that have `samples` each, against one: speed over p times its speed."""
    alone = model.speed(1, samples, network)
    return [model.speed(p, samples, network) / (p * alone) for p in ranks]


def strong(model: Model, network: Network, ranks: Sequence[int], batch: int) -> list[float]:
    """How many times as fast as one rank p are that share a batch."""
    alone = model.step(1, batch, network)
    return [alone / model.step(p, batch / p, network) for p in ranks]


def fitted(sizes: Sequence[int], seconds: Sequence[float], ranks: int, name: str = "measured") -> Network:
    """The network whose exchanges take these seconds at best, by least squares of relative errors. The terms
    of alpha and of a call, and those of beta and gamma, cannot be told apart at one number of ranks: alpha
    has the first, beta the second."""
    import numpy as np

    one_round = math.ceil(math.log2(ranks)) if ranks > 1 else 0
    rows = []
    for size in sizes:
        if size <= SMALL:
            rows.append((one_round, (ranks - 1) * size))
        else:
            rows.append((2 * (ranks - 1), 2 * (ranks - 1) * size / ranks))
    terms, wanted = np.array(rows, float), np.array(seconds)
    scaled = terms / wanted[:, None]
    found, *_ = np.linalg.lstsq(scaled, np.ones(len(wanted)), rcond=None)
    alpha, beta = np.maximum(found, 0.0)
    return Network(name, float(alpha), float(beta), gamma=0.0, call=0.0)
