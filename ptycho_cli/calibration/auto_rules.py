"""Rules that choose a value by the photons and the size of a scan, where a setting is ``auto``."""

from __future__ import annotations

import numpy as np

from ptycho_cli.data.dose import has_whole_counts, typical_rate
from ptycho_cli.data.scan import Scan

# Photons in a bright pixel below which `refiner` is chosen; docs/benchmarks.md has the scans on both sides of it.
LOW_DOSE_PHOTONS = 150.0
# Photons in a bright pixel below which ``auto`` withholds photons from a network that does its own physics.
WITHHELD_BELOW_PHOTONS = 20.0
POLISH_CHOICES = (8, 16, 32)
# Frames, times modes, that all iterations of a polish go through together at most.
MAX_POLISH_FRAMES = 8192


def auto_alpha(scan: Scan) -> float:
    """Regularisation of the network's physics steps, relative to the largest ``|P|^2``.

    ``50 / n`` for ``n`` photons in a bright pixel, within 0.05 and 4: near the best of each of three scans, at 540,
    220 and 5 photons.
    """
    return float(np.clip(50.0 / max(typical_rate(scan), 1e-3), 0.05, 4.0))


def auto_withheld(scan: Scan, *, at_any_dose: bool) -> float:
    """Share of the photons that the network does not see: a quarter, or none.

    None where counts are not whole numbers, which cannot be thinned into independent parts. None either above 20
    photons in a bright pixel, unless ``at_any_dose``: a network that starts from converged physics has nothing but
    noise left to learn from photons that it has seen.
    """
    low_dose = at_any_dose or typical_rate(scan) < WITHHELD_BELOW_PHOTONS
    return 0.25 if has_whole_counts(scan) and low_dose else 0.0


def auto_polish(n_frames: int, modes: int, best: int | None) -> int:
    """Iterations of polish: as many as held-out frames judged best, fewer where each iteration takes long.

    Args:
        n_frames: Number of frames of the scan.
        modes: Number of probe modes.
        best: Iterations after which held-out frames were explained best; None where none were held out.
    """
    most = max(MAX_POLISH_FRAMES // (n_frames * modes), POLISH_CHOICES[0])
    return min(most, POLISH_CHOICES[-1] if best is None else best)
