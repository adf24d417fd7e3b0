"""Frames of counts: valid pixels, the place of the zero frequency, square frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.bad_pixels import described, find_bad_pixels
from ptycho_cli.data.readers.raw_scan import Array, RawScan
from ptycho_cli.errors import DataError

Mask = NDArray[np.bool_]


def apply_mask(raw: RawScan, counts: Array, notes: list[str]) -> tuple[Array, Mask]:
    """Find the valid pixels and set the others to 0.

    Pixels are invalid that the file masks, that are negative in every frame, or whose sign wrapped.

    Args:
        raw: The scan as stored.
        counts: Its frames, ``(frame, y, x)``.
        notes: Gets a line for each reason why pixels were masked.

    Returns:
        Counts, 0 where invalid, and the valid pixels, bool ``(y, x)``.

    Raises:
        DataError: If a count is negative for no known reason, or the mask has another shape or leaves no pixel.
    """
    mask = _stored_mask(raw, counts, notes)
    counts = counts.copy()
    counts[:, ~mask] = 0
    negative = _negative(raw, counts, notes)
    counts[:, negative] = 0
    return counts, mask & ~negative


def without_bad_pixels(counts: Array, mask: Mask, notes: list[str]) -> tuple[Array, Mask]:
    """Mask hot and dead pixels too, with a note; return counts and valid pixels."""
    bad = find_bad_pixels(counts, mask)
    note = described(bad, "data.mask_bad_pixels")
    if note is None:
        return counts, mask
    notes.append(note)
    mask = mask & ~(bad.hot | bad.dead)
    return counts * mask, mask


def _stored_mask(raw: RawScan, counts: Array, notes: list[str]) -> Mask:
    shape = counts.shape[1:]
    if raw.mask is None:
        return np.ones(shape, dtype=np.bool_)
    stored = np.squeeze(raw.mask)
    if stored.ndim == 3 and stored.shape == counts.shape:
        stored = stored.min(axis=0) if raw.mask_marks == "good" else stored.max(axis=0)
    if stored.shape != shape:
        raise DataError(
            f"{raw.source}: 'mask' is {raw.mask.shape}, but '{raw.counts_name}' has frames of {shape}.",
            hint="Save a mask of the size of a frame.",
        )
    marked = stored != 0
    marks = raw.mask_marks or ("good" if marked.mean() > 0.5 else "bad")
    mask = marked if marks == "good" else ~marked
    if raw.mask_marks is None:
        notes.append(f"nonzero mask pixels taken as {marks}, since bad ones are few.")
    if not mask.any():
        raise DataError(f"{raw.source}: the mask leaves no detector pixel to use.", hint="Mend or drop the mask.")
    return np.asarray(mask, dtype=np.bool_)


def _negative(raw: RawScan, counts: Array, notes: list[str]) -> Mask:
    """Pixels that are negative for a known reason, bool ``(y, x)``; any other negative count is an error."""
    below = counts < 0
    some = below.any(axis=0)
    if not some.any():
        return np.asarray(some, dtype=np.bool_)
    always = below.all(axis=0)
    # A counter that ran over its sign bit also shows values close to it in other frames.
    limit = np.iinfo(counts.dtype).max // 2 if np.issubdtype(counts.dtype, np.integer) else np.inf
    wrapped = some & (counts.max(axis=0) > limit)
    unexplained = some & ~always & ~wrapped
    if unexplained.any():
        count = int(unexplained.sum())
        frame, y, x = (int(i) for i in np.argwhere(below & unexplained)[0])
        raise DataError(
            f"{raw.source}: '{raw.counts_name}' is negative in {count} pixel{'s' if count > 1 else ''}, first "
            f"{counts[frame, y, x]} in frame {frame} at (y, x) = ({y}, {x}); expected photon counts, at least 0.",
            hint="Do not subtract a background from counts; mask the pixels or store the raw frames.",
        )
    for pixels, why in ((always & ~wrapped, "negative in every frame"), (wrapped, "their sign wrapped")):
        if pixels.any():
            notes.append(f"{int(pixels.sum())} detector pixels are masked: {why}.")
    return np.asarray(some, dtype=np.bool_)


def zero_is_at_corner(counts: Array, mask: Mask) -> bool:
    """True if the light is nearer to the corners, periodically, than to the centre."""
    mean = counts.mean(axis=0, dtype=np.float64) * mask
    away = [np.arange(n, dtype=np.float64) - n // 2 for n in mean.shape]
    from_centre = away[0][:, None] ** 2 + away[1][None, :] ** 2
    return bool((mean * np.fft.ifftshift(from_centre)).sum() < (mean * from_centre).sum())


def square(counts: Array, mask: Mask, notes: list[str]) -> tuple[Array, Mask]:
    """Crop frames with the zero frequency at ``n // 2`` to the largest even square around it."""
    height, width = counts.shape[1:]
    size = min(height, width) // 2 * 2
    if (height, width) == (size, size):
        return counts, mask
    notes.append(f"frames of {height} x {width} pixels cropped to the middle {size} x {size}.")
    window = crop_window((height, width), size)
    return counts[:, *window], mask[window]


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
