"""The calibration that the settings ask for, as plain values."""

from __future__ import annotations

from torch import Tensor

from ptycho_cli.assembly.group_loaders import real_type
from ptycho_cli.assembly.schedule import optimizer_rates
from ptycho_cli.calibration.calibration_options import CalibrationOptions
from ptycho_cli.calibration.initial_probe import mode_count
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import ConfigError
from ptycho_cli.physics.object_update import ObjectUpdate


def calibration_options(config: Config, update: ObjectUpdate) -> CalibrationOptions:
    """Options of a calibration.

    Args:
        config: The settings.
        update: Regularised update; see :func:`~ptycho_cli.assembly.auto_values.update_for`.
    """
    physics = config.physics
    return CalibrationOptions(
        update=update,
        seed=config.training.seed,
        dtype=real_type(config),
        probe_iterations=physics.probe_warmup if physics.refine_probe else 0,
        probe_modes=physics.probe_modes,
        intensity=physics.refine_intensity,
        background=physics.background,
        refine_positions=physics.refine_positions,
        max_position_shift_px=physics.max_position_shift_px,
    )


def refuse_unrefined_modes(config: Config, options: CalibrationOptions, scan: Scan, run_probe: Tensor | None) -> None:
    """Refuse added probe modes that nothing would refine, neither the calibration nor the training.

    Args:
        config: The settings.
        options: Options of the calibration.
        scan: The first training scan.
        run_probe: Probe of the run that training starts from, ``(mode, y, x)``; None without such a run.

    Raises:
        ConfigError: If more modes are asked for than there are, and nothing would refine them.
    """
    has = mode_count(scan, None) if run_probe is None else len(run_probe)
    calibrated = run_probe is None and options.probe_iterations != 0
    trained = optimizer_rates(config).probe > 0
    if (options.probe_modes or has) > has and not calibrated and not trained:
        raise ConfigError(
            f"physics.probe_modes is {options.probe_modes}, but the probe has {has}, and nothing would refine"
            " those that are added.",
            hint="Refine the probe (physics.refine_probe, optimizer.probe_learning_rate), or leave out --probe-modes.",
        )
