"""Where the physics alone leads: the start that a network is trained on, made once a scan and epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.scan_canvas import MARGIN_PX, frame_photons, scan_frames
from ptycho_cli.data.photon_thinning import Start
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import split_positions
from ptycho_cli.physics.frame_source import ScanFrameSource
from ptycho_cli.physics.relaxation import Relaxation


@dataclass(frozen=True, eq=False)
class MakeStart:
    """Runs a relaxation over the frames of a scan; picklable, so that workers can have it.

    Attributes:
        relaxation: The physics.
        scans: All scans, as ``data.draws`` numbers them.
        objective: Has the probe of the first scan, which the others have scaled to their photons, and intensities and
            background. Asked when a start is made, for a resumed run gets them from its checkpoint.
        seed: Key of the order of the frames.
    """

    relaxation: Relaxation
    scans: Sequence[Scan]
    objective: Objective
    seed: int

    @torch.inference_mode()
    def __call__(self, number: int, frames: NDArray[np.int64], counts: NDArray[np.float32], share: float) -> Start:
        """The start from ``counts``, a ``share`` of the photons of ``frames``."""
        scan, first = (self.objective.corrected(self.scans[i], i) or self.scans[i] for i in (number, 0))
        order = np.random.default_rng([self.seed, 5]).permutation(len(frames))
        part = replace(scan.select(frames[order]), counts=counts[order], background=share * scan.background)
        brightness = share * frame_photons(scan) / frame_photons(first)
        probe = self.objective.initial_probe() * math.sqrt(brightness)
        obj, photons = self.relaxation(ScanFrameSource(scan_frames(part, dtype=probe.real.dtype), probe))
        corners, _ = split_positions(part.positions_px, scan.n_pixels)
        fields = torch.stack((obj[0].real, obj[0].imag, photons[0])).numpy()
        return Start(fields, corners.min(axis=0) - MARGIN_PX)
