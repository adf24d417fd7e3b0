"""Continuing a run: what its checkpoint fixes, what may change, and which schedule goes on."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ptycho_cli.assembly.schedule import build_schedule
from ptycho_cli.config.catalogue import Offer
from ptycho_cli.config.inherit import SCHEDULE, USES
from ptycho_cli.config.paths import unwritable_folder
from ptycho_cli.config.provenance import Resolved
from ptycho_cli.config.schema import Config, OptimizerSettings, SchedulerSettings
from ptycho_cli.config.serialize import config_to_json
from ptycho_cli.config.sources import flatten
from ptycho_cli.config.values import show
from ptycho_cli.errors import CheckpointError, ConfigError, OutputError, PluginError, TrainingError
from ptycho_cli.extend.host import Host
from ptycho_cli.extend.specs import SchedulerEntry, Span
from ptycho_cli.training.checkpoint import LAST
from ptycho_cli.training.differences import Which, notes, other_callbacks, what_differs
from ptycho_cli.training.module import STATE_KEY
from ptycho_cli.training.run_folder import CHECKPOINTS
from ptycho_cli.training.run_record import read_record
from ptycho_cli.training.schedule_stepper import Follower

SCHEDULE_KEY = "ptycho_schedule"  # which schedule a checkpoint belongs to


@dataclass(frozen=True)
class Resume:
    """How a run goes on.

    Attributes:
        folder: Folder of the run.
        checkpoint: File to load.
        resolved: The settings, with those of the checkpoint where they are kept.
        schedule_epochs: Epochs that the schedule was made for.
        restart_schedule: Whether the schedule of the settings takes over at the step that was reached.
        scheduler_class: Class of the scheduler whose state the checkpoint holds.
        applied_steps: Optimizer steps that were done.
        finished_epochs: Whole epochs that were done.
        record: The run's record as it was.
        notes: What to tell the user.
    """

    folder: Path
    checkpoint: Path
    resolved: Resolved
    schedule_epochs: int
    restart_schedule: bool
    scheduler_class: str
    applied_steps: int
    finished_epochs: int
    record: dict[str, Any]
    notes: tuple[str, ...] = ()


def schedule_identity(config: Config, offer: Offer, schedule: Any, span: Span) -> dict[str, Any]:
    """What a checkpoint says of its schedule, in plain values."""
    kind = type(schedule.scheduler)
    return {
        "distribution": offer.distribution,
        "version": offer.version,
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "total_steps": span.total_steps,
        "steps_per_epoch": span.steps_per_epoch,
        "epochs": span.epochs,
        "settings": {key: value for key, value in _flat(config).items() if key.startswith(SCHEDULE)},
    }


def plan_resume(resolved: Resolved, host: Host, folder: Path, which: Which | None) -> Resume:
    """Decide how a run goes on, and refuse what its checkpoint cannot give.

    Args:
        resolved: The settings, in which the run's own are the weakest layer but for the defaults.
        host: The installed plugins.
        folder: Folder of the run.
        which: Whether the schedule of the checkpoint or that of the settings is followed; None if the user did not say.

    Raises:
        ConfigError: If settings changed that the checkpoint fixes, or the schedule and ``which`` is None.
        CheckpointError: If the run cannot be loaded with what is installed.
        OutputError: If its folder cannot be written to.
    """
    record, path = read_record(folder), folder / CHECKPOINTS / LAST
    if (reason := unwritable_folder(str(folder), force=True)) is not None:
        raise OutputError(f"{folder}: {reason[0]}.", hint="A resumed run goes on in its own folder.")
    checkpoint = load_checkpoint(path)
    saved, was, now = checkpoint[SCHEDULE_KEY], dict(flatten(record["config"])), _flat(resolved.config)
    _refuse_changes(folder, was, now)
    changed = {
        key: (saved["settings"].get(key), now.get(key))
        for key in sorted({*saved["settings"], *(key for key in now if key.startswith(SCHEDULE))})
        if saved["settings"].get(key) != now.get(key)
    }
    done, finished = int(checkpoint[STATE_KEY]["applied_steps"]), _finished_epochs(checkpoint)
    if resolved.config.training.epochs < finished:
        raise ConfigError(
            f"{folder}: {finished} epochs are done, but training.epochs is {resolved.config.training.epochs}.",
            hint=f"Ask for at least {finished}.",
        )
    if which != "config":
        _refuse_other_plugin(path, saved, resolved.config if not changed else None, host)
    harmless = set(changed) <= {"training.epochs"} and (not changed or _same_rates(resolved.config, host, saved))
    if changed and not harmless and which is None:
        raise ConfigError(what_differs(folder, changed), hint=_WAYS)
    resume = Resume(
        folder=folder,
        checkpoint=path,
        resolved=resolved,
        schedule_epochs=resolved.config.training.epochs,
        restart_schedule=which == "config" and not harmless,
        scheduler_class=str(saved["class"]),
        applied_steps=done,
        finished_epochs=finished,
        record=record,
        notes=(*notes(changed, which, harmless), *other_callbacks(record, resolved.config, host)),
    )
    if changed and not harmless and which == "checkpoint":
        config = _with_schedule_of(saved, resolved.config, host)
        return replace(resume, resolved=replace(resolved, config=config), schedule_epochs=int(saved["epochs"]))
    return resume


def check_data(resume: Resume, record: Mapping[str, Any]) -> None:
    """Refuse to go on with other scans; wherever they lie now, their bytes must be the same.

    Raises:
        ConfigError: If a file differs from the one that the run was trained on.
    """
    was, now = resume.record.get("data", []), record["data"]
    if len(was) != len(now):
        raise ConfigError(f"{resume.folder}: the run trained on {len(was)} scans, but {len(now)} were given.")
    for old, new in zip(was, now, strict=True):
        if old["sha256"] != new["sha256"]:
            raise ConfigError(
                f"{new['path']}: not the scan that {resume.folder} was trained on ({old['path']}); its bytes differ.",
                hint="Start a new run for it, with another -o.",
            )


def refuse_other_class(resume: Resume, built: str, origin: str) -> None:
    """Refuse to put the state of one scheduler into another; versions that were not counted up hide such a change.

    Raises:
        CheckpointError: If the class that was built is not that of the checkpoint.
    """
    if built != resume.scheduler_class:
        raise CheckpointError(
            f"{resume.checkpoint}: its scheduler is a {resume.scheduler_class}, but {origin} built a {built}.",
            hint="Install what it was trained with, or say --resume-schedule config to follow the installed one.",
        )


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without executing anything in it.

    Raises:
        CheckpointError: If it is missing, damaged, or not one of ours.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: no such file.", hint="The run ended before its first checkpoint, or had checkpoints disabled."
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
        # torch's reasons speak of its own flags, one of which would execute what is in the file
        raise CheckpointError(f"{path}: damaged, or not a checkpoint of this program.", hint=_OTHERS) from None
    if not isinstance(checkpoint, dict) or not {STATE_KEY, SCHEDULE_KEY} <= checkpoint.keys():
        raise CheckpointError(f"{path}: not a checkpoint of this program.", hint=_OTHERS)
    return checkpoint


def refined_positions(path: Path) -> list[torch.Tensor]:
    """Refined positions of each training scan that a checkpoint holds; none where positions are as stored."""
    state = load_checkpoint(path)["state_dict"]
    found: list[torch.Tensor] = []
    while (name := f"objective.positions_{len(found)}") in state:
        found.append(state[name])
    return found


def probe_modes(path: Path) -> int:
    """Modes of the probe that a checkpoint holds; the data may have asked for more than the file's probe has."""
    return len(load_checkpoint(path)["state_dict"]["objective.probe_pairs"])


