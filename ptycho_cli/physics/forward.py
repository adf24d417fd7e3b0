"""The forward model: what a detector expects from an object and a probe."""

from __future__ import annotations

import torch
from torch import Tensor

from ptycho_cli.physics.patches import gather, patch_index
from ptycho_cli.physics.probe import shift_probe
from ptycho_cli.physics.propagation import centred, intensity


def exit_waves(patches: Tensor, probes: Tensor) -> Tensor:
    """Exit waves ``(..., mode, y, x)`` of object patches ``(..., y, x)`` under probes ``(..., mode, y, x)``."""
    return patches[..., None, :, :] * probes


def rates_of(waves: Tensor) -> Tensor:
    """Expected photons ``(..., y, x)`` of exit waves ``(..., mode, y, x)``; zero frequency at the corner.

    Modes add in intensity. No half-frame shift is applied before the transform: it would change phases only.
    """
    return intensity(torch.fft.fft2(waves, norm="ortho"))


def rates(
    obj: Tensor,
    probe: Tensor,
    corners: Tensor,
    shifts: Tensor,
    intensities: Tensor | None = None,
    background: Tensor | float = 0.0,
) -> Tensor:
    """Expected photons of the frames of one scan.

    ``rate_j = s_j sum_m |F{P_m(. - f_j) O[c_j]}|^2 + b``: the object is cut at whole pixels and the
    probe carries the sub-pixel rest, which is exact for a band-limited probe.

    Args:
        obj: Object, complex ``(y, x)``.
        probe: Probe, complex ``(mode, y, x)``, in square roots of photons.
        corners: Corner (y, x) of each frame's patch, int64 ``(frame, 2)``.
        shifts: Sub-pixel rest (y, x) of each position in pixels, ``(frame, 2)``.
        intensities: Factor ``s`` on the photons of each frame, ``(frame,)``; None: 1.
        background: Photons ``b`` that every pixel expects besides.

    Returns:
        Photons, ``(frame, y, x)``, zero frequency at ``n // 2``.

    Raises:
        ShapeError: If a patch reaches outside the object.

    Source: Maiden et al. (2017), doi:10.1364/OPTICA.4.000736; modes: Thibault and Menzel (2013),
    doi:10.1038/nature11806.
    """
    height, width = obj.shape
    index = patch_index(corners[None], probe.shape[-1], (height, width))
    patches = gather(obj[None], index)[0]
    rate = rates_of(exit_waves(patches, shift_probe(probe, shifts)))
    if intensities is not None:
        rate = rate * intensities[:, None, None]
    return centred(rate + background)
