"""The forward model: exit waves, the photons that a detector expects of them, and the way back to the object."""

from __future__ import annotations

import torch
from torch import Tensor

from ptycho_cli.physics.frame_parts import in_parts, waves_at_once
from ptycho_cli.physics.frame_tensors import FrameBatch, ScanFrames
from ptycho_cli.physics.patches import check_corners, gather, scatter
from ptycho_cli.physics.probe import shift_waves
from ptycho_cli.physics.propagation import add_modes, centred, intensity


def exit_waves(patches: Tensor, probes: Tensor) -> Tensor:
    """Exit waves ``(..., mode, y, x)`` of object patches ``(..., y, x)`` under probes ``(..., mode, y, x)``."""
    return patches[..., None, :, :] * probes


def detector_intensity(waves: Tensor) -> Tensor:
    """Expected photons ``(..., y, x)`` of exit waves ``(..., mode, y, x)``, zero frequency at the corner.

    Modes add in intensity. No half-frame shift is applied before the transform: it would change phases only.
    """
    return intensity(torch.fft.fft2(waves, norm="ortho"))


def back_to_object(waves: Tensor, frames: FrameBatch, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """Return ``sum_j conj(P_j) psi_j`` on the canvases, the adjoint of ``exit_waves`` of an object's patches.

    A sum over frames, so the sums over parts of the frames can be added up.

    Args:
        waves: Exit waves or changes of them, complex ``(batch, patch, mode, y, x)``.
        frames: Their frames.
        shape: ``(batch, y, x)`` of the canvases.

    Returns:
        Complex ``(batch, y, x)``.
    """
    back = add_modes(frames.probes.conj() * waves)
    if frames.present is not None:
        back = back * frames.present[..., None, None]
    return scatter(back, frames.corners, shape)


def frame_illumination(frames: FrameBatch) -> Tensor:
    """Photons that each frame puts on the pixels of its patch, ``sum_m |P_m|^2``, real ``(batch, patch, y, x)``."""
    photons = intensity(frames.probes)
    return photons if frames.present is None else photons * frames.present[..., None, None]


def illumination(frames: FrameBatch, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """Photons that all frames put on each object pixel, ``sum_j |P_j|^2``, real ``(batch, y, x)``."""
    return scatter(frame_illumination(frames), frames.corners, shape)


@torch.no_grad()
def expected_rate(frames: ScanFrames, obj: Tensor, probe: Tensor) -> Tensor:
    """Expected photons of every frame of a scan, background included.

    Args:
        frames: The frames.
        obj: Object, complex ``(y, x)``.
        probe: Probe, complex ``(mode, y, x)``, in square roots of photons.

    Returns:
        Photons, ``(frame, y, x)``, zero frequency at the corner.
    """
    parts = in_parts(range(len(frames)), waves_at_once(probe))
    return torch.cat([_rate(obj, frames.select(part), probe) for part in parts])


def _rate(obj: Tensor, frames: ScanFrames, probe: Tensor) -> Tensor:
    """Expected photons of frames, ``(frame, y, x)``; arguments as in ``expected_rate``."""
    batch = frames.batch(frames.probes(probe))
    return (detector_intensity(exit_waves(batch.patches(obj[None]), batch.probes)) + frames.background)[0]


def rates(
    obj: Tensor,
    probe: Tensor,
    corners: Tensor,
    shifts: Tensor,
    intensities: Tensor | None = None,
    background: Tensor | float = 0.0,
) -> Tensor:
    """Expected photons of frames at given positions, for simulation and where nothing was measured.

    ``rate_j = s_j sum_m |F{P_m(. - f_j) O[c_j]}|^2 + b``: the object is cut at whole pixels and the
    probe carries the sub-pixel rest, which is exact for a band-limited probe.

    Args:
        obj: Object, complex ``(y, x)``.
        probe: Probe, complex ``(mode, y, x)``, in square roots of photons.
        corners: Corner (y, x) of each frame's patch, int64 ``(frame, 2)``.
        shifts: Sub-pixel rest (y, x) of each position in pixels, ``(frame, 2)``.
        intensities: Factor ``s`` on the photons of each frame, ``(frame,)``; None: 1.
        background: Background ``b`` in photons per pixel: a number, or ``(y, x)``, zero frequency at the corner.

    Returns:
        Photons, ``(frame, y, x)``, zero frequency at ``n // 2``.

    Raises:
        ShapeError: If a patch reaches outside the object.

    Source: Maiden et al. (2017), doi:10.1364/OPTICA.4.000736; modes: Thibault and Menzel (2013),
    doi:10.1038/nature11806.
    """
    height, width = obj.shape
    size = probe.shape[-1]
    check_corners(corners, size, (height, width))
    patches = gather(obj[None], corners[None], size)[0]
    rate = detector_intensity(exit_waves(patches, shift_waves(probe, shifts)))
    if intensities is not None:
        rate = rate * intensities[:, None, None]
    return centred(rate + background)
