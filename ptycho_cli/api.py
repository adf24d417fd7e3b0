"""Training and reconstruction for programs and notebooks: plain objects, nothing printed.

``import ptycho_cli`` costs nothing; torch is loaded when one of these functions is called.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ptycho_cli.config.inherit import INIT_FROM
from ptycho_cli.config.paths import check_paths
from ptycho_cli.config.presets import leaves_it_to_the_scan
from ptycho_cli.config.provenance import ProblemsError, Resolved
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.sources import checkpoint_layer, library_layer, start_layer
from ptycho_cli.errors import ConfigError
from ptycho_cli.progress_callback import StageProgress

if TYPE_CHECKING:
    from ptycho_cli.assembly.objective import Objective
    from ptycho_cli.data.scan import Scan
    from ptycho_cli.extend.host import Host
    from ptycho_cli.inference.inference_run import Inferred
    from ptycho_cli.training.distributed import ProcessInfo
    from ptycho_cli.training.training_events import Events

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A finished training.

    Attributes:
        folder: Where it lies; None after a dry run, and on ranks above 0 of several devices.
        resolved: Its settings and their stories.
        record: What ``run.json`` holds.
        scores: ``trained`` and ``untrained``: how each reconstructs the first training scan; and, where ``polish``
            iterations followed, ``trained_polished``, which is what is written, and ``untrained_polished``.
        summary: Steps, learning rates, losses and where the weights are from.
    """

    folder: Path | None
    resolved: Resolved
    record: dict[str, Any]
    scores: dict[str, Any]
    summary: dict[str, Any]


def train(*data: PathLike | Resolved, init_from: TrainedRun | PathLike | None = None, **settings: Any) -> TrainedRun:
    """Train on scans and reconstruct the first of them.

    Args:
        *data: Scan files; or one ``Resolved``, and then no settings.
        init_from: A run whose weights and probe to start from, for a tenth of its length unless settings say otherwise.
        **settings: Flags as identifiers (``epochs=5``, ``scheduler="Exponential"``, ``output_dir="runs/a"``),
            dotted keys (``**{"loss.withheld": 0.25}``); ``network_options``, ``scheduler_options`` and ``callbacks``
            as dicts.

    Raises:
        ConfigError: With every problem of the settings at once.
        PtychoError: As ``ptycho train`` stops with.
    """
    from ptycho_cli.extend.host import load_plugins

    host = load_plugins(())
    start = None if init_from is None else _folder_of(init_from)
    if len(data) == 1 and isinstance(data[0], Resolved):
        if settings:
            raise ConfigError("train(resolved): settings are given beside a Resolved.", hint="Resolve them into it.")
        _check_paths(data[0])
        return train_resolved(data[0], host, init_from=start)
    layers = [library_layer({"data.paths": tuple(os.fspath(path) for path in data), **settings})]  # type: ignore[arg-type]
    if start is None:
        resolved = resolve(layers, host.catalogue())
        _check_paths(resolved)
        if resolved.config.data.paths and leaves_it_to_the_scan(layers):
            from ptycho_cli.assembly.scans import asked_for_by_scan

            if (asked := asked_for_by_scan(resolved.config.data)) is not None:
                resolved = resolve([*layers, asked], host.catalogue())
        return train_resolved(resolved, host)
    from ptycho_cli.training.run_record import read_record

    layers.append(start_layer(read_record(start), str(start)))
    resolved = resolve(layers, host.catalogue(), command=INIT_FROM)
    _check_paths(resolved)
    return train_resolved(resolved, host, init_from=start)


def _check_paths(resolved: Resolved) -> None:
    """Refuse files that cannot be read and a folder that cannot be written before torch is loaded."""
    if problems := check_paths(resolved, force=False, in_python=True):
        raise ProblemsError(problems)


def _folder_of(run: TrainedRun | PathLike) -> Path:
    return Path(run.folder or "") if isinstance(run, TrainedRun) else Path(run)


