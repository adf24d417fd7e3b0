"""Frames of counts: pixels to trust, the place of the zero frequency, square frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.bad_pixels import described, find_bad_pixels
from ptycho_cli.data.readers.raw_scan import Array, RawScan
from ptycho_cli.errors import DataError

Mask = NDArray[np.bool_]


def trusted(raw: RawScan, counts: Array, notes: list[str]) -> tuple[Array, Mask]:
    """Find the pixels to trust and set the others to 0.

    Not trusted are pixels that the file masks, that are negative in every frame, or whose sign wrapped. A count that is
    negative for no such reason is an error.
    """
    mask = _stored_mask(raw, counts, notes)
    counts = counts.copy()
    counts[:, ~mask] = 0
    negative = _negative(raw, counts, notes)
    counts[:, negative] = 0
    return counts, mask & ~negative


def without_bad_pixels(counts: Array, mask: Mask, notes: list[str]) -> tuple[Array, Mask]:
    """Counts of photons and the mask, with hot and dead pixels masked too."""
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
    """Pixels that are negative for a known reason."""
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
    """Whether the light gathers around the corners (periodically) rather than around the centre."""
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
    """The window of ``size`` pixels whose index ``size // 2`` is ``n // 2`` of each axis."""
    starts = [n // 2 - size // 2 for n in shape]
    return slice(starts[0], starts[0] + size), slice(starts[1], starts[1] + size)


def crop_bandwidth(probe: Array, size: int) -> Array:
    """The probe as a detector cropped to ``size`` pixels sees it: its spectrum, cropped alike."""
    axes = (-2, -1)
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe, axes=axes), norm="ortho"), axes=axes)
    spectrum = spectrum[:, *crop_window(probe.shape[-2:], size)]
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum, axes=axes), norm="ortho"), axes=axes)
