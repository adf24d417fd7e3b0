"""How many photons a scan has, for what is chosen by them; knows neither torch nor settings."""

from __future__ import annotations

import numpy as np

from ptycho_cli.data.scan import Scan

WHOLE = 0.99  # share of pixels with whole counts from which on they are taken for photons


def typical_rate(scan: Scan) -> float:
    """Photons that a bright pixel expects: the mean rate weighted by itself, ``sum n(n - 1) / sum n``.

    Unlike a plain mean it does not depend on how much dark detector surrounds the pattern.
    """
    counts = scan.counts
    total = float(counts.sum(dtype=np.float64))
    return max(float(np.square(counts, dtype=np.float64).sum()) / total - 1.0, 0.0)


def counts_photons(scan: Scan) -> bool:
    """Whether counts are whole numbers: only those can be thinned into parts that are independent."""
    counts = scan.counts
    return float(np.mean(counts == np.floor(counts))) > WHOLE
