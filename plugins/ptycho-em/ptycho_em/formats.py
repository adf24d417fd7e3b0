"""Formats that RosettaSciIO opens and that hold diffraction patterns of a scan: how to tell and how to open each."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_cli.extend import DataError
from ptycho_em.signals import NO_CALIBRATION, Format, Signal, signal_of

if TYPE_CHECKING:
    from ptycho_cli.data.readers.source import Source

_EMPAD_FRAME, _EMPAD_SIDE, _FLOAT = 130 * 128 * 4, 128, 4  # bytes of a frame with two rows that are no data
_LARGEST_XML = 1_000_000


def _signals(source: Source, module: str, path: Path | None = None, **options: Any) -> Signal:
    read = import_module(f"rsciio.{module}").file_reader(str(path or source.path), lazy=True, **options)
    return signal_of(source, read)


# EMPAD: a description in XML, which names the file of the frames.


def _is_empad(source: Source) -> bool:
    if source.start.lstrip().startswith(b"<"):
        return _empad_frames(source.path) is not None
    return _empad_xml(source.path) is not None or _is_bare_empad(source)


def _is_bare_empad(source: Source) -> bool:
    size = source.path.stat().st_size
    return _empad_shape(source.path) is not None and size % _EMPAD_FRAME == 0 and source.hdf5 is None


def _empad_frames(xml: Path) -> str | None:
    """Name of the file of frames that an XML file names."""
    if xml.stat().st_size > _LARGEST_XML:
        return None
    found = re.search(rb"<raw_file\b[^>]*\bfilename=[\"']([^\"']+)[\"']", xml.read_bytes())
    return None if found is None else found[1].decode("utf-8", "replace")


def _empad_xml(frames: Path) -> Path | None:
    """The XML file beside a file of frames that names it."""
    if frames.suffix.casefold() != ".raw":
        return None
    beside = (path for path in frames.parent.iterdir() if path.suffix.casefold() == ".xml" and path.is_file())
    return next((path for path in sorted(beside) if _empad_frames(path) == frames.name), None)


def _empad_shape(path: Path) -> tuple[int, int] | None:
    """Rows and columns in the name ``scan_x64_y32.raw``."""
    found = re.search(r"_x(\d+)_y(\d+)\.raw$", path.name, re.IGNORECASE)
    return None if found is None else (int(found[2]), int(found[1]))


def _open_empad(source: Source) -> Signal:
    xml = source.path if source.start.lstrip().startswith(b"<") else _empad_xml(source.path)
    if xml is None:
        return _bare_empad(source)
    if Path(name := _empad_frames(xml) or "").name != name:
        raise DataError(
            f"{source.name}: its frames are said to be in '{name}', expected a file beside it.",
            hint="Copy that file beside it, and correct the name in the XML file.",
        )
    if not xml.with_name(name).is_file():
        raise DataError(f"{source.name}: its frames are in {name}, which is not there.", hint="Copy it beside the XML.")
    return _signals(source, "empad", xml)


def _bare_empad(source: Source) -> Signal:
    """Frames without their XML file; the name says rows and columns."""
    import dask.array
    import numpy as np

    shape = _empad_shape(source.path)
    assert shape is not None
    if shape[0] * shape[1] * _EMPAD_FRAME != (size := source.path.stat().st_size):
        raise DataError(
            f"{source.name}: {size // _EMPAD_FRAME} frames of EMPAD, but its name says {shape[0]} rows of {shape[1]}.",
            hint="Copy the file again, or correct its name.",
        )
    stored = np.memmap(source.path, dtype="<f4", mode="r", shape=(*shape, 130, _EMPAD_SIDE))
    note = "rows and columns of the raster from the name of the file (data.scan_shape)."
    return Signal(dask.array.from_array(stored)[:, :, :_EMPAD_SIDE], [NO_CALIBRATION] * 4, notes=[note])


# Merlin: each frame has a header, which begins with MQ1.


def _open_merlin(source: Source) -> Signal:
    import numpy as np
    from rsciio.quantumdetector import load_mib_data

    data = load_mib_data(str(source.path), lazy=True, return_mmap=False)
    if data.ndim == 2:
        data = data[np.newaxis]
    header = _merlin_header(source.path.with_suffix(".hdr"))
    n_frames, columns = len(data), int(header.get("Frames per Trigger (Number)", 0))
    notes = ["the rows of each frame are in reverse order, as RosettaSciIO takes them (data.frame_transform)."]
    if (planned := int(header.get("Frames in Acquisition (Number)", 0))) > n_frames:
        notes.append(f"{n_frames} of {planned} frames are in the file.")
    if source.options.scan_shape is None and 1 < columns < n_frames:
        rows, more = divmod(n_frames, columns)
        data = data[: rows * columns].reshape(rows, columns, *data.shape[1:])
        notes.append(f"{columns} frames in a row, as in one trigger of the detector (data.scan_shape).")
        notes += [f"the last {more} frames are no complete row, and left out."] if more else []
    return Signal(np.flip(data, axis=-2), [NO_CALIBRATION] * data.ndim, notes=notes)


def _merlin_header(path: Path) -> dict[str, str]:
    """The entries of the text file beside the frames; none where it is missing."""
    lines = path.read_text(encoding="latin-1").splitlines() if path.is_file() else []
    parts = (line.partition("\t") for line in lines)
    return {name.rstrip(":"): value.strip() for name, _, value in parts}


# Gatan's DigitalMicrograph: the version, the size of the file, and the order of bytes.


def _is_dm(source: Source) -> bool:
    version, start = source.start[:4], source.start
    if version == b"\0\0\0\3":
        return start[8:12] in (b"\0\0\0\0", b"\0\0\0\1")
    return version == b"\0\0\0\4" and start[12:16] in (b"\0\0\0\0", b"\0\0\0\1")


# ASTAR


def _open_blockfile(source: Source) -> Signal:
    signal = _signals(source, "blockfile")
    if "camera_length" in signal.tem:
        signal.tem["camera_length"] *= 1e3  # RosettaSciIO's rule gives metres
    signal.rotations = {name: value / 100 for name, value in signal.rotations.items()}  # of hundredths of a degree
    with source.path.open("rb") as file:
        file.seek(_SDP_AT)
        pixel_is_known = file.read(2) != b"\0\0"
    if not pixel_is_known:
        signal = replace(signal, axes=[*signal.axes[:-2], NO_CALIBRATION, NO_CALIBRATION])
    return signal


_SDP_AT = 6 + 2 + 4 + 4 + 4 + 2 + 2 + 2 + 2 + 2 + 8 + 8 + 4  # place of the pixel's size in the header


# TVIPS: a stream of frames, of which those of the scan have a number above 0.


def _is_tvips(source: Source) -> bool:
    size, version = struct.unpack_from("<II", source.start.ljust(16, b"\0"))
    if size != 256 or version not in (1, 2):
        return False
    with source.path.open("rb") as file:
        header = file.read(256)
    return b"TVIPS" in header[52:] or b"HYPERSPY" in header[52:]


def _open_tvips(source: Source) -> Signal:
    if re.search(r"_000\.tvips$", source.name) is None:
        raise DataError(
            f"{source.name}: a stream of TVIPS, expected a name that ends with _000.tvips.",
            hint="Give the first of its files; the others are found by their numbers.",
        )
    signal = _signals(source, "tvips")
    first = _first_of_scan(source.path)
    notes = ["the size of a detector pixel in TVIPS files is not used (data.reciprocal_pixel_per_angstrom)."]
    if first:
        notes.append(f"the first {first} frames are from before the scan, and left out.")
    return replace(signal, data=signal.data[first:], axes=[NO_CALIBRATION] * 3, notes=notes)


def _first_of_scan(path: Path) -> int:
    """Number of the first frame that has a number of the scan generator."""
    import numpy as np

    with path.open("rb") as file:
        size, version, width, height, bits = struct.unpack("<5I", file.read(20))
        file.seek(48)
        (header,) = struct.unpack("<I", file.read(4))
    if version < 2:
        return 0
    rest = header - 52 + width * height * bits // 8
    record = np.dtype([("before", "V48"), ("number", "<u4"), ("after", f"V{rest}")])
    numbers = np.memmap(path, dtype=record, mode="r", offset=size)["number"]
    return int(np.argmax(numbers > 0))


# Formats in HDF5


def _is_velox(source: Source) -> bool:
    file = source.hdf5
    if file is None or "Version" not in file or "Data/Image" not in file:
        return False
    version = file["Version"]
    return version.shape == (1,) and b"Velox" in bytes(version[0]) if hasattr(version, "shape") else False


def _is_mrc(source: Source) -> bool:
    if source.hdf5 is not None:
        return False
    with source.path.open("rb") as file:
        header = file.read(212)
    return header[208:212] == b"MAP "


FORMATS = (
    Format("EMPAD", "Files of EMPAD detectors: .xml with .raw.", _is_empad, _open_empad),
    Format("Merlin", "Files of Merlin detectors (.mib).", lambda source: source.start[:4] == b"MQ1,", _open_merlin),
    Format("DigitalMicrograph", "Files of Gatan's DigitalMicrograph (.dm3, .dm4).", _is_dm,
           lambda source: _signals(source, "digitalmicrograph")),
    Format("Blockfile", "Files of ASTAR (.blo).", lambda source: source.start[:6] == b"IMGBLO", _open_blockfile),
    Format("TVIPS", "Streams of TVIPS cameras (_000.tvips).", _is_tvips, _open_tvips),
    Format("MRC", "Stacks of Direct Electron and other cameras (.mrc).", _is_mrc,
           lambda source: _signals(source, "mrc")),
    Format("Velox", "Series of diffraction patterns of Thermo Fisher's Velox (.emd).", _is_velox,
           lambda source: _signals(source, "emd")),
)  # fmt: skip
