"""The object that is found from the frames of a scan before a network, as its initial object."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ptycho_cli.calibration.scan_canvas import MARGIN_PX, scan_frames
from ptycho_cli.data.photon_thinning import InitialObject
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import split_positions
from ptycho_cli.physics.frame_source import FrameSource, ScanFrameSource

Start = Callable[[FrameSource], tuple[Tensor, Tensor]]  # ``PhysicsInitialised.start`` of a network


@torch.inference_mode()
def relaxed_object(start: Start, scan: Scan, probe: Tensor) -> InitialObject:
    """Find the initial object from all frames of a scan.

    Args:
        start: Returns objects and the photons on their pixels.
        scan: The scan, its frames in random order, which decides the ordered subsets.
        probe: Its probe, complex ``(mode, y, x)``.
    """
    objects, photons = start(ScanFrameSource(scan_frames(scan, dtype=probe.real.dtype), probe))
    corners, _ = split_positions(scan.positions_px, scan.n_pixels)
    fields = torch.cat((torch.view_as_real(objects[0]).movedim(-1, 1).flatten(0, 1), photons)).numpy()
    return InitialObject(fields, corners.min(axis=0) - MARGIN_PX)
