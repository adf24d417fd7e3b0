"""Scans from settings, and settings that a scan suggests by its photons. Does not load torch."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any

from ptycho_cli.calibration.auto_rules import LOW_DOSE_PHOTONS
from ptycho_cli.config.data_settings import DataSettings
from ptycho_cli.config.presets import LOW_DOSE, scan_preset_layer
from ptycho_cli.config.provenance import Layer
from ptycho_cli.data.dose import has_whole_counts, typical_rate
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers.registry import PluginReaders
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.scan_checks import refuse_near_field

# Scans that were read for their suggestion or their findings, kept so that a large file is read only once.
_kept: dict[tuple[Any, ...], Scan] = {}


def read_scans(paths: tuple[str, ...], data: DataSettings, plugin_readers: PluginReaders = ()) -> tuple[Scan, ...]:
    """Read scans with the ``data`` settings.

    Args:
        paths: Scan files.
        data: The settings.
        plugin_readers: Readers of installed plugins.

    Raises:
        DataError: If one cannot be used, or is a near-field scan, which the far-field model cannot explain.
    """
    scans = tuple(_read(path, data, plugin_readers) for path in paths)
    for scan in scans:
        refuse_near_field(scan)
    return scans


def keep_scans(paths: tuple[str, ...], data: DataSettings, plugin_readers: PluginReaders = ()) -> tuple[Scan, ...]:
    """Read scans, and keep them for the next ``read_scans`` of the same files with the same settings.

    Raises:
        DataError: As ``read_scans``.
    """
    scans = read_scans(paths, data, plugin_readers)
    _kept.clear()
    _kept.update({_identity(path, data): scan for path, scan in zip(paths, scans, strict=True)})
    return scans


def _read(path: str, data: DataSettings, plugin_readers: PluginReaders) -> Scan:
    known = _identity(path, data)
    return _kept.pop(known) if known in _kept else read_scan(path, read_options(data), plugin_readers)


def read_options(data: DataSettings) -> ReadOptions:
    """Options of the reader from the ``data`` settings, which have the same names."""
    return ReadOptions(**{field.name: getattr(data, field.name) for field in fields(ReadOptions)})


def _identity(path: str, data: DataSettings) -> tuple[Any, ...]:
    """Everything that a scan depends on: the present file, and the options of the reader; empty if there is no file."""
    try:
        file = os.stat(path)
    except OSError:
        return ()
    return (path, file.st_dev, file.st_ino, file.st_mtime_ns, file.st_size, read_options(data))


def suggested_by_scan(data: DataSettings, plugin_readers: PluginReaders = ()) -> Layer | None:
    """Settings that suit the first training scan better than the defaults, from its photons.

    Returns:
        A layer just above the defaults; None where these fit the scan.

    Raises:
        DataError: If the scan cannot be used.
    """
    (scan,) = keep_scans(data.paths[:1], data, plugin_readers)
    rate = typical_rate(scan)
    if rate >= LOW_DOSE_PHOTONS or not has_whole_counts(scan):
        return None
    return scan_preset_layer(LOW_DOSE, f"scan: {rate:.2g} photons in a bright pixel")
