"""From a signal of RosettaSciIO to a ``RawScan``: which axes are the scan's, and what the metadata say."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
_CHUNK = "4MiB"  # that is read at once for a frame
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


def reader_of(form: Format) -> ReaderEntry:
    """The reader of a format."""
    return ReaderEntry(form.name, form.summary, form.recognizes, lambda source: _read(form, source))


def _read(form: Format, source: Source) -> RawScan:
    """Read raster and calibrations; frames stay in the file.

    Raises:
        DataError: If the file cannot be read, or holds no stack of diffraction patterns.
    """
    raw = _raw(form, source)
    raw.counts[len(raw.counts) - 1]  # a file that was cut off is refused at once
    return raw


@contextmanager
def opened_signal(form: Format, source: Source) -> Iterator[Signal]:
    """Open a file with RosettaSciIO for a block, without its warnings.

    Raises:
        DataError: If the file cannot be read, also where that shows in the block, or holds no diffraction patterns.
    """
    import dask.config

    try:
        with warnings.catch_warnings(), dask.config.set({"array.chunk-size": _CHUNK}):
            warnings.simplefilter("ignore")
            logging.getLogger("rsciio").setLevel(logging.ERROR)
            yield form.open(source)
    except DataError:
        raise
    except Exception as error:  # of many kinds, where a file is not as its format says
        raise damaged(form, source.name, error) from None


def damaged(form: Format, name: str, error: Exception) -> DataError:
    """The error for a file that RosettaSciIO cannot read."""
    return DataError(
        f"{name}: damaged, incomplete or of an unknown version, expected a file of the format {form.name} "
        f"({one_line(error)}).",
        hint="Copy all files of the scan again, together into one folder, or export it in another version.",
    )


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


def _raw(form: Format, source: Source) -> RawScan:
    from ptycho_cli.data.frame_stack import FrameStack
    from ptycho_cli.data.readers.hyperspy import add_microscope
    from ptycho_cli.data.readers.raster_axes import Axis, add_axes
    from ptycho_cli.data.readers.raw_scan import RawScan
    from ptycho_em.stored_signals import stored_signal

    with opened_signal(form, source) as signal:
        shape = signal.data.shape
        frames = stored_signal(form, source, signal.data)
        raster = (shape[0], shape[1]) if len(shape) == 4 and shape[0] > 1 else None
        raw = RawScan(source.name, "frames", FrameStack(frames), scan_shape=raster)
        add_axes(raw, source, [Axis(float(axis["scale"] or 0), str(axis["units"] or "")) for axis in signal.axes])
        add_microscope(raw, signal.tem)
        raw.single_values |= signal.rotations
        raw.notes += signal.notes
    return raw
