"""Scans of several instruments in one training: which need a probe each, and their calibration."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ptycho_cli.calibration.calibration_options import CalibrationOptions
from ptycho_cli.calibration.pipeline import Calibration, Known, calibrate
from ptycho_cli.config.schema import PhysicsSettings, TrainingSettings
from ptycho_cli.data.background import mean_background
from ptycho_cli.data.groups import Instrument, held_out_frames
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.scan_checks import PIXEL_TOLERANCE
from ptycho_cli.errors import ConfigError
from ptycho_cli.progress_callback import Progress

# Stored probes that overlap less than this, after scale and phase, are of different instruments.
SAME_PROBE = 0.98


def needs_probe_per_scan(physics: PhysicsSettings, scans: Sequence[Scan]) -> bool:
    """Decide ``physics.probe_per_scan``: with ``auto``, for scans that one probe cannot fit."""
    if physics.probe_per_scan != "auto":
        return physics.probe_per_scan == "always" and len(scans) > 1
    first = scans[0]
    return any(_differ(first, scan) for scan in scans[1:])


def _differ(first: Scan, scan: Scan) -> bool:
    if scan.n_pixels != first.n_pixels:
        return True
    pixels = [each.object_pixel_m for each in (first, scan) if each.object_pixel_m is not None]
    if len(pixels) == 2 and abs(pixels[1] / pixels[0] - 1) > PIXEL_TOLERANCE:
        return True
    if first.probe is None or scan.probe is None:
        return False
    one, other = (probe[0].ravel() / np.linalg.norm(probe[0]) for probe in (first.probe, scan.probe))
    return float(np.abs(np.vdot(one, other))) < SAME_PROBE


def calibrate_each(
    scans: Sequence[Scan],
    n_training: int,
    fraction: float,
    options: Sequence[CalibrationOptions],
    progress: Progress | None = None,
) -> Calibration:
    """Calibrate scans one by one, each with a probe of its own.

    Args:
        scans: The scans, validation scans after training scans.
        n_training: Number of training scans.
        fraction: Share of the frames of a training scan that is held out.
        options: What to look for in each scan.
        progress: Called with (steps done, steps at most).

    Returns:
        The calibrated scans, and the probe of each; ``probe`` is that of the first.
    """
    calibrations, notes = [], []
    for number, (scan, wanted) in enumerate(zip(scans, options, strict=True)):
        share = fraction if number < n_training else 0.0
        held_out = partial(held_out_frames, fraction=share, seed=wanted.seed, scan=number)
        found = calibrate((scan,), held_out, wanted, Known(), progress)
        calibrations.append(found)
        notes += [f"{scan.source}: {note}" for note in found.notes]
    findings = tuple(finding for found in calibrations for finding in found.findings)
    return Calibration(
        tuple(found.scans[0] for found in calibrations), calibrations[0].probe, notes, findings,
        probes=tuple(found.probe.probe for found in calibrations),
    )  # fmt: skip


def instruments_of(calibration: Calibration) -> tuple[Instrument, ...]:
    """What each scan has of its own after ``calibrate_each``; nothing where all scans share a probe."""
    if not calibration.probes:
        return ()
    return tuple(
        Instrument(
            probe,
            np.asarray(scan.mask),
            np.ones(scan.n_frames) if scan.intensities is None else scan.intensities,
            mean_background(scan.background),  # no pattern is looked for where each scan has its own probe
        )
        for scan, probe in zip(calibration.scans, calibration.probes, strict=True)
    )


def refuse_mixed_batches(training: TrainingSettings, calibration: Calibration) -> None:
    """Refuse batches of several groups where probes differ in shape.

    Raises:
        ConfigError: If there are such.
    """
    shapes = {tuple(probe.shape) for probe in calibration.probes}
    if training.batch_size > 1 and len(shapes) > 1:
        raise ConfigError(
            f"training.batch_size is {training.batch_size}, but the scans have probes of {len(shapes)} shapes"
            f" (modes, y, x): {', '.join(map(str, sorted(shapes)))}.",
            hint="Set training.batch_size=1; training.accumulate_grad_batches has the same effect.",
        )
