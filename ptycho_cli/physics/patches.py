"""Cutting frames' patches out of canvases and adding them back: an adjoint pair."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ptycho_cli.errors import ShapeError

# Patches of so many pixels along one side are cut and added one by one on a CPU: three times as fast as by index.
SLICE_FROM_PX = 32


def check_corners(corners: Tensor, size: int, shape: tuple[int, int]) -> None:
    """Refuse patches that reach outside their canvas; waits for the device.

    Args:
        corners: Corner (y, x) of each patch, int64 ``(..., 2)``.
        size: Pixels along one side of a patch.
        shape: Shape (y, x) of a canvas.

    Raises:
        ShapeError: If a patch reaches outside its canvas.
    """
    flat = corners.reshape(-1, 2)
    if not len(flat):
        return
    first, last = (place.tolist() for place in torch.aminmax(flat, dim=0))  # two numbers each: quicker in Python
    if min(first) < 0 or any(place + size > length for place, length in zip(last, shape, strict=True)):
        raise ShapeError(f"A patch of {size} px reaches outside its canvas of {shape[0]} x {shape[1]} px.")


def _flat_index(corners: Tensor, size: int, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """Indices of patches into flattened canvases ``(batch * y * x)``, int64 ``(batch * patch * size * size,)``."""
    height, width = shape[-2:]
    step = torch.arange(size, device=corners.device)
    rows = corners[..., 0, None] + step
    columns = corners[..., 1, None] + step
    canvas = torch.arange(corners.shape[0], device=corners.device)[:, None, None] * (height * width)
    return ((canvas + rows * width)[..., None] + columns[..., None, :]).reshape(-1)


def _check_on_cpu(corners: Tensor, size: int, shape: tuple[int, ...] | torch.Size) -> None:
    if corners.device.type == "cpu":  # other devices would have to be waited for
        check_corners(corners, size, (shape[-2], shape[-1]))


def _in_slices(canvas: Tensor, size: int) -> bool:
    return canvas.device.type == "cpu" and size >= SLICE_FROM_PX


def cut(canvas: Tensor, corners: Tensor, size: int) -> Tensor:
    """``gather`` without gradient."""
    _check_on_cpu(corners, size, canvas.shape)
    if _in_slices(canvas, size):
        windows = canvas.unfold(1, size, 1).unfold(2, size, 1)
        return windows[torch.arange(len(canvas))[:, None], corners[..., 0], corners[..., 1]]
    index = _flat_index(corners, size, canvas.shape)
    return canvas.reshape(-1).index_select(0, index).reshape(*corners.shape[:2], size, size)


def add_up(patches: Tensor, corners: Tensor, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """``scatter`` without gradient."""
    canvas, size = patches.new_zeros(shape), patches.shape[-1]
    _check_on_cpu(corners, size, shape)
    if _in_slices(canvas, size):
        for image, places, values in zip(canvas, corners.tolist(), patches, strict=True):
            for (y, x), patch in zip(places, values.unbind(), strict=True):
                image[y : y + size, x : x + size].add_(patch)
        return canvas
    index = _flat_index(corners, size, shape)
    if patches.is_complex():  # adding pairs of real numbers is several times as fast
        pairs = torch.view_as_real(patches.reshape(-1).resolve_conj())
        torch.view_as_real(canvas).reshape(-1, 2).index_add_(0, index, pairs)
    else:
        canvas.reshape(-1).index_add_(0, index, patches.reshape(-1))
    return canvas


class _Gather(torch.autograd.Function):
    """Gather with ``_Scatter`` as its gradient; torch's own complex scatter is several times slower."""

    @staticmethod
    def forward(ctx: Any, canvas: Tensor, corners: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(corners)
        ctx.shape = canvas.shape
        return cut(canvas, corners, size)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (corners,) = ctx.saved_tensors
        return scatter(gradient, corners, ctx.shape), None, None


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, patches: Tensor, corners: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(corners)
        ctx.size = patches.shape[-1]
        return add_up(patches, corners, shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (corners,) = ctx.saved_tensors
        return gather(gradient.contiguous(), corners, ctx.size), None, None


def gather(canvas: Tensor, corners: Tensor, size: int) -> Tensor:
    """Cut patches out of canvases.

    Args:
        canvas: Canvases ``(batch, y, x)``, real or complex.
        corners: Corner (y, x) of each patch, int64 ``(batch, patch, 2)``, each patch inside its canvas.
        size: Pixels along one side of a patch.

    Returns:
        Patches ``(batch, patch, size, size)``.
    """
    return _Gather.apply(canvas, corners, size)  # type: ignore[no-any-return, no-untyped-call]


def scatter(patches: Tensor, corners: Tensor, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """Add patches ``(batch, patch, size, size)`` on zero canvases: the adjoint of ``gather``.

    Args:
        patches: The patches, real or complex.
        corners: As in ``gather``.
        shape: ``(batch, y, x)`` of the canvases.
    """
    return _Scatter.apply(patches, corners, torch.Size(shape))  # type: ignore[no-any-return, no-untyped-call]
