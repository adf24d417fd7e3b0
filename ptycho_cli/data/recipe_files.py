"""What simulated scans take from files: objects from images, and probes of instruments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from scipy.ndimage import affine_transform, gaussian_filter

from ptycho_cli.data.containers import nearest_name
from ptycho_cli.data.simulated_shapes import transmission
from ptycho_cli.data.simulation import read_probe
from ptycho_cli.errors import DataError

LARGEST_SIDE, SMALLEST_SIDE = 1024, 32  # of an image in pixels; larger ones are reduced when they are read
_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}
_GREY = {"1", "L", "I", "I;16", "I;16B", "F"}  # modes of Pillow whose numbers are brightness
_FINEST = 0.5  # image pixels in a pixel of the object, at least


@cache
def images_at(places: tuple[str, ...]) -> tuple[str, ...]:
    """Image files, and those in folders, in order.

    Raises:
        DataError: If a place does not exist, or a folder has no image.
    """
    found: list[str] = []
    for place in map(Path, places):
        if not place.exists():
            raise DataError(f"{place}: no such file or folder.", hint=nearest_name(place))
        within = sorted(file for file in place.iterdir() if file.suffix.lower() in _SUFFIXES) if place.is_dir() else ()
        if place.is_dir() and not within:
            raise DataError(f"{place}: no image in this folder.", hint=f"Images end in {', '.join(sorted(_SUFFIXES))}.")
        found += map(str, within or (place,))
    return tuple(found)


@lru_cache(maxsize=128)
def grey_image(path: str) -> NDArray[np.float32]:
    """Brightness of an image, 0 to 1, ``(y, x)``.

    Raises:
        DataError: If the file is no image, is too small, or shows nothing.
    """
    try:
        with PillowImage.open(path) as file:
            colours = np.asarray(file if file.mode in _GREY else file.convert("RGB"), dtype=np.float32)
    except (OSError, ValueError, TypeError, PillowImage.DecompressionBombError) as problem:
        raise DataError(f"{path}: cannot be read as an image: {problem}.") from None
    grey = colours if colours.ndim == 2 else colours.mean(-1)
    if min(grey.shape) < SMALLEST_SIDE:
        raise DataError(f"{path}: an image of {grey.shape} px, expected {SMALLEST_SIDE} px or more along each side.")
    low, high = float(grey.min()), float(grey.max())
    if not np.isfinite([low, high]).all() or low == high:
        raise DataError(f"{path}: every pixel of this image is {low:g}.")
    shown = PillowImage.fromarray((grey - low) / (high - low))
    shown.thumbnail((LARGEST_SIDE, LARGEST_SIDE), PillowImage.Resampling.BOX)
    return np.array(shown)


def forget_files() -> None:
    """Read files again when they are needed next; they may have changed."""
    for reader in (images_at, grey_image, probe_from_file):
        reader.cache_clear()


def object_from_image(
    places: Sequence[str], shape: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.complex128]:
    """An object of one material, whose thickness is the brightness of a random part of a random image.

    The part lies at a random angle and magnification. Where the image is too small for the object, it goes on as in a
    mirror.

    Args:
        places: Image files, and folders of images.
        shape: Pixels (y, x) of the object.
        rng: Random numbers.

    Raises:
        DataError: If an image cannot be used.
    """
    image = grey_image(str(rng.choice(images_at(tuple(places)))))
    coarsest = max(2 * _FINEST, min(image.shape) / max(shape))
    scale, angle = np.exp(rng.uniform(np.log(_FINEST), np.log(coarsest))), rng.uniform(0, 2 * np.pi)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if scale > 1:
        image = gaussian_filter(image, 0.4 * scale)
    centre = rng.uniform(0, 1, 2) * image.shape
    offset = centre - turn @ (np.array(shape) / 2)
    part = affine_transform(image, turn, offset, output_shape=shape, order=1, mode="mirror")
    return transmission(np.asarray(part, dtype=np.float64), rng)


@cache
def probe_from_file(path: str, size: int) -> NDArray[np.complex128]:
    """Probe of a scan, a reconstruction or a run, complex ``(mode, y, x)``.

    Args:
        path: File or folder.
        size: Pixels along one side of a frame.

    Raises:
        DataError: If it has none, or one of another size.
    """
    probe = np.asarray(read_probe(path).probe, dtype=np.complex128)
    if probe.shape[-1] != size:
        raise DataError(f"{path}: a probe of {probe.shape[-1]} px, but the recipe has frames of {size} px.")
    return probe
