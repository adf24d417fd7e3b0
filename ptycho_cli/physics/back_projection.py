"""Sums over frames that a physics step and a loss need, each with a gradient in closed form.

Automatic differentiation keeps every wave on its way from the object to the detector and back. Of those, the functions
here keep the far field and the ratio of its modulus to the measured one, and compute the others again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ptycho_cli.physics.forward import back_to_object, exit_waves
from ptycho_cli.physics.frame_tensors import FrameBatch
from ptycho_cli.physics.object_update import DARK_PHOTONS, likelihood_change
from ptycho_cli.physics.patches import add_up, cut
from ptycho_cli.physics.propagation import add_modes, intensity


def back_project(obj: Tensor, frames: FrameBatch, *, keep_waves: bool = True) -> Tensor:
    """Return ``sum_j conj(P_j) dpsi_j`` of ``modulus_change``, complex ``(batch, y, x)``.

    A sum over frames, so the sums over parts of the frames can be added up. Differentiable once, in the object and in
    the probes of the frames.

    Args:
        obj: Objects, complex ``(batch, y, x)``.
        frames: The frames to use.
        keep_waves: Keep the far field for the gradient; else it is computed again, which takes a fifth more time.

    Source: Maiden et al. (2017), doi:10.1364/OPTICA.4.000736, with the updates of a subset summed.
    """
    return _BackProjection.apply(obj, frames.probes, frames, keep_waves)  # type: ignore[no-any-return, no-untyped-call]


def batch_rate(obj: Tensor, frames: FrameBatch) -> Tensor:
    """Expected photons of frames under objects, background included.

    Differentiable once, in the object and in the probes of the frames.

    Args:
        obj: Objects, complex ``(batch, y, x)``.
        frames: The frames.

    Returns:
        Photons, ``(batch, patch, y, x)``, zero frequency at the corner.
    """
    return _Intensity.apply(obj, frames.probes, frames) + frames.background  # type: ignore[no-any-return, no-untyped-call]


def likelihood_gradient(obj: Tensor, frames: FrameBatch) -> Tensor:
    """Return ``sum_j conj(P_j) dpsi_j`` of ``likelihood_change``, complex ``(batch, y, x)``.

    It is the gradient of the Poisson log-likelihood in the object, up to a factor, so it points to likelier objects.
    Arguments as in ``back_project``.
    """
    waves = exit_waves(frames.patches(obj), frames.probes)
    change = likelihood_change(waves, frames.amplitude, frames.valid, frames.background)
    return back_to_object(change, frames, obj.shape)


class _BackProjection(torch.autograd.Function):
    """``back_project``, with ``far`` and ``ratio = sqrt((n + d) / (rate + d))`` kept for the gradient if asked for.

    With ``q = ratio - 1``, ``chi = F^-1{q far}`` and the gradient ``g`` of the sum, cut to a frame: ``G = F{P g}`` is
    the gradient of ``q far``; that of ``far`` is ``q G - far sum_m Re(conj(far) G) ratio^3 / (n + d)``; that of the
    exit wave is its inverse transform ``h``; and ``conj(P) h`` goes to the object, ``conj(patch) h + chi conj(g)`` to
    the probe.
    """

    @staticmethod
    def forward(ctx: Any, obj: Tensor, probes: Tensor, frames: FrameBatch, keep_waves: bool) -> Tensor:
        far, ratio = _far_field(obj, probes, frames)
        needed = any(ctx.needs_input_grad)
        kept = needed and keep_waves
        changed = torch.mul(far, _complex(_relative_change(ratio, frames)), out=None if kept else far)
        change = torch.fft.ifft2(changed, norm="ortho")
        if needed:
            ctx.save_for_backward(obj, probes, *((far, ratio) if kept else ()))
            ctx.frames = replace(frames, probes=probes[:0])  # without a second reference to the probes
        return add_up(_present(add_modes(change.mul_(probes.conj())), frames), frames.corners, obj.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        obj, probes, *kept = ctx.saved_tensors
        frames, size = ctx.frames, probes.shape[-1]
        far, ratio = kept or _far_field(obj, probes, frames)
        back = _present(cut(gradient, frames.corners, size), frames)[:, :, None]
        of_field = torch.fft.fft2(probes * back, norm="ortho")
        change = _complex(_relative_change(ratio, frames))
        slope = _real_product(far, of_field).mul_(ratio).mul_(ratio).mul_(ratio).div_(_measured(frames))
        if frames.valid is not None:
            slope = slope * frames.valid
        to_wave = torch.fft.ifft2(of_field.mul_(change).addcmul_(far, _complex(slope), value=-1), norm="ortho")
        to_obj = to_probes = None
        if ctx.needs_input_grad[0]:
            to_obj = add_up(add_modes(to_wave * probes.conj()), frames.corners, obj.shape)
        if ctx.needs_input_grad[1]:
            moved = torch.fft.ifft2(far * change, norm="ortho")
            patches = cut(obj, frames.corners, size)[:, :, None]
            to_probes = moved.mul_(back.conj()).addcmul_(patches.conj(), to_wave)
        return to_obj, to_probes, None, None


class _Intensity(torch.autograd.Function):
    """``sum_m |F{P_m O}|^2``, with the far field kept: its gradient is ``2 far`` times that of the intensity."""

    @staticmethod
    def forward(ctx: Any, obj: Tensor, probes: Tensor, frames: FrameBatch) -> Tensor:
        far = torch.fft.fft2(cut(obj, frames.corners, probes.shape[-1])[:, :, None] * probes, norm="ortho")
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(obj, probes, far, frames.corners)
        return intensity(far)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        obj, probes, far, corners = ctx.saved_tensors
        to_wave = torch.fft.ifft2(far * _complex(2 * gradient), norm="ortho")
        to_obj = to_probes = None
        if ctx.needs_input_grad[0]:
            to_obj = add_up(add_modes(to_wave * probes.conj()), corners, obj.shape)
        if ctx.needs_input_grad[1]:
            to_probes = cut(obj, corners, probes.shape[-1])[:, :, None].conj() * to_wave
        return to_obj, to_probes, None


def _far_field(obj: Tensor, probes: Tensor, frames: FrameBatch) -> tuple[Tensor, Tensor]:
    """Waves at the detector, and the ratio of the measured modulus to theirs."""
    far = torch.fft.fft2(cut(obj, frames.corners, probes.shape[-1])[:, :, None] * probes, norm="ortho")
    ratio = _measured(frames) / (intensity(far) + (frames.background + DARK_PHOTONS))
    return far, ratio.sqrt_()


def _measured(frames: FrameBatch) -> Tensor:
    """``n + d``, real ``(batch, patch, y, x)``."""
    return frames.amplitude.square().add_(DARK_PHOTONS)


def _relative_change(ratio: Tensor, frames: FrameBatch) -> Tensor:
    """Relative change of the far field, 0 for invalid pixels."""
    change = ratio - 1
    return change if frames.valid is None else change * frames.valid


def _present(values: Tensor, frames: FrameBatch) -> Tensor:
    """Values ``(batch, patch, y, x)``, 0 for padding."""
    return values if frames.present is None else values * frames.present[..., None, None]


def _complex(factor: Tensor) -> Tensor:
    """A real factor for all modes; a complex times a real number is twice as slow on a CPU."""
    return torch.complex(factor, torch.zeros_like(factor))[..., None, :, :]


def _real_product(a: Tensor, b: Tensor) -> Tensor:
    """``sum_m Re(conj(a) b)`` of complex ``(..., mode, y, x)``, real ``(..., y, x)``."""
    a, b = torch.view_as_real(a), torch.view_as_real(b)
    product = torch.addcmul(a[..., 0] * b[..., 0], a[..., 1], b[..., 1])
    return product.squeeze(-3) if product.shape[-3] == 1 else product.sum(-3)
