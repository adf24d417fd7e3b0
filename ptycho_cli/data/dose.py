"""Dose of a scan: the photons by which defaults are chosen. Torch is not loaded."""

from __future__ import annotations

from ptycho_cli.data.frame_statistics import photons_of, squares_of, whole_share_of
from ptycho_cli.data.scan import Scan

MIN_WHOLE = 0.99  # share of whole numbers from which on counts are taken for photons


def typical_rate(scan: Scan) -> float:
    """Photons expected in a bright pixel: the mean rate weighted by itself, ``sum n(n - 1) / sum n``.

    Unlike a plain mean, it does not depend on the area of dark detector around the pattern.
    """
    return max(squares_of(scan.counts) / float(photons_of(scan.counts).sum()) - 1.0, 0.0)


def has_whole_counts(scan: Scan) -> bool:
    """True if the counts are whole numbers; only those can be thinned into independent parts."""
    return whole_share_of(scan.counts) > MIN_WHOLE
