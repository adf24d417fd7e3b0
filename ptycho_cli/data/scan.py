"""A scan in the conventions of this program, which everything after reading relies on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.background import Background
from ptycho_cli.data.findings.finding import Finding
from ptycho_cli.data.frame_stack import FrameStack, rows_of
from ptycho_cli.data.read_as import ReadAs

Counts = NDArray[Any] | FrameStack
FILE_PROBE = "The file's probe"
COMPUTED_PROBE = "The probe of semi-angle and defocus"


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Frames of a file that are not in its scan.

    Attributes:
        frames: Their numbers in the file, int64 ``(frame,)``.
        positions_px: Their positions in object pixels, float64 ``(frame, 2)`` as (y, x), NaN where unknown.
    """

    frames: NDArray[np.int64]
    positions_px: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scan:
    """One ptychographic scan, made by ``data.interpret`` from what a reader returns, or simulated.

    Attributes:
        source: Path of the file, for messages.
        layout: Name of the reader that took the file, and its plugin; empty for a simulated scan.
        counts: Measured photons, ``(frame, y, x)``: square frames, zero frequency at ``n // 2``, finite, at least 0,
            and 0 where masked; uint8 or uint16 where the file has integers that fit, else float32. Frames that do not
            fit into memory are a ``FrameStack``, which has ``shape``, ``len`` and ``counts[rows]``, and reads these
            rows.
        positions_px: Position of the probe's centre in object pixels, float64 ``(frame, 2)`` as (y, x).
        mask: Valid detector pixels, bool ``(y, x)``.
        probe: Guess of the probe in real space, centre at ``n // 2``, complex64 ``(mode, y, x)``, scaled so that
            ``sum |P|^2`` is the mean number of photons of a frame (in a simulated scan, of an unattenuated frame);
            None if the file has none.
        probe_name: Name of the probe in notes.
        object_pixel_m: Size of an object pixel in metres; None if unknown.
        wavelength_m: Wavelength in metres; None if unknown.
        distance_m: Distance from sample to detector in metres; None if unknown.
        radiation: X-rays or electrons; None if unknown.
        assumptions: One line for each assumption made in reading, with the ``data.*`` setting that changes it.
        truth: Known object, complex64 ``(y, x)``; never used for training. None if there is none.
        truth_origin_px: Scan coordinate (y, x) of the truth's pixel (0, 0); None if unknown.
        near_field: Reason why the scan is near-field, one clause; None for a far-field scan.
        stored_positions_px: Positions before they were refined, ``(frame, 2)``; None if they were not.
        intensities: Factor on the probe's photons in each frame, ``(frame,)``; None if it is 1 in all.
        findings: Faults of the file, corrected or not, and what is good to know about it.
        stored_frames: Number in the file of each frame, int64 ``(frame,)``; None if no frame was left out.
        left_out: Frames of the file that were left out; None if none were.
        moved_px: How far islands of frames were moved together: with it added, positions are those of the file, float64
            ``(frame, 2)``; None if they were not.
        geometry_tried: Whether other geometries were tried; one that explains the frames better is among ``findings``.
        read_as: How positions and frames were read, to which a change of these settings is relative.
        background: Photons per pixel of each frame that do not come through the object: a number, or a pattern
            ``(y, x)``, zero frequency at ``n // 2``; estimated or given.
    """

    source: str
    counts: Counts
    positions_px: NDArray[np.float64]
    mask: NDArray[np.bool_]
    probe: NDArray[np.complex64] | None = None
    object_pixel_m: float | None = None
    wavelength_m: float | None = None
    distance_m: float | None = None
    radiation: Literal["xray", "electron"] | None = None
    assumptions: tuple[str, ...] = ()
    truth: NDArray[np.complex64] | None = None
    truth_origin_px: tuple[float, float] | None = None
    near_field: str | None = None
    stored_positions_px: NDArray[np.float64] | None = None
    intensities: NDArray[np.float64] | None = None
    background: Background = 0.0
    layout: str = ""
    findings: tuple[Finding, ...] = ()
    stored_frames: NDArray[np.int64] | None = None
    left_out: LeftOut | None = None
    moved_px: NDArray[np.float64] | None = None
    geometry_tried: bool = False
    read_as: ReadAs = field(default_factory=ReadAs)
    probe_name: str = FILE_PROBE

    @property
    def frame_numbers(self) -> NDArray[np.int64]:
        """Number in the file of each frame, int64 ``(frame,)``."""
        return np.arange(self.n_frames, dtype=np.int64) if self.stored_frames is None else self.stored_frames

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return int(self.counts.shape[0])

    @property
    def n_pixels(self) -> int:
        """Pixels along one side of a frame."""
        return int(self.counts.shape[-1])

    def added_to(self, before: Scan) -> tuple[Finding, ...]:
        """Findings that this scan has and an earlier state of it has not."""
        return self.findings[len(before.findings) :]

    def leaving_out(self, frames: Sequence[int] | NDArray[np.int64]) -> Scan:
        """Return the scan without the frames that have these numbers in the file, as far as it has them."""
        rows = np.flatnonzero(np.isin(self.frame_numbers, frames))
        return self.without(rows) if len(rows) else self

    def without(self, rows: NDArray[np.int64]) -> Scan:
        """Return the scan without these frames, which are kept in ``left_out``.

        Args:
            rows: Indices, int64 ``(frame,)``.
        """
        numbers, places = self.frame_numbers[rows], self.positions_px[rows]
        if self.left_out is not None:
            numbers = np.concatenate([self.left_out.frames, numbers])
            places = np.concatenate([self.left_out.positions_px, places])
        order, kept = np.argsort(numbers), np.setdiff1d(np.arange(self.n_frames), rows)
        others = replace(self, stored_frames=self.frame_numbers).select(kept)
        return replace(others, left_out=LeftOut(numbers[order], places[order]))

    def select(self, frames: NDArray[np.int64]) -> Scan:
        """Return the scan with only these frames, in this order.

        Args:
            frames: Indices, int64 ``(frame,)``.
        """
        stored = None if self.stored_positions_px is None else self.stored_positions_px[frames]
        return replace(
            self,
            counts=rows_of(self.counts, frames),
            positions_px=self.positions_px[frames],
            stored_positions_px=stored,
            intensities=None if self.intensities is None else self.intensities[frames],
            moved_px=None if self.moved_px is None else self.moved_px[frames],
            stored_frames=None if self.stored_frames is None else self.stored_frames[frames],
        )
