"""Results of trials of the geometry: which other geometry explains left-out frames much better, if any."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ptycho_cli.calibration.frame_order import NeighbourLikeness
from ptycho_cli.calibration.geometry_hypotheses import AXES, Hypothesis
from ptycho_cli.calibration.scan_trials import Score
from ptycho_cli.data.findings.finding import Finding, with_treatments
from ptycho_cli.data.scan import Scan

SIGNIFICANT = 5.0  # standard errors over the left-out frames
MUCH = 0.6  # of the deviance beyond noise: what must be left at most
NOISE_LIMITED = 0.15  # of photon noise: where less lies beyond it, only the significance counts
SCALE_EXPLAINS = 0.8  # of the mean pattern's deviance: a fit that leaves more says nothing about a scale
CLEAR = 0.02  # of photon noise: where a scale leaves so much more than another focus, the scale is wrong
REFOCUSED = (
    "With the positions as read, the file's probe at another focus explains the frames as well: only a pixel size or a "
    "focus that is known for sure tells which is right."
)


@dataclass(frozen=True, eq=False)
class Tried:
    """A hypothesis and its score."""

    hypothesis: Hypothesis
    score: Score


def best_of(tried: list[Tried]) -> list[Tried]:
    """Those that explain most first."""
    return sorted(tried, key=lambda item: item.score.mean)


def without_twins(tried: list[Tried]) -> list[Tried]:
    """The first of those that share a score."""
    first: dict[int, Tried] = {}
    for item in tried:
        first.setdefault(id(item.score), item)
    return list(first.values())


@dataclass(frozen=True, eq=False)
class GeometryTrials:
    """Result of the trials.

    Attributes:
        scan: The scan.
        axes: The positions as read, and their seven other orientations, all after few iterations.
        stored: The geometry as read, after many iterations; None where no other came near it.
        best: The other geometry that explains left-out frames best, after many iterations; None likewise.
        refocused: The geometry as read with the file's probe at its best focus, where ``best`` is a scale, which this
            may explain as well; None if it was not tried.
        shuffled: Likeness of neighbours, if nothing explains the frames and they are not in the order of the positions.
    """

    scan: Scan
    axes: tuple[Tried, ...]
    stored: Tried | None = None
    best: Tried | None = None
    refocused: Score | None = None
    shuffled: NeighbourLikeness | None = None

    def axes_as_json(self) -> list[dict[str, Any]]:
        """The positions as read and their seven other orientations: name, setting, and how well each explains."""
        names = ["as read", *AXES]
        return [
            {"name": name, "setting": tried.hypothesis.setting, "as_read": name == "as read",
             "deviance": tried.score.mean, "times_noise": tried.score.mean / tried.score.noise}
            for name, tried in zip(names, self.axes, strict=True)
        ]  # fmt: skip

    @property
    def findings(self) -> list[Finding]:
        """The geometry that explains left-out frames much better than the one as read: a finding for each change."""
        stored, best = self.stored, self.best
        if self.shuffled is not None:
            found = [_shuffled(self.shuffled)]
        elif stored is None or best is None or not (improves(best.score, stored.score) and _is_identified(best)):
            found = []
        elif self.refocused is not None and _is_clearly_better(self.refocused, best.score):
            found = []  # the probe is out of focus, and will be refined
        else:
            found = _explained(stored.score, best, self.refocused)
        return with_treatments(found, self.scan.read_as.options.findings)


def _explained(stored: Score, best: Tried, refocused: Score | None) -> list[Finding]:
    ratio, score, hypothesis = stored.excess / best.score.excess, best.score, best.hypothesis
    times = f"{ratio:.3g} times better" if ratio < 100 else "more than 100 times better"
    evidence = {"deviance": stored.mean, "deviance_cured": score.mean, "noise": score.noise,
                "significance": score.significance(stored)}  # fmt: skip
    message = (
        f"With {hypothesis.name}, left-out frames are explained {times}: deviance {score.mean:.3g} instead of "
        f"{stored.mean:.3g}, photon noise alone {score.noise:.3g}. {hypothesis.cause}"
    )
    first = Finding(hypothesis.id, "warning", message.rstrip(), setting=hypothesis.setting, evidence=evidence)
    if refocused is not None and score.significance(refocused) < SIGNIFICANT:
        first = replace(first, message=f"{first.message} {REFOCUSED}")
    if hypothesis.also is None:
        return [first]
    second = f"One of two faults that only explain the frames together; {first.id} says how well."
    return [first, Finding(hypothesis.also, "warning", second, setting=hypothesis.setting, evidence=evidence)]


def _shuffled(likeness: NeighbourLikeness) -> Finding:
    return Finding(
        "positions-index", "warning",
        "Many frames are alike, but not those of neighbouring positions, and no other geometry explains the frames: "
        "they are in another order than the positions, or positions and frames are of different scans.",
        evidence={"reliability": likeness.reliability, "significance": likeness.significance},
    )  # fmt: skip


def improves(score: Score, stored: Score) -> bool:
    """Whether a hypothesis explains left-out frames significantly and much better."""
    limited = stored.excess < NOISE_LIMITED * stored.noise
    return (limited or score.excess < MUCH * stored.excess) and score.significance(stored) > SIGNIFICANT


def _is_clearly_better(refocused: Score, scaled: Score) -> bool:
    """Whether another focus explains frames better than a scale, and by more than its greater overlap alone brings."""
    gain = (scaled.mean - scaled.noise) - (refocused.mean - refocused.noise)
    return gain > CLEAR * scaled.noise and refocused.significance(scaled) > SIGNIFICANT


def _is_identified(tried: Tried) -> bool:
    """Whether a hypothesis may be reported where it improves.

    Compressed positions overlap more, so that a fit takes up less noise. Where the fit explains hardly more than the
    mean pattern, this alone decides between scales.
    """
    return tried.hypothesis.id != "positions-scale" or tried.score.mean < SCALE_EXPLAINS * tried.score.of_mean