_OTHERS = "Copy another checkpoint of its folder, epoch-*.ckpt, over it, or train the run anew."
_WAYS = (
    "Say --resume-schedule checkpoint to go on as the run began, "
    "or --resume-schedule config to follow the new settings from the step that was reached."
)


def _flat(config: Config) -> dict[str, Any]:
    return dict(flatten(config_to_json(config)))


def _finished_epochs(checkpoint: Mapping[str, Any]) -> int:
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])


def _refuse_changes(folder: Path, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    fixed = [key for key in sorted({*was, *now}) if USES["train"].fixes(key)]
    changed = [
        f"{key} to {show(was.get(key))}, not {show(now.get(key))}" for key in fixed if was.get(key) != now.get(key)
    ]
    worlds = [int(config["execution.devices"]) * int(config["execution.num_nodes"]) for config in (was, now)]
    if worlds[0] != worlds[1]:  # each device takes its share of an optimizer step
        changed.append(f"execution.devices times execution.num_nodes to {worlds[0]}, not {worlds[1]}")
    if changed:
        raise ConfigError(
            f"{folder}: the run fixes {'; '.join(changed)}.", hint="Start a new run for it, with another -o."
        )


def _refuse_other_plugin(path: Path, saved: Mapping[str, Any], config: Config | None, host: Host) -> None:
    """The scheduler of the checkpoint must be the one that is installed."""
    name = saved["settings"]["scheduler.name"]
    was = f"{path}: its scheduler is '{name}' of {saved['distribution']} {saved['version']}"
    try:
        offer = host.find(SchedulerEntry, name if config is None else config.scheduler.name).offer
    except PluginError as error:
        raise CheckpointError(f"{was}, but {error.message}", hint=f"Install that plugin. {_WAYS}") from None
    if (offer.distribution, offer.version) != (saved["distribution"], saved["version"]):
        raise CheckpointError(
            f"{was}, but {offer.distribution} {offer.version} is installed.",
            hint="Install that version, or say --resume-schedule config to follow the installed one.",
        )


def _same_rates(config: Config, host: Host, saved: Mapping[str, Any]) -> bool:
    """Whether another number of epochs leaves the rates and loss weights of all common steps what they were."""
    steps_per_epoch = int(saved["steps_per_epoch"])
    spans = (
        Span(int(saved["total_steps"]), steps_per_epoch, int(saved["epochs"])),
        Span(config.training.epochs * steps_per_epoch, steps_per_epoch, config.training.epochs),
    )
    common = min(span.total_steps for span in spans)
    try:
        first, second = (_course(config, host, span, common) for span in spans)
    except TrainingError:  # a schedule that cannot be foreseen: the user decides
        return False
    return first == second


def _course(config: Config, host: Host, span: Span, steps: int) -> list[tuple[float, float | None]]:
    """Rate and loss weight of every step under a schedule that is built for ``span``; no figure ever improves."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    found = host.find(SchedulerEntry, config.scheduler.name)
    schedule = build_schedule(found, config.scheduler.options, optimizer, span)
    optimizer._opt_called = True  # type: ignore[attr-defined]  # torch warns of a scheduler that steps alone
    follower = Follower(schedule, optimizer, name=f"scheduler '{config.scheduler.name}'")
    course = []
    for step in range(steps):
        course.append((float(optimizer.param_groups[0]["lr"]), follower.loss_weight(step)))
        if step + 1 < steps and (schedule.interval == "step" or (step + 1) % span.steps_per_epoch == 0):
            follower.advance(step + 1, dict.fromkeys(("train_loss", "val_loss"), 1.0))
    return course


def _with_schedule_of(saved: Mapping[str, Any], config: Config, host: Host) -> Config:
    """The settings with optimizer and scheduler as the checkpoint has them; epochs stay as asked for."""
    by_group: dict[str, dict[str, Any]] = {"optimizer": {}, "scheduler.options": {}}
    for key, value in saved["settings"].items():
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
