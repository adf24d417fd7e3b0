"""Held-out frames of a scan: those that judge a reconstruction which is made without them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.calibration.scan_canvas import central_frames
from ptycho_cli.config.schema import Config
from ptycho_cli.data.groups import held_out_frames
from ptycho_cli.data.scan import Scan

DEFAULT_SHARE = 0.05  # of the frames, where the settings hold out none
# A choice between reconstructions is made on so many frames around the middle of a scan.
CENTRAL_FRAMES = 256


def held_out_of(config: Config, scan: Scan, training_scan: int | None) -> tuple[NDArray[np.int64], bool]:
    """Frames that judge reconstructions of a scan.

    Args:
        config: The settings.
        scan: The scan.
        training_scan: Its number among the scans that the run was trained on; None if it was not.

    Returns:
        Numbers of the frames, int64 ``(frame,)``: those that training held out, or as many of another scan, chosen
        alike; and whether training did not see them either.
    """
    data = config.data
    trained_on = training_scan is not None
    held_back = trained_on and data.validation_fraction > 0 and not data.validation_paths
    share = data.validation_fraction or DEFAULT_SHARE
    chosen = held_out_frames(scan.n_frames, share, config.training.seed, training_scan or 0)
    return np.flatnonzero(chosen), held_back or not trained_on


def central_split(scan: Scan, held_out: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames around the middle of a scan, or all if none of those is held out: the held-out ones, and the others."""
    frames = central_frames(scan, np.arange(scan.n_frames), CENTRAL_FRAMES)
    if not np.isin(frames, held_out).any():
        frames = np.arange(scan.n_frames)
    return np.intersect1d(frames, held_out), np.setdiff1d(frames, held_out)
