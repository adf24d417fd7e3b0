"""Errors of a reconstruction, estimated from parts of the frames without a known object; stored with it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Differences between reconstructions from parts of the frames; arrays ``(y, x)`` have the object's pixels.

    Attributes:
        second_half: Frames of the second half, bool ``(frame,)``; the others are the first half.
        halves: Object from each half alone, complex64 ``(2, y, x)``, aligned with the whole; NaN where it has no light.
        amplitude_spread: Standard error of the amplitude, float32 ``(y, x)``; NaN where a half has no light.
        phase_spread_rad: Standard error of the phase in radians, likewise.
        ring_radius: Middle of each Fourier ring in units of Nyquist, ``(ring,)``.
        ring_correlation: Correlation of the halves in each ring.
        ring_half_bit: Half-bit threshold of each ring.
        frc50_nyquist: Frequency at which the correlation first falls below 0.5, in units of Nyquist; 1 if never.
        frc143_nyquist: The same for 1/7.
        frc_half_bit_nyquist: The same for the half-bit threshold.
        held_out: Frames that one more reconstruction was made without, and is scored on, int64 ``(held out,)``.
        held_out_deviance: Mean Poisson deviance of those frames, nats per pixel.
        held_out_r_factor: Their R-factor.
        held_out_from_training: True if the network was trained without those frames, too.
    """

    second_half: NDArray[np.bool_]
    halves: NDArray[np.complex64]
    amplitude_spread: NDArray[np.float32]
    phase_spread_rad: NDArray[np.float32]
    ring_radius: NDArray[np.float64]
    ring_correlation: NDArray[np.float64]
    ring_half_bit: NDArray[np.float64]
    frc50_nyquist: float
    frc143_nyquist: float
    frc_half_bit_nyquist: float
    held_out: NDArray[np.int64]
    held_out_deviance: float
    held_out_r_factor: float
    held_out_from_training: bool

    def metrics(self) -> dict[str, Any]:
        """The metrics of ``ptycho evaluate``, by name."""
        return {
            "held_out_deviance": self.held_out_deviance,
            "held_out_r_factor": self.held_out_r_factor,
            "held_out_frames": len(self.held_out),
            "held_out_from_training": self.held_out_from_training,
            "half_frc50_nyquist": self.frc50_nyquist,
            "half_frc143_nyquist": self.frc143_nyquist,
            "half_frc_half_bit_nyquist": self.frc_half_bit_nyquist,
            "amplitude_spread": float(np.nanmedian(self.amplitude_spread)),
            "phase_spread_rad": float(np.nanmedian(self.phase_spread_rad)),
        }


def add_uncertainty(group: h5py.Group, found: Uncertainty) -> None:
    """Write into a new HDF5 group: arrays as datasets, numbers as attributes."""
    for field in fields(Uncertainty):
        value = getattr(found, field.name)
        if isinstance(value, np.ndarray):
            group[field.name] = value
        else:
            group.attrs[field.name] = value


def uncertainty_in(group: h5py.Group) -> Uncertainty:
    """Read a group that ``add_uncertainty`` wrote."""
    values: dict[str, Any] = {name: np.asarray(dataset[()]) for name, dataset in group.items()}
    values |= {name: value.item() for name, value in group.attrs.items()}
    return Uncertainty(**{field.name: values[field.name] for field in fields(Uncertainty)})