def infer(run: TrainedRun | PathLike, data: PathLike, **settings: Any) -> Inferred:
    """Reconstruct a scan with a run.

    Args:
        run: What ``train`` returned, or the folder of a run.
        data: Scan file.
        **settings: As for ``train``: ``polish=20``, ``untrained=True``, ``probe="scan"``.

    Raises:
        PtychoError: As ``ptycho infer`` stops with.
    """
    from ptycho_cli.extend.host import load_plugins
    from ptycho_cli.training.run_record import read_record

    folder = _folder_of(run)
    host = load_plugins(())
    layers = [
        checkpoint_layer(read_record(folder)["config"], str(folder), command="infer"),
        library_layer({"data.paths": (os.fspath(data),), **settings}),
    ]
    resolved = resolve(layers, host.catalogue(), command="infer")
    return infer_resolved(resolved, host, folder)[1]


def infer_resolved(
    resolved: Resolved, host: Host, folder: Path, *, progress: StageProgress | None = None
) -> tuple[Scan, Inferred]:
    """Reconstruct the one scan that settings name, with the run in ``folder``; writes nothing."""
    objective, scan, number = _open(resolved, host, folder, progress)
    from ptycho_cli.inference.inference_run import infer as infer_scan
    from ptycho_cli.training.run_record import chosen_polish

    polish = chosen_polish(folder)
    return scan, infer_scan(objective, resolved.config, scan, training_scan=number, polish=polish, progress=progress)


def compare_resolved(
    resolved: Resolved,
    host: Host,
    folder: Path,
    output: Path,
    references: tuple[str, ...] = (),
    *,
    progress: StageProgress | None = None,
) -> tuple[list[dict[str, Any]], Path]:
    """Compare the run in ``folder`` with what it has to beat, on the one scan that settings name.

    Args:
        resolved: The settings.
        host: The installed plugins.
        folder: The run.
        output: Folder for the table and the picture.
        references: Other reconstructions, as ``FILE`` or ``FILE:NAME``.
        progress: Called with (what, done, of how many).

    Returns:
        The rows of the table and the path of the picture.
    """
    from ptycho_cli.data.object_files import load_object

    others = [load_object(place) for place in references]
    objective, scan, number = _open(resolved, host, folder, progress)
    from ptycho_cli.inference.comparison import compare
    from ptycho_cli.inference.comparison_files import write_comparison
    from ptycho_cli.training.run_record import chosen_polish

    entries = compare(
        objective,
        resolved.config,
        scan,
        others,
        training_scan=number,
        polish=chosen_polish(folder),
        progress=progress,
    )
    if progress is not None:
        progress("writing", 0, 0)
    return write_comparison(entries, scan, output)


def _open(
    resolved: Resolved, host: Host, folder: Path, progress: StageProgress | None
) -> tuple[Objective, Scan, int | None]:
    """A run's network and probe, the scan to use them on, and its number among those that it was trained on."""
    tell = progress or (lambda what, done, total: None)
    tell("loading torch", 0, 0)
    from ptycho_cli.assembly.device import torch_device
    from ptycho_cli.assembly.group_loaders import real_type
    from ptycho_cli.assembly.scans import read_scans
    from ptycho_cli.assembly.weights import load_weights
    from ptycho_cli.extend.specs import NetworkEntry
    from ptycho_cli.training.run_record import check_object_pixel, training_scan_index

    config = resolved.config
    device = torch_device(config.execution)
    network = host.find(NetworkEntry, config.model.name).entry
    objective = load_weights(folder / "weights.safetensors", config, network).to(device, real_type(config))
    tell("reading the scan", 0, 0)
    scan = read_scans(config.data.paths, config.data)[0]
    if config.inference.probe == "run":
        check_object_pixel(scan, folder)
    number = training_scan_index(scan, folder)
    from ptycho_cli.inference.scan_calibration import settled

    return objective, settled(objective, config, scan, number, tell), number


def _start(resolved: Resolved, host: Host, folder: Path) -> Objective:
    """The network and the probe of an earlier run, to train on from."""
    from ptycho_cli.assembly.group_loaders import real_type
    from ptycho_cli.assembly.weights import load_weights
    from ptycho_cli.extend.specs import NetworkEntry

    config = resolved.config
    objective = load_weights(folder / "weights.safetensors", config, host.find(NetworkEntry, config.model.name).entry)
    return objective.to(real_type(config))


