"""The calibration that the settings ask for, as plain values."""

from __future__ import annotations

import torch
from torch import Tensor

from ptycho_cli.calibration.calibration_options import CalibrationOptions
from ptycho_cli.calibration.initial_probe import mode_count
from ptycho_cli.config.schema import PhysicsSettings
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import ConfigError
from ptycho_cli.physics.object_update import ObjectUpdate


def calibration_options(
    physics: PhysicsSettings, update: ObjectUpdate, *, seed: int, dtype: torch.dtype
) -> CalibrationOptions:
    """Options of a calibration.

    Args:
        physics: The settings.
        update: Regularised update; see :func:`~ptycho_cli.assembly.auto_values.update_for`.
        seed: Seed of the random numbers of the calibration.
        dtype: Type of real numbers.
    """
    return CalibrationOptions(
        update=update,
        seed=seed,
        dtype=dtype,
        probe_iterations=physics.probe_warmup if physics.refine_probe else 0,
        probe_modes=physics.probe_modes,
        intensity=physics.refine_intensity,
        background=physics.background,
        refine_positions=physics.refine_positions,
        max_position_shift_px=physics.max_position_shift_px,
    )


def refuse_unrefined_modes(options: CalibrationOptions, scan: Scan, run_probe: Tensor | None, *, trained: bool) -> None:
    """Refuse added probe modes that nothing would refine, neither the calibration nor the training.

    Args:
        options: Options of the calibration.
        scan: The first training scan.
        run_probe: Probe of the run that training starts from, ``(mode, y, x)``; None without such a run.
        trained: Whether training refines the probe.

    Raises:
        ConfigError: If more modes are asked for than there are, and nothing would refine them.
    """
    has = mode_count(scan, None) if run_probe is None else len(run_probe)
    calibrated = run_probe is None and options.probe_iterations != 0
    if (options.probe_modes or has) > has and not calibrated and not trained:
        raise ConfigError(
            f"physics.probe_modes is {options.probe_modes}, but the probe has {has}, and the added modes"
            " need a probe that is refined.",
            hint="Set physics.refine_probe and optimizer.probe_learning_rate, or leave out physics.probe_modes.",
        )
