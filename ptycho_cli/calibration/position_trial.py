"""The last trial of a geometry that explains little: positions of single frames that are wrong, each by its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from ptycho_cli.calibration.geometry_hypotheses import Hypothesis, as_read
from ptycho_cli.calibration.geometry_result import GeometryTrials, Tried, improves
from ptycho_cli.calibration.position_search import refine_positions
from ptycho_cli.calibration.scan_trials import TO_DECIDE, TO_PREVIEW, ScanTrials

SMALLEST, LEFT = 0.05, 0.3  # of photon noise beyond it: what stored positions leave at least, and refined ones at most
LARGEST_MOVE_PX = 6.0  # as physics.max_position_shift_px by default
REFINED = "physics.refine_positions=true"


def with_refined_positions(found: GeometryTrials, trials: ScanTrials, probes: Sequence[Tensor]) -> GeometryTrials:
    """Trials of a geometry, with refined positions as the best one where these alone explain the frames.

    A frame that is left out is judged at the position that it was found at itself, which are two numbers for all of
    its pixels.

    Args:
        found: Trials of other geometries.
        trials: The fits.
        probes: Probes to choose from, each complex ``(mode, y, x)``.
    """
    if found.findings and found.shuffled is None:
        return found
    reading = as_read(found.scan)
    probe = probes[trials.score(reading, probes, TO_PREVIEW).probe if len(probes) > 1 else 0]
    stored = trials.score(reading, [probe], TO_DECIDE)
    if stored.excess < SMALLEST * stored.noise:
        return found
    refined = _refined(trials, reading, probe)
    score = trials.score(refined, [probe], TO_DECIDE)
    if score.excess > LEFT * score.noise or not improves(score, stored):
        return found
    return replace(found, shuffled=None, stored=Tried(reading, stored), best=Tried(refined, score))


def _refined(trials: ScanTrials, reading: Hypothesis, probe: Tensor) -> Hypothesis:
    """The positions that the frames of the trials are explained best at."""
    scan = replace(trials.scan.select(trials.rows), stored_positions_px=None, intensities=None)
    moved = refine_positions(
        scan, probe, update=trials.update, max_shift_px=LARGEST_MOVE_PX * trials.shrink, seed=trials.seed
    )
    moves = (moved - scan.positions_px) / trials.shrink
    positions_px = reading.positions_px.copy()
    positions_px[trials.rows] += moves
    rms = float(np.sqrt(np.mean(np.sum(moves**2, axis=1))))
    name = f"the position of each frame refined (by {rms:.2g} px rms)"
    return Hypothesis(
        "positions-error", name, REFINED, positions_px, cause="The stage was elsewhere than the file says."
    )
