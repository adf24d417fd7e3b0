"""Scans from settings, and settings from scans: what the photons of a scan ask for. Torch is not loaded."""

from __future__ import annotations

import os
from typing import Any

from ptycho_cli.config.presets import LOW_DOSE, scan_layer
from ptycho_cli.config.provenance import Layer
from ptycho_cli.config.schema import DataSettings
from ptycho_cli.data.dose import counts_photons, typical_rate
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.scan_checks import refuse_near_field

# Photons in a bright pixel below which `refiner` is chosen; docs/benchmarks.md has the scans on both sides of it.
FEW_PHOTONS = 150.0


# How ``read_scan`` is told to understand a file: settings and arguments have the same names.
_READING = (
    *("zero_frequency", "position_unit", "position_order", "flip_positions", "stored", "object_pixel_m"),
    *("mask_bad_pixels", "max_frames"),
)
# The scan that was asked last, until it is read to be trained on, so that a large file is read once.
_asked: dict[tuple[Any, ...], Scan] = {}


def read_scans(paths: tuple[str, ...], data: DataSettings) -> tuple[Scan, ...]:
    """Read scans as the ``data`` settings say.

    Raises:
        DataError: If one cannot be used, or is a near-field scan, which the far-field model cannot explain.
    """
    scans = tuple(_read(path, data) for path in paths)
    for scan in scans:
        refuse_near_field(scan)
    return scans


def _read(path: str, data: DataSettings) -> Scan:
    known = _identity(path, data)
    return _asked.pop(known) if known in _asked else read_scan(path, **_reading(data))


def _reading(data: DataSettings) -> dict[str, Any]:
    return {name: getattr(data, name) for name in _READING}


def _identity(path: str, data: DataSettings) -> tuple[Any, ...]:
    """All that a scan depends on: the file as it is now, and how it is understood; empty if there is no file."""
    try:
        file = os.stat(path)
    except OSError:
        return ()
    return (path, file.st_dev, file.st_ino, file.st_mtime_ns, file.st_size, *_reading(data).values())


def asked_for_by_scan(data: DataSettings) -> Layer | None:
    """What the first training scan asks for in place of the defaults, by its photons.

    Returns:
        A layer just above the defaults; None where these fit the scan.

    Raises:
        DataError: If the scan cannot be used.
    """
    (scan,) = read_scans(data.paths[:1], data)
    _asked.clear()
    _asked[_identity(data.paths[0], data)] = scan
    rate = typical_rate(scan)
    if rate >= FEW_PHOTONS or not counts_photons(scan):
        return None
    return scan_layer(LOW_DOSE, f"scan: {rate:.2g} photons in a bright pixel")
