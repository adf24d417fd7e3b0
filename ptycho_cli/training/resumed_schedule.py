"""The learning-rate schedule of a resumed run: that of the checkpoint, or that of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptycho_cli.assembly.schedule import optimizer_rates
from ptycho_cli.config.earlier_run import SCHEDULE_KEYS, flatten
from ptycho_cli.config.schema import Config, OptimizerSettings, SchedulerSettings
from ptycho_cli.config.serialize import config_to_record
from ptycho_cli.config.values import show
from ptycho_cli.errors import CheckpointError, ConfigError, PluginError, TrainingError
from ptycho_cli.extend.host import Host
from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span
from ptycho_cli.training.predicted_rates import predict
from ptycho_cli.training.start_options import ScheduleChoice

WITH_NEW_SCHEDULE = "--resume-schedule config, in Python resume_schedule='config'"

Changes = Mapping[str, tuple[Any, Any]]
"""By key, the value in the checkpoint and that in the settings."""

_HINT = (
    "Add --resume-schedule checkpoint to continue with the schedule of the run, or --resume-schedule config "
    "to continue with the new settings from the step that was reached; in Python, pass resume_schedule."
)


@dataclass(frozen=True)
class ResumedSchedule:
    """Schedule that a resumed run continues with.

    Attributes:
        config: The settings, with optimizer and scheduler of the checkpoint if these are kept.
        epochs: Epochs that the schedule is made for.
        restart: True if the schedule of the settings starts at the step that was reached.
        notes: Messages for the user, one line each.
    """

    config: Config
    epochs: int
    restart: bool
    notes: tuple[str, ...]


def schedule_identity(config: Config, host: Host, schedule: Schedule, span: Span) -> dict[str, Any]:
    """Describe a schedule in plain values, for its checkpoints."""
    kind, entry = type(schedule.scheduler), host.find(SchedulerEntry, config.scheduler.name).info
    return {
        "distribution": entry.distribution,
        "version": entry.version,
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "total_steps": span.total_steps,
        "steps_per_epoch": span.steps_per_epoch,
        "epochs": span.epochs,
        "settings": {key: value for key, value in flat(config, host).items() if key.startswith(SCHEDULE_KEYS)},
    }


def choose_schedule(
    config: Config, saved: Mapping[str, Any], host: Host, *, checkpoint: Path, choice: ScheduleChoice | None
) -> ResumedSchedule:
    """Choose the schedule that a resumed run continues with.

    Args:
        config: The settings.
        saved: Identity of the schedule in the checkpoint, as :func:`schedule_identity` describes it.
        host: The installed plugins.
        checkpoint: The checkpoint, for messages.
        choice: The user's choice; None if none was made.

    Raises:
        ConfigError: If the settings change the schedule and ``choice`` is None.
        CheckpointError: If the scheduler of the checkpoint is needed and not installed in its version.
    """
    changes = _changes(saved["settings"], flat(config, host))
    if choice != "config":
        _check_plugin(checkpoint, saved, config if not changes else None, host)
    same_rates = set(changes) <= {"training.epochs"} and (not changes or _has_same_rates(config, host, saved))
    if changes and not same_rates and choice is None:
        differences = "; ".join(
            f"{key} is {show(was)} in the checkpoint and {show(now)} in the settings"
            for key, (was, now) in _relevant(changes).items()
        )
        folder = checkpoint.parent.parent
        raise ConfigError(f"{folder}: the schedule changed: {differences}.", hint=_HINT)
    notes = _notes(changes, choice, same_rates)
    if changes and not same_rates and choice == "checkpoint":
        kept = _with_saved_schedule(saved["settings"], config, host)
        return ResumedSchedule(kept, int(saved["epochs"]), restart=False, notes=notes)
    epochs = config.training.epochs if changes else int(saved["epochs"])  # fewer if it was kept past its end before
    return ResumedSchedule(config, epochs, restart=choice == "config", notes=notes)


def flat(config: Config, host: Host) -> dict[str, Any]:
    """Settings by dotted key, as a run stores them."""
    return dict(flatten(config_to_record(config, host.catalogue())))


def _changes(saved: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    keys = {*saved, *(key for key in now if key.startswith(SCHEDULE_KEYS))}
    return {key: (saved.get(key), now.get(key)) for key in sorted(keys) if saved.get(key) != now.get(key)}


def _relevant(changes: Changes) -> Changes:
    """Leave out the options of a scheduler that is itself replaced."""
    replaced = "scheduler.name" in changes
    return {key: both for key, both in changes.items() if not (replaced and key.startswith("scheduler.options."))}


def _notes(changes: Changes, choice: ScheduleChoice | None, same_rates: bool) -> tuple[str, ...]:
    """One line for each change, with the value that is used."""
    if same_rates:
        return tuple(f"{key}: {now}, was {was}; the rates so far are the same." for key, (was, now) in changes.items())
    lines = []
    for key, (was, now) in _relevant(changes).items():
        if choice != "checkpoint":
            lines.append(f"{key}: {now} from here on, was {was}.")
        elif key == "training.epochs":
            lines.append(
                f"{key}: {now}, but the schedule is still that of {was} epochs; after its end the last rate stays."
            )
        else:
            lines.append(f"{key}: {was} of the checkpoint is kept, not {now} (resume schedule: checkpoint).")
    return tuple(lines)


def _check_plugin(path: Path, saved: Mapping[str, Any], config: Config | None, host: Host) -> None:
    """Refuse to continue if the scheduler of the checkpoint is not installed in the same version."""
    name = saved["settings"]["scheduler.name"]
    bare = name.rpartition(":")[2]
    was = f"{path}: its scheduler is '{bare}' of {saved['distribution']} {saved['version']}"
    try:
        entry = host.find(SchedulerEntry, name if config is None else config.scheduler.name).info
    except PluginError as error:
        raise CheckpointError(f"{was}, but {error.message}", hint=f"Install that plugin. {_HINT}") from None
    if (entry.distribution, entry.version) != (saved["distribution"], saved["version"]):
        raise CheckpointError(
            f"{was}, but {entry.distribution} {entry.version} is installed.",
            hint=f"Install that version, or continue with the installed one: {WITH_NEW_SCHEDULE}.",
        )


def _has_same_rates(config: Config, host: Host, saved: Mapping[str, Any]) -> bool:
    """True if another number of epochs changes no rate and no loss weight of the steps that both trainings have."""
    steps_per_epoch = int(saved["steps_per_epoch"])
    spans = (
        Span(int(saved["total_steps"]), steps_per_epoch, int(saved["epochs"])),
        Span(config.training.epochs * steps_per_epoch, steps_per_epoch, config.training.epochs),
    )
    common = min(span.total_steps for span in spans)
    found = host.find(SchedulerEntry, config.scheduler.name)
    rates = optimizer_rates(config.optimizer, refine_probe=config.physics.refine_probe)
    try:
        first, second = (predict(found, config.scheduler.options, rates, span, common) for span in spans)
    except TrainingError:  # the schedule cannot be predicted, so the user must choose
        return False
    return (first.rates, first.loss_weights) == (second.rates, second.loss_weights)


def _with_saved_schedule(saved: Mapping[str, Any], config: Config, host: Host) -> Config:
    """Settings with optimizer and scheduler of the checkpoint; the number of epochs stays."""
    by_group: dict[str, dict[str, Any]] = {"optimizer": {}, "scheduler.options": {}}
    for key, value in saved.items():
        group, _, name = key.rpartition(".")
        by_group.setdefault(group, {})[name] = value
    name = by_group["scheduler"]["name"]
    options = host.find(SchedulerEntry, name).entry.options.model_validate(by_group["scheduler.options"])
    return config.model_copy(
        update={
            "optimizer": OptimizerSettings(**by_group["optimizer"]),
            "scheduler": SchedulerSettings(name=name, options=options),
        }
    )
