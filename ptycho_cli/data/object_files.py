"""Objects from files: reconstructions and known objects, to compare with each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.archives import opened_npz
from ptycho_cli.data.containers import is_hdf5, opened_hdf5
from ptycho_cli.data.hdf5_tree import tree_of
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.readers.raw_scan import loaded
from ptycho_cli.data.readers.registry import PluginReaders
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.write import read_reconstruction
from ptycho_cli.errors import DataError

_NAMES = ("object_true", "truth", "object", "objectguess", "object_guess", "obj")
_RECONSTRUCTED = "object"  # name of the object in a file of ``write_reconstruction``


@dataclass(frozen=True, eq=False)
class LoadedObject:
    """An object from a file.

    Attributes:
        name: File, and name of the array in it, for messages.
        object: Transmission, complex ``(y, x)``.
        origin_px: Scan coordinate (y, x) of its pixel (0, 0); None if unknown.
        coverage: Illumination of each pixel, ``(y, x)``; None if unknown.
        reconstruction: The whole reconstruction, if this program wrote the file; else None.
    """

    name: str
    object: NDArray[np.complexfloating[Any, Any]]
    origin_px: tuple[float, float] | None = None
    coverage: NDArray[np.float32] | None = None
    reconstruction: Reconstruction | None = None

    def offset_on(self, other: LoadedObject) -> tuple[float, float] | None:
        """Position (y, x) of this object's pixel (0, 0) on the other object, in pixels; None if it is unknown."""
        if self.origin_px is None or other.origin_px is None:
            return None
        return self.origin_px[0] - other.origin_px[0], self.origin_px[1] - other.origin_px[1]


def load_object(place: str, plugin_readers: PluginReaders = ()) -> LoadedObject:
    """Load an object from ``FILE`` or ``FILE:NAME``.

    Without a name, load the reconstruction or known object of the file. With or without its name, it has its place in
    the scan and its coverage if the file has them.

    Args:
        place: ``FILE`` or ``FILE:NAME``.
        plugin_readers: Readers of installed plugins, for the known object of a scan.

    Raises:
        DataError: If there is no such file, or no object in it.
    """
    path, name = _split(place)
    hdf5 = is_hdf5(path)
    if hdf5 and name in (None, _RECONSTRUCTED) and is_reconstruction(path):
        result = read_reconstruction(path)
        return LoadedObject(place, result.object, result.object_origin_px, result.coverage, result)
    arrays = _hdf5_arrays(path) if hdf5 else _npz_arrays(path)
    usual = _find(arrays)
    found = name or usual
    if found is None or found not in arrays:
        wanted = f"no complex array '{name}'" if name else "no complex array 'object' or 'object_true'"
        raise DataError(
            f"{path}: {wanted} in it; its complex arrays are {', '.join(sorted(arrays)) or 'none'}.",
            hint="Name the array after the file: FILE:NAME." if arrays else "Give a file with a complex image.",
        )
    image = _image(path, found, arrays[found])
    origin = _origin_in_scan(path, image, plugin_readers) if found == usual else None
    return LoadedObject(f"{path}:{found}", image, origin)


def _split(place: str) -> tuple[Path, str | None]:
    if not Path(place).exists() and ":" in place:
        file, _, name = place.rpartition(":")
        return Path(file), name.strip("/")
    return Path(place), None


def is_reconstruction(path: Path) -> bool:
    """True for an HDF5 file that ``write_reconstruction`` made."""
    with opened_hdf5(path) as file:
        return "ptycho_cli/object_px_origin" in file


def _hdf5_arrays(path: Path) -> dict[str, Any]:
    with opened_hdf5(path) as file:
        found = tree_of(file).datasets.items()
        return {name.lstrip("/"): loaded(item) for name, item in found if item.dtype.kind == "c" and item.size}


def _npz_arrays(path: Path) -> dict[str, Any]:
    with opened_npz(path) as arrays:
        return {name: array for name, array in arrays.items() if np.iscomplexobj(array)}


def _find(arrays: dict[str, Any]) -> str | None:
    """The array whose name is that of an object, the first of ``_NAMES`` that is there, or that of a ``.ptyr`` file."""
    last_parts = {name.rsplit("/", 1)[-1].lower(): name for name in arrays}
    of_ptypy = (name for name in sorted(arrays) if name.startswith("content/obj/"))
    return next((last_parts[name] for name in _NAMES if name in last_parts), None) or next(of_ptypy, None)


def _image(path: Path, name: str, stored: Any) -> NDArray[np.complexfloating[Any, Any]]:
    array = np.asarray(stored)
    image = array.reshape(array.shape[-2:]) if array.ndim > 2 and array.size == np.prod(array.shape[-2:]) else array
    if image.ndim != 2:
        raise DataError(f"{path}: '{name}' is {array.shape}, expected an image (y, x).", hint="Store one layer alone.")
    return image


def _origin_in_scan(path: Path, image: NDArray[Any], plugin_readers: PluginReaders) -> tuple[float, float] | None:
    """Scan coordinate of the known object of a scan file; None if it has none or ``image`` is not it."""
    try:
        scan = read_scan(path, plugin_readers=plugin_readers)
    except DataError:
        return None
    return scan.truth_origin_px if scan.truth is not None and scan.truth.shape == image.shape else None
