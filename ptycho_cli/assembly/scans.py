"""Scans from settings, and settings from scans: what the photons of a scan ask for. Torch is not loaded."""

from __future__ import annotations

from ptycho_cli.config.presets import LOW_DOSE, scan_layer
from ptycho_cli.config.record import Layer
from ptycho_cli.config.schema import DataSettings
from ptycho_cli.data.checks import refuse_near_field
from ptycho_cli.data.dose import counts_photons, typical_rate
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.scan import Scan

# Photons in a bright pixel below which `refiner` is chosen; docs/benchmarks.md has the scans on both sides of it.
FEW_PHOTONS = 150.0


def read_scans(paths: tuple[str, ...], data: DataSettings) -> tuple[Scan, ...]:
    """Read scans as the ``data`` settings say.

    Raises:
        DataError: If one cannot be used, or is a near-field scan, which the far-field model cannot explain.
    """
    scans = tuple(
        read_scan(
            path,
            zero_frequency=data.zero_frequency,
            position_unit=data.position_unit,
            position_order=data.position_order,
            flip_positions=data.flip_positions,
            stored=data.stored,
            object_pixel_m=data.object_pixel_m,
            mask_bad_pixels=data.mask_bad_pixels,
            max_frames=data.max_frames,
        )
        for path in paths
    )
    for scan in scans:
        refuse_near_field(scan)
    return scans


def asked_for_by_scan(data: DataSettings) -> Layer | None:
    """What the first training scan asks for in place of the defaults, by its photons.

    Returns:
        A layer just above the defaults; None where these fit the scan.

    Raises:
        DataError: If the scan cannot be used.
    """
    (scan,) = read_scans(data.paths[:1], data)
    rate = typical_rate(scan)
    if rate >= FEW_PHOTONS or not counts_photons(scan):
        return None
    return scan_layer(LOW_DOSE, f"scan: {rate:.2g} photons in a bright pixel")
