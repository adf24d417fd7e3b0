"""From a signal of RosettaSciIO to a ``RawScan``: which axes are the scan's, and what the metadata say."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

from ptycho_cli.extend import DataError, ReaderEntry
from ptycho_cli.extend.validate import one_line

if TYPE_CHECKING:
    from ptycho_cli.data.readers.raw_scan import RawScan
    from ptycho_cli.data.readers.source import Source

_TEM = "Acquisition_instrument.TEM."
_WANTED = ("beam_energy", "convergence_angle", "camera_length")  # of HyperSpy's metadata, in kV, mrad and mm
NO_CALIBRATION: Mapping[str, Any] = {"scale": 0.0, "units": ""}  # of an axis
_DEEPEST = 12  # levels of metadata that are searched


@dataclass
class Signal:
    """An array of RosettaSciIO with what is known about it.

    Attributes:
        data: Dask array; nothing is loaded yet.
        axes: One dictionary for each axis, with ``scale``, ``units`` and ``navigate``.
        tem: Numbers of the microscope by HyperSpy's names.
        rotations: Angles of the scan in the metadata, by name.
        notes: Assumptions, one line each.
    """

    data: Any
    axes: list[Mapping[str, Any]]
    tem: dict[str, float] = field(default_factory=dict)
    rotations: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        name: Name of the reader.
        summary: One sentence for listings.
        recognizes: ``source -> bool``: True if the content of a file has this format.
        open: ``source -> Signal``: opens it; any exception means that it is damaged or of an unknown version.
    """

    name: str
    summary: str
    recognizes: Callable[[Source], bool]
    open: Callable[[Source], Signal]


class Frames:
    """Frames that are loaded when they are indexed."""

    def __init__(self, name: str, data: Any) -> None:
        self.name, self._data = name, data
        self.shape, self.dtype, self.ndim, self.size = data.shape, data.dtype, data.ndim, data.size

    def __getitem__(self, index: Any) -> Any:
        return self._data[index].compute(scheduler="synchronous")


def reader_of(form: Format) -> ReaderEntry:
    """The reader of a format."""
    return ReaderEntry(form.name, form.summary, form.recognizes, lambda source: _read(form, source))


def _read(form: Format, source: Source) -> RawScan:
    """Read frames, raster and calibrations.

    Raises:
        DataError: If the file cannot be read, or holds no stack of diffraction patterns.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.getLogger("rsciio").setLevel(logging.ERROR)
            return _raw(source, form.open(source))
    except DataError:
        raise
    except Exception as error:  # of many kinds, where a file is not as its format says
        raise DataError(
            f"{source.name}: damaged, incomplete or of an unknown version, expected a file of the format {form.name} "
            f"({one_line(error)}).",
            hint="Copy all files of the scan again, together into one folder, or export it in another version.",
        ) from None


def signal_of(source: Source, read: list[dict[str, Any]]) -> Signal:
    """The diffraction patterns among the signals of a file: the largest array of images.

    Raises:
        DataError: If there is no stack of images.
    """
    stacks = [item for item in read if getattr(item["data"], "ndim", 0) in (3, 4)]
    if not stacks:
        held = ", ".join(str(tuple(item["data"].shape)) for item in read[:4]) or "nothing"
        raise DataError(
            f"{source.name}: no stack of diffraction patterns in it; it holds {held}, expected (row, column, y, x) or "
            "(frame, y, x).",
            hint="Choose the file of the 4D-STEM scan.",
        )
    found = max(stacks, key=lambda item: (item["data"].ndim, any(map(_is_angular, item["axes"])), item["data"].size))
    data, axes = _scan_first(found["data"], sorted(found["axes"], key=lambda axis: axis["index_in_array"]))
    stored = found.get("original_metadata", {})
    return Signal(data, axes, _microscope(found, stored), dict(_rotations(stored)))


def _scan_first(data: Any, axes: list[Mapping[str, Any]]) -> tuple[Any, list[Mapping[str, Any]]]:
    """The array with the axes of the scan before those of the detector, which have units of angle or 1/length."""
    order = [number for number, axis in enumerate(axes) if axis["navigate"]]
    detector = [number for number, axis in enumerate(axes) if _is_angular(axis)]
    if len(axes) == 4 and len(detector) == 2:
        order = [number for number in range(4) if number not in detector]
    order += [number for number in range(len(axes)) if number not in order]
    return data.transpose(order), [axes[number] for number in order]


def _is_angular(axis: Mapping[str, Any]) -> bool:
    from ptycho_cli.data.physical_units import UNITS, unit_from

    unit = unit_from(axis["units"] or "")
    return unit in UNITS["reciprocal"] or unit in UNITS["angle"]


def _microscope(found: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, float]:
    """Voltage, semi-angle and camera length: stated as metadata, or by the rule of the format for its own names."""
    values: dict[str, Any] = {name: _at(found["metadata"], f"{_TEM}{name}") for name in _WANTED}
    for path, (target, convert) in found.get("mapping", {}).items():
        name = target.removeprefix(_TEM)
        value = _at(stored, path) if name in _WANTED else None
        if value is not None:
            values[name] = convert(value) if convert else value
    return {name: float(value) for name, value in values.items() if _is_positive(value)}


def _is_positive(value: Any) -> bool:
    return isinstance(value, Real) and 0 < float(value) < float("inf")


def _at(stored: Any, path: str) -> Any:
    """A value of nested dictionaries; names may have blanks in place of ``_``."""
    for part in path.split("."):
        names = {key.replace(" ", "_"): key for key in stored} if isinstance(stored, Mapping) else {}
        key = names.get(part.replace(" ", "_"))
        if key is None:
            return None
        stored = stored[key]
    return stored


def _rotations(stored: Any, place: str = "", depth: int = _DEEPEST) -> Iterator[tuple[str, float]]:
    """Numbers that are not 0 whose name ends with ``rotation``, by path."""
    for key, value in stored.items() if isinstance(stored, Mapping) and depth else ():
        path = f"{place}/{key}".lstrip("/")
        if re.search(r"scan.*rotation$", path.casefold()) and isinstance(value, Real) and value != 0:
            yield path, float(value)
        yield from _rotations(value, path, depth - 1)


def _raw(source: Source, signal: Signal) -> RawScan:
    from ptycho_cli.data.readers.hyperspy import add_microscope
    from ptycho_cli.data.readers.raster_axes import Axis, raw_from_axes

    axes = [Axis(float(axis["scale"] or 0), str(axis["units"] or "")) for axis in signal.axes]
    raw = raw_from_axes(source, Frames("frames", signal.data), axes)
    add_microscope(raw, signal.tem)
    raw.single_values |= signal.rotations
    raw.notes += signal.notes
    return raw