def train_resolved(
    resolved: Resolved,
    host: Host,
    *,
    resume: Path | None = None,
    resume_schedule: Literal["checkpoint", "config"] | None = None,
    init_from: Path | None = None,
    force: bool = False,
    dry_run: bool = False,
    events: Events | None = None,
    progress: StageProgress | None = None,
    process: ProcessInfo | None = None,
) -> TrainedRun:
    """Train with settings that are settled, and reconstruct the first training scan.

    Args:
        resolved: The settings.
        host: The installed plugins.
        resume: Go on with the run in this folder.
        resume_schedule: Whose learning rates to follow where the settings differ from the run's.
        init_from: Start from the weights and the probe of the run in this folder.
        force: Replace an earlier run in the output folder.
        dry_run: Stop before the first step and write nothing.
        events: Told what happens in training.
        progress: Called with (what, done, of how many) before and after it.
        process: Rank of this process; by default found in the environment.

    Raises:
        ConfigError: If there are several devices and nothing has started a process for each of them.
    """
    tell = progress or (lambda what, done, total: None)
    process = process or _launched_process(resolved)
    tell("loading torch", 0, 0)
    from ptycho_cli.assembly.device import crowding
    from ptycho_cli.extend.specs import NetworkEntry
    from ptycho_cli.inference.inference_run import finish_run, first_scan, preview
    from ptycho_cli.inference.polish_choice import decided
    from ptycho_cli.training.checkpoint import probe_modes, refined_positions
    from ptycho_cli.training.prepare import prepare
    from ptycho_cli.training.resume import plan_resume
    from ptycho_cli.training.run_record import check_object_pixel
    from ptycho_cli.training.training_events import NoEvents
    from ptycho_cli.training.training_run import train as fit

    events = events or NoEvents()
    plan = None if resume is None else plan_resume(resolved, host, resume, resume_schedule)
    if plan is not None:
        resolved = plan.resolved
    tell("reading", 0, 0)
    assembled = prepare(
        resolved.config,
        host.find(NetworkEntry, resolved.config.model.name).entry,
        resumed=0 if plan is None else probe_modes(plan.checkpoint),
        positions=() if plan is None else refined_positions(plan.checkpoint),
        start=None if init_from is None else _start(resolved, host, init_from),
        progress=lambda done, most: tell("refining by physics", done, most),
    )
    if init_from is not None:
        check_object_pixel(assembled.scans[0], init_from)
    tell("setting up the training", 0, 0)
    assumed = tuple(f"{scan.source}: {line}" for scan in assembled.scans for line in scan.assumptions)
    notes = (*assembled.notes, *(() if plan is None else plan.notes), *crowding(resolved.config.execution))
    for line in (*assumed, *notes):
        events.note(line)
    origin = None if init_from is None else str(init_from)
    run = fit(
        resolved, host, assembled,
        resume=plan, force=force, dry_run=dry_run, events=events, reconstruct=preview, process=process,
        init_from=origin,
    )  # fmt: skip
    name = None if run.folder is None else str(run.folder)
    summary: dict[str, Any] = {"run": name, "optimizer_steps": run.applied_steps}
    summary |= {"weights_from": run.weights_from, "learning_rate": list(run.learning_rates), **run.losses}
    if run.loss_weights:
        summary["loss_weight"] = list(run.loss_weights)
    if run.folder is None:
        return TrainedRun(None, resolved, run.record, {}, summary)
    if len(assembled.scans) > 1:
        events.note(f"{len(assembled.scans)} scans were trained on; the first is reconstructed, infer does the others.")
    tell("how much polish", 0, 0)
    polish = decided(assembled.objective, resolved.config, first_scan(assembled))
    run.store(auto=assembled.resolved_auto | polish.auto)
    scores = finish_run(assembled, resolved.config, run.folder, run.record, polish.iterations, progress=progress)
    run.store(scores=scores)
    summary["notes"] = [] if polish.note is None else [polish.note]
    return TrainedRun(run.folder, resolved, run.record, scores, summary)


def _launched_process(resolved: Resolved) -> ProcessInfo:
    from ptycho_cli.training.distributed import process_info

    process = process_info(resolved.config.execution)
    if not process.launched:
        raise ConfigError(
            f"execution.devices is {resolved.config.execution.devices}, which takes a process for each device, and "
            "Python code is not started again for them.",
            hint="Use the command `ptycho train`, or start this script with torchrun or srun.",
        )
    return process
