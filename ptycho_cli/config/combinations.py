"""Combinations of settings that cannot be used: settings without effect, contradictions, overridden checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

from ptycho_cli.config.earlier_run import Use
from ptycho_cli.config.provenance import Problem, Resolved, Source
from ptycho_cli.config.values import show

Values = Mapping[str, Any]


class NoEffect(NamedTuple):
    """A setting that has no effect if other settings have certain values.

    It is refused, so that no setting is ignored silently; one that was set for many runs is dropped with a warning.

    Attributes:
        key: The setting.
        cause: The setting that takes its effect away; messages name its place.
        reads: All settings that ``applies`` reads.
        applies: Function of all values; True if the setting has no effect.
        reason: Reason for messages: ``checkpoints are off``.
    """

    key: str
    cause: str
    reads: tuple[str, ...]
    applies: Callable[[Values], bool]
    reason: str


def _never_stops_early(values: Values) -> bool:
    """True if training ends before patience runs out; the first epoch is the best one so far and does not count."""
    return bool(values["checkpoint.early_stop_patience"] >= values["training.epochs"] - 1)


def _loss_is_not_monitored(values: Values) -> bool:
    return not values["checkpoint.enabled"] and _never_stops_early(values)


def _without(key: str, cause: str, reason: str) -> NoEffect:
    """A setting without effect where the switch ``cause`` is off."""
    return NoEffect(key, cause, (cause,), lambda values: not values[cause], reason)


# Loggers that show pictures, with their packages, one of which is enough.
_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "mlflow": ("mlflow",), "wandb": ("wandb",)}
# Simulated scans come with their own probe, positions, intensities and background, and with targets without noise.
_OF_MEASURED_SCANS = (
    *("data.paths", "data.validation_paths", "data.group_size", "data.validation_fraction", "loss.withheld"),
    *("physics.refine_probe", "physics.probe_modes", "physics.probe_warmup", "physics.refine_positions"),
    *("physics.refine_intensity", "physics.background", "optimizer.probe_learning_rate"),
)
_BY_SIMULATION = "data.simulate", ("data.simulate",)
_EARLY_STOP = ("checkpoint.early_stop_patience", "training.epochs")
NO_EFFECT = (
    NoEffect(
        "data.validation_fraction",
        "data.validation_paths",
        ("data.validation_paths",),
        lambda values: bool(values["data.validation_paths"]) and values["data.validation_fraction"] > 0,
        "validation scans replace held-out frames",
    ),
    *(
        NoEffect(key, *_BY_SIMULATION, lambda values: values["data.simulate"] is not None, "scans are simulated")
        for key in _OF_MEASURED_SCANS
    ),
    NoEffect(
        "loss.name",
        *_BY_SIMULATION,
        lambda values: values["loss.name"] == "object" and values["data.simulate"] is None,
        "scans are measured, and their true object is not known",
    ),
    _without("optimizer.probe_learning_rate", "physics.refine_probe", "the probe is not refined"),
    _without("physics.probe_warmup", "physics.refine_probe", "the probe is not refined"),
    _without("physics.max_position_shift_px", "physics.refine_positions", "positions are not refined"),
    _without("data.position_delay_from", "data.position_delay", "positions have no delay"),
    _without("checkpoint.save_top_k", "checkpoint.enabled", "checkpoints are off"),
    *(
        NoEffect(
            key,
            "checkpoint.enabled",
            ("checkpoint.enabled", *_EARLY_STOP),
            _loss_is_not_monitored,
            "checkpoints are off, and training ends before it could stop early",
        )
        for key in ("checkpoint.monitor", "checkpoint.mode")
    ),
    NoEffect(
        "training.weight_interpolation",
        "model.weights",
        ("model.weights",),
        lambda values: values["model.weights"] == "none",
        "the training starts from random weights",
    ),
    NoEffect(
        "execution.picture_every",
        "execution.live",
        ("execution.live", "execution.logger"),
        lambda values: not (values["execution.live"] or set(values["execution.logger"]).intersection(_PACKAGES)),
        "no logger and no --live shows pictures",
    ),
    NoEffect(
        "checkpoint.early_stop_patience",
        "training.epochs",
        _EARLY_STOP,
        _never_stops_early,
        "the training is too short for it",
    ),
)


def checkpoint_problems(resolved: Resolved, use: Use) -> list[Problem]:
    """Problems of settings that a checkpoint fixes, and of flags and arguments that have no effect here."""
    found = []
    for decision in resolved.decisions:
        winner, fixed = decision.winner, decision.fixed_by if decision.fixed else None
        if decision.key.startswith(use.ignored) and winner.source >= Source.LIBRARY:
            message = f"{decision.key} has no effect when {use.when}."
            found.append(Problem(decision.key, winner.origin, message, "Remove it."))
        elif fixed is not None and fixed.value != winner.value:
            message = f"{decision.key} cannot be {show(winner.value)}: {fixed.origin} fixes it to {show(fixed.value)}."
            found.append(Problem(decision.key, winner.origin, message, "Remove it, or train a new run."))
    return found


def contradictions(resolved: Resolved, failed: set[str], command: str, *, staged: bool) -> Iterator[Problem]:
    """Problems of settings that contradict each other in a command; those without a usable value are left out.

    Args:
        resolved: The settings.
        failed: Keys without a usable value.
        command: The command, such as ``train``.
        staged: The chosen scheduler moves the loss through stages.
    """
    for check in (_STAGED_CHECK, *_CHECKS) if staged else _CHECKS:
        if command in check.commands and not failed.intersection(check.reads):
            for keys, message, hint in check.find(resolved):
                place = max((resolved.decision(key) for key in keys), key=lambda decision: decision.winner.source)
                yield Problem(place.key, place.winner.origin, message, hint)


# Keys that contradict each other, message and hint; the problem is placed at the key of the strongest source.
_Found = Iterator[tuple[tuple[str, ...], str, str]]


class _Check(NamedTuple):
    """A check, and the keys that it reads."""

    reads: tuple[str, ...]
    find: Callable[[Resolved], _Found]
    commands: tuple[str, ...] = ("train",)


def _stages_need_poisson(resolved: Resolved) -> _Found:
    config = resolved.config
    if config.loss.name != "poisson":
        yield (
            ("scheduler.name", "loss.name"),
            f"the stages of {config.scheduler.name} lead to the Poisson likelihood,"
            f" but loss.name is {config.loss.name}.",
            "Set loss.name to poisson, or choose a scheduler without stages.",
        )


def _has_validation(resolved: Resolved) -> bool:
    data = resolved.config.data
    return bool(data.validation_paths) or data.validation_fraction > 0


_NO_VALIDATION = "but there is no validation data: data.validation_fraction is 0."
_GIVE_VALIDATION = "give validation data: data.validation_paths or data.validation_fraction."


def _monitor_needs_validation(resolved: Resolved) -> _Found:
    config = resolved.config
    stops_early = config.checkpoint.early_stop_patience < config.training.epochs - 1
    monitors = (config.checkpoint.enabled or stops_early) and config.checkpoint.monitor == "val_loss"
    if monitors and not _has_validation(resolved):
        yield (
            ("checkpoint.monitor", "data.validation_fraction"),
            f"checkpoint.monitor is val_loss, {_NO_VALIDATION}",
            f"Set checkpoint.monitor to train_loss, or {_GIVE_VALIDATION}",
        )


def _scheduler_needs_validation(resolved: Resolved) -> _Found:
    chosen = resolved.config.scheduler
    if getattr(chosen.options, "monitor", None) == "val_loss" and not _has_validation(resolved):
        yield (
            ("scheduler.name", "data.validation_fraction"),
            f"{chosen.name} monitors val_loss, {_NO_VALIDATION}",
            f"{_GIVE_VALIDATION[:1].upper()}{_GIVE_VALIDATION[1:]}",
        )


def _checkpoints_are_kept(resolved: Resolved) -> _Found:
    if resolved.config.checkpoint.enabled and resolved.config.checkpoint.save_top_k == 0:
        yield (
            ("checkpoint.save_top_k",),
            "checkpoint.save_top_k is 0, which keeps no checkpoint, but checkpoints are on.",
            "Set checkpoint.enabled to false to write none.",
        )


def _epoch_fills_a_step(resolved: Resolved) -> _Found:
    """An epoch must hold a whole batch, and all batches that one optimizer step accumulates."""
    training = resolved.config.training
    if training.n_groups is None:
        return
    batches = -(-training.n_groups // training.batch_size)
    if training.batch_size > training.n_groups:
        groups = f"{training.n_groups} group{'s' * (training.n_groups != 1)}"
        key, most = "training.batch_size", f"{groups} (training.n_groups)"
    elif training.accumulate_grad_batches > batches:
        key, most = "training.accumulate_grad_batches", f"{batches} batch{'es' * (batches != 1)}"
    else:
        return
    value = resolved.decision(key).winner.value
    message = f"{key} is {value}, but an epoch has only {most}."
    yield (key, "training.n_groups"), message, "Lower it, or raise training.n_groups."


def _mps_has_no_double_precision(resolved: Resolved) -> _Found:
    execution = resolved.config.execution
    if execution.precision == "64-true" and execution.accelerator == "mps":
        yield (
            ("execution.precision", "execution.accelerator"),
            "execution.precision is 64-true, but mps devices have no double precision.",
            "Set execution.accelerator to cpu.",
        )


# Settings that give the same quantity, each of them alone.
_SAME_QUANTITY = (
    (("data.energy_ev", "data.wavelength_m", "data.voltage_kv"), "each of them fixes the wavelength"),
    (
        ("data.object_pixel_m", "data.angle_per_pixel_mrad", "data.reciprocal_pixel_per_angstrom"),
        "each of them fixes the object pixel",
    ),
    *(
        ((given, other), "each of them fixes the angle of a detector pixel")
        for given in ("data.angle_per_pixel_mrad", "data.reciprocal_pixel_per_angstrom")
        for other in ("data.distance_m", "data.detector_pixel_m")
    ),
)


def _one_setting_for_a_quantity(resolved: Resolved) -> _Found:
    for names, reason in _SAME_QUANTITY:
        given = [name for name in names if resolved.decision(name).winner.value is not None]
        if len(given) > 1:
            yield tuple(given), f"{' and '.join(given)} are both given, but {reason}.", "Leave out all but one."


def _xrays_have_no_voltage(resolved: Resolved) -> _Found:
    data = resolved.config.data
    if data.radiation == "xray" and data.voltage_kv is not None:
        yield (
            ("data.radiation", "data.voltage_kv"),
            "data.radiation is xray, but data.voltage_kv is the voltage of electrons.",
            "Set data.energy_ev, or data.radiation to electron.",
        )


def _training_uses_its_network(resolved: Resolved) -> _Found:
    decision = resolved.decision("inference.untrained")
    if decision.winner.value and decision.winner.source is not Source.CHECKPOINT:
        yield (
            ("inference.untrained",),
            "inference.untrained is for `ptycho infer`: a training reconstructs with the network that it trains.",
            "Remove it. training.compare_untrained scores both; `ptycho infer --untrained` writes physics alone.",
        )


def _prior_needs_polish(resolved: Resolved) -> _Found:
    inference = resolved.config.inference
    if inference.polish == 0 and inference.tv_weight not in ("auto", 0):
        yield (
            ("inference.polish", "inference.tv_weight"),
            f"inference.tv_weight is {inference.tv_weight:g}, but inference.polish is 0, and only a polish uses it.",
            "Set inference.polish to a number or auto.",
        )


def _loggers_can_be_used(resolved: Resolved) -> _Found:
    """``none`` stands alone, and the package of a logger is installed; it is looked for, not imported."""
    names, key = resolved.config.execution.logger, ("execution.logger",)
    if "none" in names and len(set(names)) > 1:
        others = show([name for name in names if name != "none"])
        yield key, f"execution.logger is none and also {others}.", "Leave out one of them."
    for name, packages in _PACKAGES.items():
        if name in names and not any(find_spec(package) for package in packages):
            message = f"execution.logger is {name}, but the package {packages[0]} is not installed."
            yield key, message, f"Install it with: pip install 'ptycho-cli[{name}]'"


_RECONSTRUCTING = ("train", "infer", "reconstruct")
_STAGED_CHECK = _Check(("scheduler.name", "loss.name"), _stages_need_poisson)
_CHECKS = (
    _Check(("checkpoint.enabled", "checkpoint.monitor", "data.validation_fraction"), _monitor_needs_validation),
    _Check(("scheduler.name", "data.validation_fraction"), _scheduler_needs_validation),
    _Check(("training.n_groups", "training.batch_size", "training.accumulate_grad_batches"), _epoch_fills_a_step),
    _Check(("execution.precision", "execution.accelerator"), _mps_has_no_double_precision, _RECONSTRUCTING),
    _Check(
        tuple(dict.fromkeys(name for names, _ in _SAME_QUANTITY for name in names)),
        _one_setting_for_a_quantity,
        (*_RECONSTRUCTING, "data"),
    ),
    _Check(("data.radiation", "data.voltage_kv"), _xrays_have_no_voltage, (*_RECONSTRUCTING, "data")),
    _Check(("inference.untrained",), _training_uses_its_network),
    _Check(("inference.polish", "inference.tv_weight"), _prior_needs_polish, _RECONSTRUCTING),
    _Check(("execution.logger",), _loggers_can_be_used),
    _Check(("checkpoint.enabled", "checkpoint.save_top_k"), _checkpoints_are_kept),
)
