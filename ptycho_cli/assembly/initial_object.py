"""Initial objects for a network that is trained on what is found before its trained part."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.relaxed_object import Start, relaxed_object
from ptycho_cli.calibration.scan_canvas import frame_photons
from ptycho_cli.data.frame_stack import rows_of
from ptycho_cli.data.photon_thinning import InitialObject
from ptycho_cli.data.scan import Counts, Scan
from ptycho_cli.networks.contract import PhysicsInitialised


@dataclass(frozen=True, eq=False)
class InitialObjects:
    """Finds the initial object of a scan; can be pickled, for worker processes.

    Attributes:
        network: The network. Like the objective, it is read when an object is found.
        scans: All scans, validation scans after training scans.
        objective: Has the probe of the first scan, and intensities and background. It is read when an object is found,
            since a resumed run loads them from its checkpoint.
        seed: Key of the order of the frames.
        probes: Probe of each scan in square roots of photons, complex ``(mode, y, x)``; empty where all have that of
            the objective.
    """

    network: PhysicsInitialised
    scans: Sequence[Scan]
    objective: Objective
    seed: int
    probes: Sequence[Tensor] = ()

    @torch.inference_mode()
    def __call__(self, number: int, frames: NDArray[np.int64], counts: Counts, share: float) -> InitialObject:
        """Find the object from part of the photons of some frames.

        Args:
            number: Number of the scan.
            frames: Numbers of the frames to use.
            counts: Their counts, ``(frame, y, x)``.
            share: Share of the photons that these are.
        """
        scan, first = (self.objective.corrected(self.scans[i], i) or self.scans[i] for i in (number, 0))
        order = np.random.default_rng([self.seed, 5]).permutation(len(frames))
        part = replace(scan.select(frames[order]), counts=rows_of(counts, order), background=share * scan.background)
        start = start_on_cpu(self.network)
        if self.probes:
            return relaxed_object(start, part, self.probes[number] * math.sqrt(share))
        brightness = share * frame_photons(scan) / frame_photons(first)
        return relaxed_object(start, part, self.objective.initial_probe() * math.sqrt(brightness))


def start_on_cpu(network: PhysicsInitialised) -> Start:
    """The start of a network where scans are; a network that computes elsewhere is copied."""
    here = all(weights.device.type == "cpu" for weights in network.parameters())
    return network.start if here else copy.deepcopy(network).cpu().start
