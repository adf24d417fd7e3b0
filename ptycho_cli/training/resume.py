"""Resume a run: what its checkpoint fixes, what may change, and which schedule continues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ptycho_cli.config.catalogue import EntryInfo
from ptycho_cli.config.earlier_run import USES, flatten
from ptycho_cli.config.keys import keys
from ptycho_cli.config.paths import unwritable_folder
from ptycho_cli.config.provenance import Resolved
from ptycho_cli.config.schema import Config
from ptycho_cli.config.values import jsonable, show
from ptycho_cli.errors import CheckpointError, ConfigError, OutputError
from ptycho_cli.extend.host import Host
from ptycho_cli.extend.specs import CallbackEntry, NetworkEntry
from ptycho_cli.training.checkpoint import LAST, SCHEDULE_KEY, checkpoint_to_resume, load_checkpoint
from ptycho_cli.training.resumed_schedule import WITH_NEW_SCHEDULE, choose_schedule, flat
from ptycho_cli.training.run_folder import CHECKPOINTS
from ptycho_cli.training.run_record import WEIGHTS, changed_plugins, read_record
from ptycho_cli.training.start_options import ScheduleChoice, StartOptions
from ptycho_cli.training.training_module import STATE_KEY


@dataclass(frozen=True)
class Resume:
    """Plan for resuming a run.

    Attributes:
        folder: Folder of the run.
        checkpoint: File to load.
        resolved: The settings, with optimizer and scheduler of the checkpoint if these are kept.
        schedule_epochs: Epochs that the schedule is made for.
        restart_schedule: True if the schedule of the settings starts at the step that was reached.
        scheduler_class: Class of the scheduler whose state the checkpoint holds.
        applied_steps: Optimizer steps done so far.
        finished_epochs: Whole epochs done so far.
        record: The run's record as it was.
        notes: Messages for the user, one line each.
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


def plan_resume(resolved: Resolved, host: Host, folder: Path, choice: ScheduleChoice | None) -> Resume | None:
    """Plan how a run continues, and refuse settings that its checkpoint does not allow.

    Returns:
        The plan; None if the run ended before its first checkpoint, so that there is nothing to continue.

    Args:
        resolved: The settings, among whose layers is the checkpoint's.
        host: The installed plugins.
        folder: Folder of the run.
        choice: Continue with the schedule of the checkpoint or of the settings; None if the user made no choice.

    Raises:
        ConfigError: If settings changed that the checkpoint fixes, or the schedule changed and ``choice`` is None.
        CheckpointError: If the run cannot be loaded with the installed plugins.
        OutputError: If its folder cannot be written to.
    """
    record = read_record(folder)
    if (reason := unwritable_folder(str(folder), force=True)) is not None:
        raise OutputError(f"{folder}: {reason[0]}.", hint="A resumed run writes to its own folder.")
    path = checkpoint_to_resume(folder / CHECKPOINTS)
    began = (folder / WEIGHTS).exists() and record.get("applied_steps") != 0  # a callback may end it before
    if path is None and resolved.config.checkpoint.enabled and not began:
        return None
    path = path or folder / CHECKPOINTS / LAST
    checkpoint = load_checkpoint(path)
    _check_fixed_settings(folder, dict(flatten(record["config"])), flat(resolved.config, host))
    finished = int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    if resolved.config.training.epochs < finished:
        raise ConfigError(
            f"{folder}: {finished} epochs are done, but training.epochs is {resolved.config.training.epochs}.",
            hint=f"Set it to at least {finished}.",
        )
    saved = checkpoint[SCHEDULE_KEY]
    schedule = choose_schedule(resolved.config, saved, host, checkpoint=path, choice=choice)
    return Resume(
        folder=folder,
        checkpoint=path,
        resolved=replace(resolved, config=schedule.config),
        schedule_epochs=schedule.epochs,
        restart_schedule=schedule.restart,
        scheduler_class=str(saved["class"]),
        applied_steps=int(checkpoint[STATE_KEY]["applied_steps"]),
        finished_epochs=finished,
        record=record,
        notes=(*schedule.notes, *changed_plugins(record, _entries(resolved.config, host))),
    )


def started_again(resolved: Resolved, start: StartOptions, folder: Path) -> tuple[Resolved, StartOptions]:
    """A new training in the folder of one that left no checkpoint, with its settings and its start."""
    origin = read_record(folder).get("init_from")
    training = resolved.config.training.model_copy(update={"output_dir": str(folder)})
    resolved = replace(resolved, config=resolved.config.model_copy(update={"training": training}))
    return resolved, replace(start, resume=None, force=True, init_from=None if origin is None else Path(str(origin)))


def check_data(resume: Resume, record: Mapping[str, Any]) -> None:
    """Refuse to resume with other scans; the files may have moved, but their bytes must be the same.

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
                hint="Start a new run for it, in another folder.",
            )


def check_scheduler_class(resume: Resume, built: str, origin: str) -> None:
    """Refuse to load the state of one scheduler class into another, which an unchanged version number can hide.

    Args:
        resume: Holds the class of the checkpoint's scheduler.
        built: Class of the scheduler that was built.
        origin: Distribution and version that offer it.

    Raises:
        CheckpointError: If the two classes differ.
    """
    if built != resume.scheduler_class:
        raise CheckpointError(
            f"{resume.checkpoint}: its scheduler is a {resume.scheduler_class}, but {origin} built a {built}.",
            hint=f"Install what the run was trained with, or continue with the installed one: {WITH_NEW_SCHEDULE}.",
        )


def _check_fixed_settings(folder: Path, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    fixed = [key for key in sorted({*was, *now}) if USES["train"].fixes(key)]
    # settings that an earlier version did not have
    was = {name: jsonable(key.default) for name, key in keys().items() if name in fixed} | dict(was)
    changed = [
        f"{key} to {show(was.get(key))}, not {show(now.get(key))}" for key in fixed if was.get(key) != now.get(key)
    ]
    sizes = [int(config["execution.devices"]) * int(config["execution.num_nodes"]) for config in (was, now)]
    if sizes[0] != sizes[1]:  # the number of ranks is part of the effective batch
        changed.append(f"execution.devices times execution.num_nodes to {sizes[0]}, not {sizes[1]}")
    if changed:
        raise ConfigError(
            f"{folder}: the run fixes {'; '.join(changed)}.", hint="Start a new run for it, in another folder."
        )


def _entries(config: Config, host: Host) -> list[EntryInfo]:
    """Network and callbacks of a run; choosing the schedule checks the scheduler."""
    callbacks = [host.find(CallbackEntry, chosen.name).info for chosen in config.callbacks]
    return [host.find(NetworkEntry, config.model.name).info, *callbacks]
