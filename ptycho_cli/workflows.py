"""Training with resolved settings: what the command and the Python API have in common.

torch is loaded inside the functions, after their first progress report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_cli.config.provenance import Resolved
from ptycho_cli.progress_callback import StageProgress
from ptycho_cli.run_weights import choose_final_weights, load_objective, weights_of_run

if TYPE_CHECKING:
    from ptycho_cli.assembly.build import Assembled
    from ptycho_cli.calibration.verdict import Verdict
    from ptycho_cli.extend.host import Host
    from ptycho_cli.reporting.notebook_view import View
    from ptycho_cli.training.distributed import ProcessInfo
    from ptycho_cli.training.logged_training import LoggedTraining
    from ptycho_cli.training.resume import Resume
    from ptycho_cli.training.run_lock import RunLock
    from ptycho_cli.training.run_outcome import Run
    from ptycho_cli.training.start_options import StartOptions
    from ptycho_cli.training.stop_request import StopRequest
    from ptycho_cli.training.training_events import Events

_PROBE_IS_KEPT = (
    "Training keeps the file's probe as it is, because photons are few and refinement did not improve it;"
    " physics.refine_probe=true trains it."
)


@dataclass(frozen=True, eq=False, repr=False)
class TrainedRun:
    """A finished training.

    Attributes:
        folder: Folder of the run; None after a dry run, and on ranks above 0 of several devices.
        resolved: Its settings, with their provenance.
        record: Content of ``run.json``.
        scores: Scores of reconstructions of the first training scan: ``trained``, with the network, and if polish
            iterations followed, ``trained_polished``, the one that is written to the folder. With
            ``training.compare_untrained`` also those of physics alone, ``untrained`` and ``untrained_polished``.
        summary: Optimizer steps, learning rates, losses and the checkpoint that the weights are from.
        verdict: Whether the reconstruction explains the first training scan; None after a dry run.
    """

    folder: Path | None
    resolved: Resolved
    record: dict[str, Any]
    scores: dict[str, Any]
    summary: dict[str, Any]
    verdict: Verdict | None = None

    def view(self) -> View:
        """Its arrays, curves and scores, read from its folder.

        Raises:
            ConfigError: If it has no folder.
        """
        from ptycho_cli.errors import ConfigError
        from ptycho_cli.reporting.notebook_view import load

        if self.folder is None:
            raise ConfigError("this run has no folder, and so nothing to show.", hint="Show that of rank 0.")
        return load(self.folder)

    def show(self) -> None:
        """Show the report: in a notebook below the cell, elsewhere in a browser."""
        self.view().show()

    def __repr__(self) -> str:
        return "<run without a folder>" if self.folder is None else repr(self.view())

    def _repr_html_(self) -> str | None:
        return None if self.folder is None else self.view()._repr_html_()


def train_resolved(
    resolved: Resolved, host: Host, start: StartOptions, *,
    events: Events | None = None, progress: StageProgress | None = None, process: ProcessInfo | None = None,
    stop: StopRequest | None = None,
) -> TrainedRun:  # fmt: skip
    """Train a network, and reconstruct the first training scan with it.

    Args:
        resolved: The settings.
        host: The installed plugins.
        start: How the training starts.
        events: Receives what happens during the training.
        progress: Called before and after the training.
        process: Rank of this process; by default found in the environment.
        stop: Receives requests to stop; by default it listens to signals from here on.

    Raises:
        InterruptedRunError: If a signal stopped it.
        ConfigError: If there are several devices and no launcher has started a process for each of them.
        PtychoError: If the settings, the data or a plugin cannot be used, or the training fails.
    """
    report = progress or no_progress
    from ptycho_cli.training.distributed import launched_process

    process = process or launched_process(resolved.config.execution)
    report("loading torch", 0, 0)
    from ptycho_cli.training.run_folder import remove_unfinished
    from ptycho_cli.training.run_lock import RunLock
    from ptycho_cli.training.stop_request import StopRequest

    stop = stop or StopRequest()

    def reported(stage: str, done: int, total: int) -> None:
        stop.quit_if_signalled()
        report(stage, done, total)

    with stop.listening(), RunLock() as lock:
        output = resolved.config.training.output_dir
        in_use = start.resume or (Path(output) if output and start.force else None)
        if in_use is not None and in_use.is_dir() and process.rank == 0 and not start.dry_run:
            lock.take(in_use)  # before its checkpoint is read, or its files are removed
            remove_unfinished(in_use)
        return _train(resolved, host, start, events, reported, process, lock, stop)


def _train(
    resolved: Resolved, host: Host, start: StartOptions, events: Events | None,
    report: StageProgress, process: ProcessInfo, lock: RunLock, stop: StopRequest,
) -> TrainedRun:  # fmt: skip
    from ptycho_cli.data.memory import give_back_freed
    from ptycho_cli.inference.training_scan import reconstruct_for_callbacks
    from ptycho_cli.training.logged_training import LoggedTraining
    from ptycho_cli.training.resume import plan_resume, started_again
    from ptycho_cli.training.run_outcome import folder_errors, quit_error
    from ptycho_cli.training.stop_request import QuitNow
    from ptycho_cli.training.training_events import NoEvents
    from ptycho_cli.training.training_run import run_training

    events, folder, trained = events or NoEvents(), start.resume, False
    try:
        plan = None if start.resume is None else plan_resume(resolved, host, start.resume, start.resume_schedule)
        if plan is not None:
            resolved = plan.resolved
        elif start.resume is not None:
            events.note(f"{start.resume}: it ended before its first checkpoint, so the training starts again.")
            resolved, start = started_again(resolved, start, start.resume)
        assembled = assemble(resolved, host, report, plan=plan, init_from=start.init_from)
        give_back_freed()
        report("setting up the training", 0, 0)
        for line in _notes(resolved, assembled, plan):
            events.note(line)
        folder = None if start.dry_run else folder or Path(str(resolved.config.training.output_dir))
        with LoggedTraining() as logged:
            run = run_training(
                resolved, host, assembled, start, plan,
                events=events, reconstruct=reconstruct_for_callbacks, process=process,
                lock=lock, stop=stop, logged=logged,
            )  # fmt: skip
            give_back_freed()
            if run.folder is None:
                return TrainedRun(None, resolved, run.record, {}, _summary(run))
            trained = True
            if len(assembled.scans) > 1:
                number = len(assembled.scans)
                events.note(f"Trained on {number} scans; only the first is reconstructed. Use infer for the others.")
            with folder_errors(run.folder):
                return _reconstruct_first_scan(run, host, run.folder, logged, report)
    except QuitNow:
        raise quit_error(folder, trained=trained) from None


def assemble(
    resolved: Resolved, host: Host, report: StageProgress, *,
    plan: Resume | None = None, init_from: Path | None = None,
) -> Assembled:  # fmt: skip
    """Read the scans and build what a training needs, before any folder is created."""
    from ptycho_cli.assembly.build import build
    from ptycho_cli.assembly.device import torch_device
    from ptycho_cli.assembly.group_loaders import real_type
    from ptycho_cli.assembly.network_weights import AUTO, weights_for
    from ptycho_cli.assembly.scans import read_scans
    from ptycho_cli.calibration.misfit_frames import without_misfits
    from ptycho_cli.data.scan_checks import refuse_few_frames
    from ptycho_cli.extend.specs import NetworkEntry
    from ptycho_cli.training.run_record import as_trained_on, check_object_pixel

    report("reading", 0, 0)
    config = resolved.config
    if plan is not None:  # only a resumed training needs Lightning before its first step
        from ptycho_cli.training.checkpoint_parts import calibration_parts, network_state
    known = plan is not None or init_from is not None or (config.data.simulate and config.model.weights == AUTO)
    of_run = partial(weights_of_run, host=host)
    weights = None if known else weights_for(config.model, host.weights, of_run=of_run)
    torch_device(config.execution)  # refuses a missing accelerator before anything is computed
    start = None if init_from is None else load_objective(resolved, host, init_from).to(real_type(config.execution))
    network = host.find(NetworkEntry, config.model.name).entry
    if config.data.simulate is not None:
        from ptycho_cli.assembly.simulated_training import build_simulated

        network_of_start = None if start is None else start.network
        resumed = None if plan is None else network_state(plan.checkpoint)
        return build_simulated(config, network=network, start=network_of_start, weights=weights, resumed=resumed)
    scans = read_scans(config.data.paths, config, host.readers, report)
    report("looking for frames that fit nowhere", 0, 0)
    if plan is None:
        refined = config.physics.refine_positions is True
        fitting = tuple(without_misfits(scan, keep_moved=refined, seed=config.training.seed) for scan in scans)
    else:
        fitting = tuple(as_trained_on(scan, plan.record, number) for number, scan in enumerate(scans))
    notes = tuple(found.message for scan, now in zip(scans, fitting, strict=True) for found in now.added_to(scan))
    scans = fitting
    for scan in scans:
        refuse_few_frames(scan)
    assembled = build(
        config,
        scans,
        read_scans(config.data.validation_paths, config, host.readers, report),
        network=network,
        start=start,
        weights=weights,
        **({} if plan is None else calibration_parts(plan.checkpoint)),
        progress=lambda done, total: report("refining by physics", done, total),
    )
    if init_from is not None:
        check_object_pixel(assembled.scans[0], init_from)
    return replace(assembled, notes=(*notes, *assembled.notes))


def _notes(resolved: Resolved, assembled: Assembled, plan: Resume | None) -> tuple[str, ...]:
    """Messages about the weights, automatic values, a resume, and more processes than cores."""
    from ptycho_cli.assembly.device import oversubscription

    plan_notes = () if plan is None else plan.notes
    weights = assembled.weights
    start = () if weights is None else (f"The network starts from {weights.title}.",)
    kept = () if assembled.resolved_auto.get("physics.refine_probe", True) else (_PROBE_IS_KEPT,)
    return (*start, *assembled.notes, *kept, *plan_notes, *oversubscription(resolved.config.execution))


def _reconstruct_first_scan(
    run: Run, host: Host, folder: Path, logged: LoggedTraining, report: StageProgress
) -> TrainedRun:
    """Choose weights and polish, and write, score and judge the reconstruction of the first training scan."""
    from ptycho_cli.inference.held_out_trial import HeldOutTrial
    from ptycho_cli.inference.polish_choice import choose_polish
    from ptycho_cli.inference.training_scan import first_training_scan, reconstruct_training_scan
    from ptycho_cli.reporting.training_outputs import write_training_outputs

    assembled, config = run.assembled, run.resolved.config
    report("choosing the weights", 0, 0)
    trial = HeldOutTrial(assembled.objective, config, first_training_scan(assembled), 0)
    trial, weights, notes = choose_final_weights(run, host, trial)
    report("choosing the polish", 0, 0)
    polish = choose_polish(assembled.objective, config, first_training_scan(assembled), trial)
    run.store(auto=assembled.resolved_auto | weights | polish.auto)
    scores, verdict = reconstruct_training_scan(assembled, config, folder, run.record, polish, trial, progress=report)
    run.store(scores=scores, verdict=verdict.as_json(), held_out_score=trial.recorded(polish))
    logged.result(scores, verdict)
    report("writing the report", 0, 0)
    page = write_training_outputs(folder, config)
    notes += [] if polish.note is None else [polish.note]
    summary = {**_summary(run), "notes": notes, "verdict": verdict.as_json()}
    summary |= {} if page is None else {"report": str(page)}
    return TrainedRun(folder, run.resolved, run.record, scores, summary, verdict)


def _summary(run: Run) -> dict[str, Any]:
    summary = {
        "run": None if run.folder is None else str(run.folder),
        "optimizer_steps": run.applied_steps,
        "weights_from": run.weights_from,
        "learning_rate": list(run.learning_rates),
        **run.losses,
    }
    return summary | ({"loss_weight": list(run.loss_weights)} if run.loss_weights else {})


def no_progress(stage: str, done: int, total: int) -> None:
    """Ignore a progress report."""
