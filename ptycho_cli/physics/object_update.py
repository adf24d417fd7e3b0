"""The physics step: replace the measured modulus, propagate back, and combine the frames' updates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ptycho_cli.physics.forward import exit_waves
from ptycho_cli.physics.patches import gather, scatter
from ptycho_cli.physics.propagation import add_modes, intensity

# Photons added to counts and rate before their ratio is taken, as Anscombe's transform does (3/8 there). A
# stray photon where the model is dark no longer throws the wave about, and the gradient stays small; where
# the rate equals the counts nothing changes.
DARK_PHOTONS = 0.1
# Largest relative change of a far field for which the gradient of the likelihood is followed; beyond it the square
# root of ``modulus_change`` is nearer to a step that helps.
STEEPEST = 5.0


@dataclass(frozen=True, eq=False, slots=True)
class FrameBatch:
    """Frames on canvases, as the hot loops want them.

    Attributes:
        amplitude: Square root of the counts, ``(batch, patch, y, x)``, zero frequency at the corner.
        index: ``patch_index`` of the frames, ``(batch, patch, y, x)``.
        probes: Probe shifted to each frame's sub-pixel rest, complex ``(batch, patch, mode, y, x)``.
        valid: 1 where a detector pixel may be used, else 0, ``(batch or 1, 1, y, x)``, zero frequency at the
            corner. None trusts every pixel.
        present: 1 for frames, 0 for padding that is to have no effect, ``(batch, patch)``. None: no padding.
        background: Photons that every pixel expects besides, ``(batch, 1, 1, 1)`` or a number.
    """

    amplitude: Tensor
    index: Tensor
    probes: Tensor
    valid: Tensor | None = None
    present: Tensor | None = None
    background: Tensor | float = 0.0

    def subset(self, which: slice | Tensor) -> FrameBatch:
        """Some of the frames of every canvas."""
        present = None if self.present is None else self.present[:, which]
        parts = (self.amplitude[:, which], self.index[:, which], self.probes[:, which])
        return FrameBatch(*parts, self.valid, present, self.background)


def modulus_change(
    waves: Tensor, amplitude: Tensor, valid: Tensor | None, background: Tensor | float = 0.0
) -> tuple[Tensor, Tensor]:
    """Change of exit waves that gives them the measured modulus, and the rate before it.

    The far field is multiplied by ``sqrt((n + d) / (rate + d))`` for ``n`` counts, ``d`` being ``DARK_PHOTONS``.

    Args:
        waves: Exit waves, complex ``(..., mode, y, x)``.
        amplitude: Measured amplitude ``(..., y, x)``, zero frequency at the corner.
        valid: Pixels to use, broadcasting against ``amplitude``; elsewhere the far field stays as it is.
        background: Part of the rate that is not the waves', in photons, broadcasting against ``amplitude``.

    Returns:
        The change, shaped as ``waves``, and the expected photons, shaped as ``amplitude``.
    """
    far = torch.fft.fft2(waves, norm="ortho")
    rate = intensity(far) + background
    factor = torch.sqrt((amplitude.square() + DARK_PHOTONS) / (rate + DARK_PHOTONS)) - 1
    if valid is not None:
        factor = factor * valid
    return _back(far, factor), rate


def likelihood_change(
    waves: Tensor, amplitude: Tensor, valid: Tensor | None, background: Tensor | float = 0.0
) -> Tensor:
    """Change of exit waves along the gradient of the Poisson likelihood, scaled to that of ``modulus_change``.

    The far field is multiplied by ``1 + (n - rate) / (2 (rate + d))``. Where the rate nears the counts this is
    ``modulus_change``; unlike it, it is zero on average at the true rate also where a pixel counts a photon
    or none, for which ``E sqrt(n) < sqrt(rate)``.

    Args:
        waves: As in ``modulus_change``.
        amplitude: As there.
        valid: As there.
        background: As there.

    Returns:
        The change, shaped as ``waves``.

    Source: Thibault and Guizar-Sicairos (2012), doi:10.1088/1367-2630/14/6/063004, section 2.
    """
    far = torch.fft.fft2(waves, norm="ortho")
    ratio = (amplitude.square() + DARK_PHOTONS) / (intensity(far) + background + DARK_PHOTONS)
    factor = torch.minimum(0.5 * (ratio - 1), (ratio.sqrt() - 1).clamp_min(STEEPEST))
    if valid is not None:
        factor = factor * valid
    return _back(far, factor)


def _back(far: Tensor, factor: Tensor) -> Tensor:
    """Back to the object from a far field ``(..., mode, y, x)``, each pixel times a real factor ``(..., y, x)``."""
    # A complex times a real number is twice as slow on a CPU as to make it complex first.
    waves: Tensor = torch.fft.ifft2(far * factor.to(far.dtype)[..., None, :, :], norm="ortho")
    return waves


def illumination(frames: FrameBatch, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """Photons that the frames put on each object pixel: ``sum |P|^2``, real ``(batch, y, x)``."""
    photons = intensity(frames.probes)
    if frames.present is not None:
        photons = photons * frames.present[..., None, None]
    return scatter(photons, frames.index, shape)


def back_project(obj: Tensor, frames: FrameBatch) -> Tensor:
    """What frames say should change, ``sum conj(P) dpsi``, complex ``(batch, y, x)``.

    A sum over frames, so those of many frames may be added up portion by portion. An update of the object is this
    over their ``illumination`` plus a floor, ``alpha max |P|^2``.

    Args:
        obj: Objects, complex ``(batch, y, x)``.
        frames: The frames to use.

    Source: Maiden et al. (2017), doi:10.1364/OPTICA.4.000736, with the updates of a subset summed.
    """
    waves = exit_waves(gather(obj, frames.index), frames.probes)
    change, _ = modulus_change(waves, frames.amplitude, frames.valid, frames.background)
    return _added_up(change, frames, obj.shape)


def likelihood_gradient(obj: Tensor, frames: FrameBatch) -> Tensor:
    """``sum conj(P) dpsi`` of ``likelihood_change``, complex ``(batch, y, x)``: uphill in the Poisson likelihood."""
    waves = exit_waves(gather(obj, frames.index), frames.probes)
    return _added_up(likelihood_change(waves, frames.amplitude, frames.valid, frames.background), frames, obj.shape)


def _added_up(change: Tensor, frames: FrameBatch, shape: torch.Size) -> Tensor:
    back = add_modes(frames.probes.conj() * change)
    if frames.present is not None:
        back = back * frames.present[..., None, None]
    return scatter(back, frames.index, shape)
