"""Positions of frames: the misfit of moved frames, and the Gauss-Newton move that reduces it most."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ptycho_cli.physics.forward import detector_intensity
from ptycho_cli.physics.frame_tensors import ScanFrames, frames_at_once
from ptycho_cli.physics.object_update import DARK_PHOTONS
from ptycho_cli.physics.patches import gather
from ptycho_cli.physics.probe import shift_waves
from ptycho_cli.physics.propagation import intensity

WAVES_AT_ONCE = 2**22  # complex numbers in memory at once
_DAMPING = 0.01  # added to the diagonal of the normal matrix, relative to its mean
AMPLITUDE_VARIANCE = 0.25  # of the square root of a Poisson number


@torch.no_grad()
def misfit_at(frames: ScanFrames, obj: Tensor, probe: Tensor, moves: Tensor) -> Tensor:
    """Return the sum of squared amplitude differences of each frame, moved by whole pixels.

    Args:
        frames: The frames at their present positions.
        obj: Object, complex ``(y, x)``.
        probe: Probe, complex ``(mode, y, x)``.
        moves: Moves (y, x) to try in whole pixels, int64 ``(trial, 2)``; none may lead outside the canvas.

    Returns:
        Photons, ``(frame, trial)``.
    """
    size, trials = probe.shape[-1], len(moves)
    at_once = max(1, min(frames_at_once(size), WAVES_AT_ONCE // (trials * probe.numel())))
    trials_at_once = max(1, WAVES_AT_ONCE // probe.numel())
    found = obj.real.new_empty(len(frames), trials)
    for first in range(0, len(frames), at_once):
        which = slice(first, first + at_once)
        part = frames.select(which)
        probes = part.probes(probe)[:, None]
        for start in range(0, trials, trials_at_once):  # all at once for frames of usual size
            some = slice(start, start + trials_at_once)
            corners = part.corners[:, None] + moves[some]
            patches = gather(obj[None], corners.reshape(1, -1, 2), size).reshape(*corners.shape[:2], 1, size, size)
            rate = detector_intensity(patches * probes) + part.background
            found[which, some] = _residual(part, rate).square().sum((-2, -1))
    return found


def _residual(frames: ScanFrames, rate: Tensor) -> Tensor:
    """Measured minus expected amplitude, 0 for invalid pixels, ``(frame, trial, y, x)``."""
    measured = (frames.measured().square() + DARK_PHOTONS).sqrt()[:, None]
    residual = measured - (rate + DARK_PHOTONS).sqrt()
    return residual if frames.valid is None else residual * frames.valid


@torch.no_grad()
def gauss_newton_moves(frames: ScanFrames, obj: Tensor, probe: Tensor) -> tuple[Tensor, Tensor]:
    """Return the move of each frame that reduces its misfit most, to first order, and its variance by noise.

    The amplitude is linearised in the position: the Fourier shift of the probe has a derivative in closed form. Least
    squares over the valid pixels give the move. Its covariance, for a known object, is the inverse of the normal matrix
    times the variance of an amplitude: 1/4, or the mean square of the frame's residual where that is larger.

    Args:
        frames: The frames at their present positions.
        obj: Object, complex ``(y, x)``.
        probe: Probe, complex ``(mode, y, x)``.

    Returns:
        Moves (y, x) in pixels, ``(frame, 2)``, and the variance of their length in square pixels, ``(frame,)``.
    """
    size = probe.shape[-1]
    phase_per_px = -2j * math.pi * torch.fft.fftfreq(size, device=obj.device, dtype=obj.real.dtype)
    spectrum = torch.fft.fft2(probe)
    slopes = [torch.fft.ifft2(spectrum * phase_per_px[:, None]), torch.fft.ifft2(spectrum * phase_per_px[None, :])]
    fields = torch.stack([probe, *slopes])  # (3, mode, y, x)
    at_once = max(1, min(frames_at_once(size), WAVES_AT_ONCE // fields.numel()))
    moves, variances = obj.real.new_empty(len(frames), 2), obj.real.new_empty(len(frames))
    for first in range(0, len(frames), at_once):
        which = slice(first, first + at_once)
        part = frames.select(which)
        patches = part.with_intensities(gather(obj[None], part.corners[None], size)[0])[:, None, None]
        shifted = shift_waves(fields.flatten(0, 1), part.shifts).reshape(-1, *fields.shape)
        far = torch.fft.fft2(patches * shifted, norm="ortho")
        rate = intensity(far[:, 0]) + part.background
        slope = (far[:, :1].conj() * far[:, 1:]).real.sum(2) / (rate + DARK_PHOTONS).sqrt()[:, None]
        if part.valid is not None:
            slope = slope * part.valid
        slope, residual = slope.flatten(2), _residual(part, rate[:, None]).flatten(2)
        normal = slope @ slope.mT
        ridge = _DAMPING * normal.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
        normal = normal + ridge[:, None, None] * torch.eye(2, device=obj.device, dtype=normal.dtype)
        moves[which] = torch.linalg.solve(normal, (slope @ residual.mT))[..., 0]
        # Weighted by the slope, so that dark pixels, which no move changes, do not count as noise.
        noise = (slope.square() * residual.square()).sum((1, 2)) / slope.square().sum((1, 2)).clamp_min(1e-12)
        inverse = torch.linalg.inv(normal).diagonal(dim1=1, dim2=2).sum(1)
        variances[which] = inverse * noise.clamp_min(AMPLITUDE_VARIANCE)
    return moves, variances


def gaussian_blur(obj: Tensor, width_px: float) -> Tensor:
    """Blur an object ``(y, x)`` by a Gaussian with a standard deviation of ``width_px``."""
    y, x = (torch.fft.fftfreq(n, device=obj.device, dtype=obj.real.dtype) for n in obj.shape)
    window = torch.exp(-2 * (math.pi * width_px) ** 2 * (y[:, None].square() + x.square()))
    blurred: Tensor = torch.fft.ifft2(torch.fft.fft2(obj) * window)
    return blurred
