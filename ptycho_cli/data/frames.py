"""Frames of counts: the mask that a file stores, square frames, cropping and binning."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.frame_corrections import Bin, Crop
from ptycho_cli.data.frame_stack import FrameStack
from ptycho_cli.data.readers.raw_scan import Array, RawScan
from ptycho_cli.errors import DataError

Mask = NDArray[np.bool_]


def stored_mask(raw: RawScan, shape: tuple[int, ...], notes: list[str]) -> Mask:
    """Detector pixels that the file does not mask, bool ``(y, x)``, or ``(frame, y, x)`` where frames differ.

    Args:
        raw: The scan as stored.
        shape: Shape of its frames, ``(frame, y, x)``.
        notes: Takes a line where the meaning of the mask is assumed.

    Raises:
        DataError: If the mask has another size than the frames, or leaves no pixel.
    """
    if raw.mask is None:
        return np.ones(shape[1:], dtype=np.bool_)
    stored = np.squeeze(raw.mask)
    if stored.ndim == 3 and stored.shape[:2] == shape[1:] and stored.shape[2] == shape[0]:
        stored = np.moveaxis(stored, -1, 0)
    if stored.ndim == 3 and stored.shape[1:] == shape[1:] and len(stored) >= shape[0]:
        stored = stored[: shape[0]]
    elif stored.shape != shape[1:]:
        raise DataError(
            f"{raw.source}: 'mask' is {raw.mask.shape}, but '{raw.counts_name}' has frames of {shape[1:]}.",
            hint="Save a mask of the size of a frame.",
        )
    marked = stored != 0
    marks = raw.mask_marks or ("good" if marked.mean() > 0.5 else "bad")
    mask = marked if marks == "good" else ~marked
    if raw.mask_marks is None:
        notes.append(f"nonzero mask pixels taken as {marks}, since bad ones are few.")
    if not mask.any():
        raise DataError(
            f"{raw.source}: the mask leaves no detector pixel to use.",
            hint="Correct the mask, or remove it from the file.",
        )
    if mask.ndim == 3 and (mask == mask[0]).all():
        mask = mask[0]
    return np.asarray(mask, dtype=np.bool_)


def square(
    counts: FrameStack, mask: Mask, notes: list[str], crop_px: int | None = None, bin: int = 1
) -> tuple[FrameStack, Mask]:
    """Crop frames with the zero frequency at ``n // 2`` to an even square around it, and bin them.

    Args:
        counts: Frames, ``(frame, y, x)``.
        mask: Pixels that are used, ``(y, x)``.
        notes: Takes a line where frames are cropped though nobody asked for it.
        crop_px: Side of the square; None for the largest.
        bin: Pixels along each axis that are added up; a binned pixel is used if all of its pixels are.

    Raises:
        DataError: If the square is larger than the frames, or cannot be binned evenly.
    """
    height, width = counts.shape[1:]
    largest = min(height, width) // 2 * 2
    size = largest if crop_px is None else crop_px
    if size > largest or size < 8 or size % (2 * bin):
        raise DataError(
            f"data.crop_px is {size} and data.bin {bin}, but frames are {height} x {width}; expected a multiple of "
            f"{2 * bin} from 8 to {largest}.",
            hint="Crop to an even number of binned pixels.",
        )
    if (height, width) != (size, size):
        if crop_px is None:
            notes.append(f"frames of {height} x {width} pixels cropped to the middle {size} x {size}.")
        window = crop_window((height, width), size)
        counts, mask = counts.then(Crop(window)), mask[window]
    if bin == 1:
        return counts, mask
    n = size // bin
    return counts.then(Bin(bin)), np.asarray(mask.reshape(n, bin, n, bin).all(axis=(1, 3)))


def share_of_light(probe: Array, mask: Mask) -> float:
    """Share of a probe's far field that falls on pixels that are used; 1 where all are.

    Args:
        probe: Probe in real space, ``(mode, y, x)``.
        mask: Pixels that are used, ``(y, x)``, zero frequency at ``n // 2``.
    """
    if mask.all():
        return 1.0
    light = np.fft.fftshift(np.abs(np.fft.fft2(probe)) ** 2, axes=(-2, -1)).sum(axis=0)
    return max(float(light[mask].sum() / light.sum()), 0.05)


def crop_window(shape: tuple[int, ...], size: int) -> tuple[slice, slice]:
    """Window of ``size`` pixels along each axis of n pixels, with index ``size // 2`` at ``n // 2``."""
    starts = [n // 2 - size // 2 for n in shape]
    return slice(starts[0], starts[0] + size), slice(starts[1], starts[1] + size)


def crop_bandwidth(probe: Array, size: int) -> Array:
    """Crop the spectrum of a probe ``(mode, y, x)`` to ``size`` pixels, as a smaller detector does."""
    axes = (-2, -1)
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe, axes=axes), norm="ortho"), axes=axes)
    spectrum = spectrum[:, *crop_window(probe.shape[-2:], size)]
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum, axes=axes), norm="ortho"), axes=axes)
