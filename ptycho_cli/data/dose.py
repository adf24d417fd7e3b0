"""Dose of a scan: the photons by which defaults are chosen. Torch is not loaded."""

from __future__ import annotations

import numpy as np

from ptycho_cli.data.scan import Scan

MIN_WHOLE = 0.99  # share of whole numbers from which on counts are taken for photons


def typical_rate(scan: Scan) -> float:
    """Photons expected in a bright pixel: the mean rate weighted by itself, ``sum n(n - 1) / sum n``.

    Unlike a plain mean, it does not depend on the area of dark detector around the pattern.
    """
    counts = scan.counts
    total = float(counts.sum(dtype=np.float64))
    return max(float(np.square(counts, dtype=np.float64).sum()) / total - 1.0, 0.0)


def has_whole_counts(scan: Scan) -> bool:
    """True if the counts are whole numbers; only those can be thinned into independent parts."""
    counts = scan.counts
    return float(np.mean(counts == np.floor(counts))) > MIN_WHOLE
