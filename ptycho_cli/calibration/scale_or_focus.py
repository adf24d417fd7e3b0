"""A wrong scale of the positions, or a probe at another focus than the file's: which explains the frames?

Each takes up much of the other: a probe of more defocus makes a fit as if the positions were closer together, and for
a weak object the two cannot be told apart. A probe that was refined for the positions as read has taken up a wrong
scale in this way, and has seen the frames that judge. So a scale is judged with the file's probe as it is, beside the
positions as read with this probe at its best focus: one number against one number.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from ptycho_cli.calibration.geometry_hypotheses import Hypothesis, as_read
from ptycho_cli.calibration.geometry_result import GeometryTrials, Tried, improves
from ptycho_cli.calibration.scan_trials import (
    CLOSER,
    TO_DECIDE,
    TO_REFINE,
    TO_SCREEN,
    Effort,
    ScanTrials,
    Score,
    vertex_of,
)
from ptycho_cli.physics.probe import largest_defocus, refocused

# Changes of the defocus, as shares of the largest: a share does nearly what the same logarithm of a scale does.
SHARES = np.linspace(-0.5, 0.5, 9)


def with_scale_or_focus(found: GeometryTrials, trials: ScanTrials, probe: Tensor, scale: Hypothesis) -> GeometryTrials:
    """Trials of a geometry, with a scale judged by the file's probe if no change of another kind explains the frames.

    Args:
        found: Trials of other geometries.
        trials: The fits.
        probe: The file's probe, complex ``(mode, y, x)``.
        scale: The scale that explains most with this probe.
    """
    named = found.best if found.findings else None
    if found.shuffled is not None or (named is not None and named.hypothesis.id != scale.id):
        return found
    reading = as_read(found.scan)
    stored, scaled = (
        Tried(hypothesis, trials.score(hypothesis, [probe], TO_DECIDE)) for hypothesis in (reading, scale)
    )
    pairs = [] if named is None or found.stored is None else [(found.stored, named)]
    if improves(scaled.score, stored.score) and not _is_explained(found.stored, scaled.score):
        pairs.append((stored, scaled))
    if not pairs:
        return found
    stored, scaled = min(pairs, key=lambda pair: pair[1].score.mean)
    return replace(found, stored=stored, best=scaled, refocused=_at_best_focus(trials, reading, probe))


def _is_explained(stored: Tried | None, scaled: Score) -> bool:
    """Whether another probe explains the frames much better at the positions as read than a scale does."""
    return stored is not None and improves(stored.score, scaled)


def _at_best_focus(trials: ScanTrials, hypothesis: Hypothesis, probe: Tensor) -> Score:
    """The score of a geometry with a probe at the focus that explains the frames best."""
    largest = largest_defocus(probe)

    def best(shares: np.ndarray, effort: Effort) -> float:
        tried = [trials.score(hypothesis, [refocused(probe, share * largest)], effort).mean for share in shares]
        return vertex_of(shares, tried)

    share = best(best(SHARES, TO_SCREEN) + (SHARES[1] - SHARES[0]) * CLOSER, TO_REFINE)
    return trials.score(hypothesis, [refocused(probe, share * largest)], TO_DECIDE)
