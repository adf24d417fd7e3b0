"""A validated scan: what every reader makes and everything after it relies on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Scan:
    """One ptychographic scan in the conventions of this program; made by readers, checked by ``data.checks``.

    Attributes:
        source: Path of the file, for messages.
        layout: Name of the reader that took the file, and its plugin; empty for a simulated scan.
        counts: Measured photons, float32 ``(frame, y, x)``, square frames, zero frequency at ``n // 2``, finite,
            at least 0, and 0 where masked.
        positions_px: Position of the probe's centre in object pixels, float64 ``(frame, 2)`` as (y, x).
        mask: Detector pixels to trust, bool ``(y, x)``.
        probe: Guess of the probe in real space, its centre at ``n // 2``, complex64 ``(mode, y, x)``, scaled so
            that ``sum |P|^2`` is the mean photons of a frame (of an unattenuated one in a scan that this program
            simulated); None if the file has none.
        object_pixel_m: Size of an object pixel in metres; None if unknown.
        wavelength_m: None if unknown.
        assumptions: One line for everything that the reader took for granted, each naming the
            ``data.*`` key that changes it.
        truth: Known object, complex64 ``(y, x)``, of a simulated scan; never used for training.
        truth_origin_px: Scan coordinate (y, x) of the truth's pixel (0, 0); None where unknown.
        near_field: Why the scan is near-field, one clause, and so cannot be reconstructed here; None for far-field.
        stored_positions_px: Positions as they were before they were refined; None where they were not.
        intensities: Factor on the photons of the probe in each frame, ``(frame,)``, where it was found; None: 1 in all.
        background: Constant background in photons per pixel of a frame, estimated or given.
    """

    source: str
    counts: NDArray[np.float32]
    positions_px: NDArray[np.float64]
    mask: NDArray[np.bool_]
    probe: NDArray[np.complex64] | None = None
    object_pixel_m: float | None = None
    wavelength_m: float | None = None
    assumptions: tuple[str, ...] = ()
    truth: NDArray[np.complex64] | None = None
    truth_origin_px: tuple[float, float] | None = None
    near_field: str | None = None
    stored_positions_px: NDArray[np.float64] | None = None
    intensities: NDArray[np.float64] | None = None
    background: float = 0.0
    layout: str = ""

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return int(self.counts.shape[0])

    @property
    def n_pixels(self) -> int:
        """Pixels along one side of a frame."""
        return int(self.counts.shape[-1])

    def select(self, frames: NDArray[np.int64]) -> Scan:
        """The same scan with some of its frames alone, in the order given."""
        stored = None if self.stored_positions_px is None else self.stored_positions_px[frames]
        return replace(
            self,
            counts=self.counts[frames],
            positions_px=self.positions_px[frames],
            stored_positions_px=stored,
            intensities=None if self.intensities is None else self.intensities[frames],
        )
