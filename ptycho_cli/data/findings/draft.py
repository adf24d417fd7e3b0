"""A scan while it is being made from a file: the checks of this folder look at it and correct it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.findings.finding import Finding, Severity, listed
from ptycho_cli.data.findings.spikes import SpikeGatherer, Spikes
from ptycho_cli.data.frame_corrections import Correction, Roll, RollEach, ZeroPixels
from ptycho_cli.data.frame_stack import FrameStack
from ptycho_cli.data.frame_statistics import (
    FrameGatherer,
    FrameStatistics,
    PixelStatistics,
    SampleGatherer,
    Top,
    gather,
)
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers.raw_scan import RawScan

KEEP_FRAMES = "data.reject_bad_frames=never"
STEADIEST = 0.1  # share of the pixels that vary least: the object changes the light of the others
MOST = 0.5  # of the frames: if more look wrong, it is the check that is wrong


@dataclass(eq=False)
class Draft:
    """A scan that is not finished. Checks change it in place, in the order of ``findings.FRAME_CHECKS``.

    Attributes:
        raw: The file's arrays and what the file says about them.
        options: How the user wants the file to be read.
        counts: Frames that are kept, with the corrections so far.
        valid: Detector pixels that are used, bool ``(y, x)``.
        frames: Number in the file of each kept frame, int64 ``(frame,)``.
        positions: Stored positions of the kept frames, float64 ``(frame, 2)`` in (y, x).
        notes: Assumptions so far, one line each.
        findings: Findings so far.
        dropped: Numbers in the file and stored positions of the frames that were left out, in the order of the checks.
        moved: Whole pixels (y, x) by which frames were rolled to bring the zero frequency to ``n // 2``.
    """

    raw: RawScan
    options: ReadOptions
    counts: FrameStack
    valid: NDArray[np.bool_]
    frames: NDArray[np.int64]
    positions: NDArray[np.float64]
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    moved: tuple[int, int] = (0, 0)
    dropped: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=list)
    _pixels: PixelStatistics | None = None
    _frames: FrameStatistics | None = None
    _sample: NDArray[np.float64] | None = None
    _spikes: Spikes | None = None
    _photons: NDArray[np.float64] | None = None

    @property
    def of_pixels(self) -> PixelStatistics:
        """Statistics of each pixel, of the frames as they are now."""
        self._gather("_pixels")
        assert self._pixels is not None
        return self._pixels

    @property
    def top(self) -> Top:
        """The largest value of all pixels, and where it is."""
        found = self.of_pixels
        if found.top is None:
            found.top = Top(self.counts)
            gather(self.counts, found.top)
        return found.top

    @property
    def of_frames(self) -> FrameStatistics:
        """Statistics of each frame, likewise."""
        self._gather("_frames")
        assert self._frames is not None
        return self._frames

    @property
    def photon_value(self) -> float:
        """Value of one photon, from the variances of the pixels that vary least; infinite if none varies."""
        known = self.of_pixels
        means = known.total / known.n_frames
        variances = known.squares / known.n_frames - means**2
        lit = self.valid & (means > 0) & (variances > 0)
        return float(np.quantile(variances[lit] / means[lit], STEADIEST)) if lit.any() else np.inf

    @property
    def known_photons(self) -> NDArray[np.float64] | None:
        """Photons of each frame, ``(frame,)``, if no further pass through the frames is needed for them."""
        return self._photons

    @property
    def sample(self) -> NDArray[np.float64]:
        """Some of the positive values of valid pixels, from all frames, ``(n,)``."""
        self._gather("_sample")
        assert self._sample is not None
        return self._sample

    @property
    def spikes(self) -> Spikes:
        """Values that may be spikes, of the frames as they are now."""
        self._gather("_spikes")
        assert self._spikes is not None
        return self._spikes

    def _gather(self, name: str) -> None:
        """Pass over the frames for statistics that are not known, and for others that are unknown too."""
        if getattr(self, name) is not None:
            return
        pixels = PixelStatistics(self.counts) if self._pixels is None else None
        frames = FrameGatherer(self.counts) if self._frames is None else None
        sample = SampleGatherer(self.counts, self.valid) if self._sample is None else None
        spikes = SpikeGatherer() if self._spikes is None else None
        all_finite = gather(self.counts, *(item for item in (pixels, frames, sample, spikes) if item is not None))
        if pixels is not None:
            pixels.all_finite = all_finite
        self._pixels = pixels or self._pixels
        if frames is not None:
            self._frames = frames.found()
            self._photons = self._frames.photons
        self._sample = self._sample if sample is None else sample.found()
        self._spikes = self._spikes if spikes is None else spikes.found()

    def correct(self, correction: Correction) -> None:
        """Change the values of the frames."""
        self.counts = self.counts.then(correction)
        self._pixels = self._frames = self._sample = self._photons = self._spikes = None

    def report(
        self,
        id: str,
        severity: Severity,
        message: str,
        *,
        setting: str | None = None,
        rows: NDArray[np.int64] | None = None,
        pixels: NDArray[np.bool_] | None = None,
        evidence: Mapping[str, float] | None = None,
    ) -> bool:
        """Add a finding, with the severity that the user sets for its id if there is one.

        Args:
            id: As in ``Finding``, like the arguments that are not described here.
            severity: By default.
            message: Sentence.
            setting: Setting that changes it; by default the one that switches the finding off.
            rows: Frames concerned, as rows of ``counts``.
            pixels: Pixels concerned, bool ``(y, x)``, in the frames as they are now.
            evidence: Measured values.

        Returns:
            False if the user ignores findings of this id, so that nothing is to be corrected either.
        """
        treatment = dict(self.options.findings).get(id, severity)
        if treatment == "ignore":
            return False
        if pixels is not None:
            pixels = np.roll(pixels, (-self.moved[0], -self.moved[1]), (0, 1))
        self.findings.append(
            Finding(
                id, treatment, message, setting or f"data.findings.{id}=ignore",
                frames=() if rows is None else tuple(self.frames[rows].tolist()),
                pixels=() if pixels is None else tuple((int(y), int(x)) for y, x in np.argwhere(pixels)),
                evidence=evidence or {},
            )
        )  # fmt: skip
        return True

    def leave_out(
        self,
        id: str,
        rows: NDArray[np.int64],
        reason: str,
        *,
        evidence: Mapping[str, float] | None = None,
        most: float = MOST,
    ) -> None:
        """Report bad frames and leave them out, unless the user keeps them or they are too many.

        Args:
            id: Id of the finding.
            rows: The frames, as rows of ``counts``; nothing happens if there are none.
            reason: What is wrong with them, a clause.
            evidence: Measured values.
            most: Share of the frames up to which they are left out.
        """
        if not len(rows):
            return
        drop = self.options.reject_bad_frames == "auto" and len(rows) <= most * len(self.counts)
        numbers = tuple(self.frames[rows].tolist())
        reported = self.report(
            id, "fixed" if drop else "warning",
            f"Frame{'s' if len(rows) > 1 else ''} {listed(numbers)}: {reason}{'; left out' if drop else ''}.",
            setting=KEEP_FRAMES, rows=rows, evidence=evidence,
        )  # fmt: skip
        if drop and reported:
            self.drop(rows)

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Remove frames, by their rows in ``counts``."""
        if not len(rows):
            return
        kept = np.ones(len(self.counts), dtype=bool)
        kept[rows] = False
        self.dropped.append((self.frames[rows], self.positions[rows]))
        self.counts, self.frames, self.positions = self.counts.select(kept), self.frames[kept], self.positions[kept]
        self._pixels = self._sample = None
        self._frames = None if self._frames is None else self._frames.select(kept)
        self._photons = None if self._photons is None else self._photons[kept]
        self._spikes = None if self._spikes is None else self._spikes.of_frames(kept)

    def mask(self, pixels: NDArray[np.bool_]) -> None:
        """Stop using pixels, bool ``(y, x)``; their counts become 0."""
        if not pixels.any():
            return
        self.valid = self.valid & ~pixels
        if self._pixels is not None and self._pixels.is_zero(pixels):  # nothing changes
            return
        self.counts = self.counts.then(ZeroPixels(pixels))
        self._pixels = None if self._pixels is None else self._pixels.without(pixels)
        self._frames = self._sample = self._photons = self._spikes = None

    def roll(self, step: tuple[int, int]) -> None:
        """Move the frames cyclically by whole pixels (y, x)."""
        self.counts = self.counts.then(Roll(step))
        self.valid = np.roll(self.valid, step, axis=(0, 1))
        self.moved = (self.moved[0] + step[0], self.moved[1] + step[1])
        self._pixels = None if self._pixels is None else self._pixels.rolled(step)
        self._frames = self._sample = self._spikes = None

    def roll_each(self, steps: NDArray[np.int64]) -> None:
        """Move each frame cyclically by its own whole pixels (y, x); pixels are used that are valid in all frames."""
        moved = [np.roll(self.valid, (int(y), int(x)), axis=(0, 1)) for y, x in np.unique(steps, axis=0)]
        self.correct(RollEach(self.counts.base_rows, steps))
        self.valid = np.logical_and.reduce(moved)
        self.mask(~self.valid)
