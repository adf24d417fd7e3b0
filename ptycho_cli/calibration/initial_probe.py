"""The first guess of a probe: the file's, or one made from the mean pattern."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ptycho_cli.calibration.scan_canvas import frame_photons
from ptycho_cli.calibration.trial_fit import TrialFit
from ptycho_cli.data.frame_statistics import total_of
from ptycho_cli.data.scan import Scan
from ptycho_cli.physics.modes import with_modes
from ptycho_cli.physics.probe import defocus_candidates, initial_probe, scale_probe

DEFOCUS_ITERATIONS = 4  # of the object for each defocus that is tried


def mode_count(scan: Scan, modes: int | None) -> int:
    """Number of probe modes of a scan: what is asked for, else as many as the file has, else one."""
    return modes or (1 if scan.probe is None else len(scan.probe))


def file_probe(scan: Scan, dtype: torch.dtype) -> Tensor | None:
    """The file's probe, scaled to the photons of the scan, complex ``(mode, y, x)``; None if there is none."""
    if scan.probe is None:
        return None
    return scale_probe(torch.from_numpy(scan.probe).to(_complex(dtype)), frame_photons(scan))


def unrefined_probe(scan: Scan, dtype: torch.dtype, modes: int | None = None) -> Tensor:
    """The file's probe, or one in focus made from the mean pattern, complex ``(mode, y, x)``.

    Args:
        scan: The scan, to whose photons the probe is scaled.
        dtype: Type of real numbers.
        modes: Number of modes; None for as many as the file's probe has.
    """
    found = file_probe(scan, dtype)
    if found is None:
        pattern = np.asarray(total_of(scan.counts) / scan.n_frames, dtype=np.float32)
        found = scale_probe(initial_probe(torch.from_numpy(pattern)).to(_complex(dtype)), frame_photons(scan))
    return with_modes(found, mode_count(scan, modes))


def probe_from_pattern(scan: Scan, trial: TrialFit, dtype: torch.dtype, modes: int) -> tuple[Tensor, str]:
    """Make a probe from the mean pattern, at the defocus that explains test frames best.

    Args:
        scan: The scan, to whose photons the probe is scaled.
        trial: Frames to choose the defocus by.
        dtype: Type of real numbers.
        modes: Number of modes.

    Returns:
        The probe, complex ``(mode, y, x)``, and its name for notes, which begins a sentence.
    """
    pattern, photons = torch.from_numpy(total_of(scan.counts) / scan.n_frames), frame_photons(scan)
    best, least, chosen = None, float("inf"), 0.0
    for defocus in defocus_candidates(pattern):
        probe = scale_probe(initial_probe(pattern, defocus).to(_complex(dtype)), photons)
        deviance = trial.deviance_of_probe(probe, DEFOCUS_ITERATIONS)
        if best is None or deviance < least:
            best, least, chosen = probe, deviance, defocus
    assert best is not None
    return with_modes(best, modes), f"A probe made from the mean pattern (defocus {chosen:.3g} object pixels squared)"


def _complex(dtype: torch.dtype) -> torch.dtype:
    return torch.complex128 if dtype == torch.float64 else torch.complex64
