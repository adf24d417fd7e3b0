"""Scans from settings, and settings that a scan suggests by its photons. Does not load torch."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from ptycho_cli.calibration.auto_rules import LOW_DOSE_PHOTONS
from ptycho_cli.config.presets import LOW_DOSE, scan_preset_layer
from ptycho_cli.config.provenance import Layer
from ptycho_cli.config.schema import Config
from ptycho_cli.data.dose import has_whole_counts, typical_rate
from ptycho_cli.data.image_series import refuse_parts_of_one_scan
from ptycho_cli.data.memory import memory_budget
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ApertureOptions, ReadOptions
from ptycho_cli.data.readers.named_arrays import NUMBERS
from ptycho_cli.data.readers.registry import PluginReaders
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.scan_checks import refuse_near_field
from ptycho_cli.progress_callback import StageProgress, pass_progress

READING = "reading frames"

_OPTIONS = [field.name for field in fields(ReadOptions) if field.name not in ("aperture", "number_paths")]
# Scans that were read for their suggestion or their findings, kept so that a large file is read only once.
_kept: dict[tuple[Any, ...], Scan] = {}


def read_scans(
    paths: tuple[str, ...], config: Config, plugin_readers: PluginReaders = (), progress: StageProgress | None = None
) -> tuple[Scan, ...]:
    """Read scans with the settings of the groups ``data`` and ``probe``.

    Args:
        paths: Scan files.
        config: The settings.
        plugin_readers: Readers of installed plugins.
        progress: Called with (stage, frames done, frames in all) where frames stay in a file.

    Raises:
        DataError: If one cannot be used, or is a near-field scan, which the far-field model cannot explain.
    """
    refuse_parts_of_one_scan([Path(path) for path in paths])
    scans = tuple(_read(path, config, plugin_readers, progress) for path in paths)
    for scan in scans:
        refuse_near_field(scan)
    return scans


def keep_scans(
    paths: tuple[str, ...], config: Config, plugin_readers: PluginReaders = (), progress: StageProgress | None = None
) -> tuple[Scan, ...]:
    """Read scans, and keep them for the next ``read_scans`` of the same files with the same settings.

    Raises:
        DataError: As ``read_scans``.
    """
    scans = read_scans(paths, config, plugin_readers, progress)
    _kept.clear()
    _kept.update({_identity(path, config): scan for path, scan in zip(paths, scans, strict=True)})
    return scans


def _read(path: str, config: Config, plugin_readers: PluginReaders, progress: StageProgress | None) -> Scan:
    known = _identity(path, config)
    if known in _kept:
        return _kept.pop(known)
    return read_scan(path, read_options(config), plugin_readers, pass_progress(progress, READING))


def read_options(config: Config) -> ReadOptions:
    """Options of the reader from the settings ``data`` and ``probe``, which have the same names."""
    aperture = ApertureOptions(**{field.name: getattr(config.probe, field.name) for field in fields(ApertureOptions)})
    given: dict[str, Any] = {name: getattr(config.data, name) for name in _OPTIONS}
    paths = {name: given[name] for name in NUMBERS if isinstance(given[name], str)}
    given |= dict.fromkeys(paths)
    number = max(1, len(config.data.paths) + len(config.data.validation_paths))
    given["memory_budget_gib"] = memory_budget(config.data.memory_budget_gib) / number / 2**30
    return ReadOptions(**given, aperture=aperture, number_paths=tuple(paths.items()))


def _identity(path: str, config: Config) -> tuple[Any, ...]:
    """Everything that a scan depends on: the present file, and the options of the reader; empty if there is no file."""
    try:
        file = os.stat(path)
    except OSError:
        return ()
    return (path, file.st_dev, file.st_ino, file.st_mtime_ns, file.st_size, read_options(config))


def suggested_by_scan(
    config: Config, plugin_readers: PluginReaders = (), progress: StageProgress | None = None
) -> Layer | None:
    """Settings that suit the first training scan better than the defaults, from its photons.

    Args:
        config: The settings.
        plugin_readers: Readers of installed plugins.
        progress: As in ``read_scans``.

    Returns:
        A layer just above the defaults; None where these fit the scan.

    Raises:
        DataError: If the scan cannot be used.
    """
    (scan,) = keep_scans(config.data.paths[:1], config, plugin_readers, progress)
    rate = typical_rate(scan)
    if rate >= LOW_DOSE_PHOTONS or not has_whole_counts(scan):
        return None
    return scan_preset_layer(LOW_DOSE, f"scan: {rate:.2g} photons in a bright pixel")
