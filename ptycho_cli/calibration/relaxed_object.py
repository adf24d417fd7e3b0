"""The object that physics alone finds from the frames of a scan, as the initial object of a network."""

from __future__ import annotations

import torch
from torch import Tensor

from ptycho_cli.calibration.scan_canvas import MARGIN_PX, scan_frames
from ptycho_cli.data.photon_thinning import InitialObject
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import split_positions
from ptycho_cli.physics.frame_source import ScanFrameSource
from ptycho_cli.physics.relaxation import Relaxation


@torch.inference_mode()
def relaxed_object(relaxation: Relaxation, scan: Scan, probe: Tensor) -> InitialObject:
    """Run a relaxation over all frames of a scan.

    Args:
        relaxation: The physics.
        scan: The scan, its frames in random order, which decides the ordered subsets.
        probe: Its probe, complex ``(mode, y, x)``.
    """
    obj, photons = relaxation(ScanFrameSource(scan_frames(scan, dtype=probe.real.dtype), probe))
    corners, _ = split_positions(scan.positions_px, scan.n_pixels)
    fields = torch.stack((obj[0].real, obj[0].imag, photons[0])).numpy()
    return InitialObject(fields, corners.min(axis=0) - MARGIN_PX)
