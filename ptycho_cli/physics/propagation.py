"""Far-field propagation between object and detector, and sums over probe modes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def propagate(field: Tensor) -> Tensor:
    """Return the far field of waves ``(..., y, x)``, zero frequency at ``n // 2``; it has the same photons."""
    return centred(torch.fft.fft2(corner_first(field), norm="ortho"))


def back_propagate(field: Tensor) -> Tensor:
    """Return the waves of a far field: the inverse, and the adjoint, of ``propagate``."""
    return centred(torch.fft.ifft2(corner_first(field), norm="ortho"))


def corner_first(frames: Tensor) -> Tensor:
    """Move the zero frequency of ``(..., y, x)`` from ``n // 2`` to the corner."""
    frames = torch.fft.ifftshift(frames, dim=(-2, -1))
    return frames


def background_on_detector(background: float | NDArray[np.float64], like: Tensor) -> Tensor | float:
    """A background, and a pattern ``(y, x)`` with its zero frequency moved from ``n // 2`` to the corner.

    Args:
        background: Photons per pixel.
        like: A tensor of the type and on the device that a pattern is needed.
    """
    if isinstance(background, np.ndarray):
        return corner_first(torch.from_numpy(background).to(like))
    return background


def centred(frames: Tensor) -> Tensor:
    """Move the zero frequency of ``(..., y, x)`` from the corner to ``n // 2``."""
    frames = torch.fft.fftshift(frames, dim=(-2, -1))
    return frames


def intensity(waves: Tensor) -> Tensor:
    """Return the photons of waves ``(..., mode, y, x)``, summed over the modes, real ``(..., y, x)``."""
    # Adding two strided halves is several times faster than summing over an axis of two, on a CPU.
    parts = torch.view_as_real(waves)
    photons = torch.addcmul(parts[..., 0].square(), parts[..., 1], parts[..., 1])
    return photons.squeeze(-3) if photons.shape[-3] == 1 else photons.sum(-3)


def add_modes(waves: Tensor) -> Tensor:
    """Sum complex ``(..., mode, y, x)`` over the modes, ``(..., y, x)``."""
    return waves.squeeze(-3) if waves.shape[-3] == 1 else waves.sum(-3)
