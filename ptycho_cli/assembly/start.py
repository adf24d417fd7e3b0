"""Where the physics alone leads: the start that a network is trained on, made once a scan and epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.assembly.physics import MARGIN_PX, exposure_of, frame_photons
from ptycho_cli.data.draws import Start
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import split_positions
from ptycho_cli.physics.relaxation import Relaxation
from ptycho_cli.physics.scene import ScanScene


@dataclass(frozen=True, eq=False)
class MakeStart:
    """Runs a relaxation over the frames of a scan; picklable, so that workers can have it.

    Attributes:
        relaxation: The physics.
        scans: All scans, as ``data.draws`` numbers them.
        first_probe: Gives the probe of the first scan, complex ``(mode, y, x)``; the others have it scaled to their
            photons. Asked when a start is made, for a resumed run gets it from its checkpoint.
        seed: Key of the order of the frames.
    """

    relaxation: Relaxation
    scans: Sequence[Scan]
    first_probe: Callable[[], Tensor]
    seed: int

    @torch.inference_mode()
    def __call__(self, number: int, frames: NDArray[np.int64], counts: NDArray[np.float32], share: float) -> Start:
        """The start from ``counts``, a ``share`` of the photons of ``frames``."""
        scan = self.scans[number]
        order = np.random.default_rng([self.seed, 5]).permutation(len(frames))
        part = replace(scan, counts=counts[order], positions_px=scan.positions_px[frames[order]])
        brightness = share * frame_photons(scan) / frame_photons(self.scans[0])
        probe = self.first_probe() * math.sqrt(brightness)
        obj, photons = self.relaxation(ScanScene(exposure_of(part, dtype=probe.real.dtype), probe))
        corners, _ = split_positions(part.positions_px, scan.n_pixels)
        fields = torch.stack((obj[0].real, obj[0].imag, photons[0])).numpy()
        return Start(fields, corners.min(axis=0) - MARGIN_PX)
