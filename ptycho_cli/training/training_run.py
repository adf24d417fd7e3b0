"""A training from settings to a folder that holds a trained network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback

from ptycho_cli.assembly.build import Assembled
from ptycho_cli.assembly.callbacks import build_callbacks
from ptycho_cli.assembly.schedule import build_optimizer, build_schedule
from ptycho_cli.assembly.weights import save_weights
from ptycho_cli.config.provenance import Resolved
from ptycho_cli.errors import ConfigError, PtychoError, SharedTrainingError, TrainingError
from ptycho_cli.extend.host import Host
from ptycho_cli.extend.specs import CallbackContext, CallbackEntry, NetworkEntry, Schedule, SchedulerEntry
from ptycho_cli.training.accumulation import Windows
from ptycho_cli.training.blame import blame_plugins, place_in
from ptycho_cli.training.checkpoint import Checkpoints, EarlyStop
from ptycho_cli.training.distributed import ProcessInfo, process_group
from ptycho_cli.training.events import Events, Silence
from ptycho_cli.training.exit_messages import failed, interrupted, told_of_full_disks
from ptycho_cli.training.guard import Guard
from ptycho_cli.training.metrics_log import MetricsLog
from ptycho_cli.training.module import TrainingModule
from ptycho_cli.training.outcome import Run
from ptycho_cli.training.resume import (
    SCHEDULE_KEY,
    Resume,
    check_data,
    load_checkpoint,
    refuse_other_class,
    schedule_identity,
)
from ptycho_cli.training.run_folder import CHECKPOINTS, METRICS, WEIGHTS, run_folder
from ptycho_cli.training.run_record import new_record
from ptycho_cli.training.setup import CheckSetUp, SetUpOnly
from ptycho_cli.training.stop import QuitNow, StoppedError, StopRequest, stop_on_ctrl_c
from ptycho_cli.training.trainer import build_trainer, fit, lightning_log_filter, restore_torch_settings

Reconstruct = Callable[[Assembled], tuple[Any, Any]]
"""The first scan's object and coverage, with the network of an assembly as it is now."""


def train(
    resolved: Resolved,
    host: Host,
    assembled: Assembled,
    *,
    resume: Resume | None = None,
    force: bool = False,
    dry_run: bool = False,
    events: Events | None = None,
    reconstruct: Reconstruct | None = None,
    process: ProcessInfo | None = None,
    init_from: str | None = None,
) -> Run:
    """Train what was assembled and leave checkpoints, metrics and a record in the run's folder.

    The weights that the objective has afterwards are those of the best checkpoint by
    ``checkpoint.monitor``; those of the last step where no checkpoints are written.

    Args:
        resolved: The settings; on resume those of ``resume.resolved``.
        host: The installed plugins.
        assembled: Objective and data, made from these settings.
        resume: How an earlier run goes on; None starts a new one.
        force: Replace an earlier run in the folder.
        dry_run: Stop before the first step and write nothing.
        events: Told what happens.
        reconstruct: Reconstructs for callbacks that show the object as it grows.
        process: Rank of this process; by default it trains alone.
        init_from: The run whose weights the objective starts from, for the record.

    Raises:
        TrainingError: If a loss is not finite or memory runs out.
        InterruptedRunError: If the user stopped it.
    """
    process = process or ProcessInfo()
    session = _Session(resolved, host, assembled, resume, events or Silence(), reconstruct, process)
    session.init_from = init_from if resume is None else resume.record.get("init_from")
    output = resolved.config.training.output_dir if resume is None else resume.folder
    known = resume is not None or process.rank > 0  # rank 0 makes it
    with told_of_full_disks(output), run_folder(output, force=force, dry_run=dry_run, known=known) as folder:
        run = session.run(folder, dry_run=dry_run)
    return replace(run, folder=None) if dry_run or process.rank > 0 else run


class _Session:
    """One training with everything that it needs at hand."""

    def __init__(
        self,
        resolved: Resolved,
        host: Host,
        assembled: Assembled,
        resume: Resume | None,
        events: Events,
        reconstruct: Reconstruct | None,
        process: ProcessInfo,
    ) -> None:
        self.resolved, self.config, self.host = resolved, resolved.config, host
        self.assembled, self.resume, self.events, self.reconstruct = assembled, resume, events, reconstruct
        self.process = process
        self.scheduler = host.find(SchedulerEntry, self.config.scheduler.name)
        loader, training = assembled.training_loader, resolved.config.training
        for shared in (loader, assembled.validation_loader):
            if shared is not None:
                shared.share(process.rank, process.world_size)
        self.windows = Windows(
            len(loader.dataset), loader.batch_size, training.accumulate_grad_batches, process.world_size
        )
        self.span = self.windows.span(training.epochs if resume is None else resume.schedule_epochs)
        self.stop = StopRequest()
        self.init_from: str | None = None
        self.why: dict[str, str] = {}

    def run(self, folder: Path, *, dry_run: bool) -> Run:
        """Set up, fit, and load the weights to keep."""
        record = new_record(self.resolved, [plugin.as_json() for plugin in self.host.plugins], self.assembled.scans)
        if self.init_from is not None:
            record["init_from"] = self.init_from
        run = Run(folder, self.resolved, self.assembled, record, rank=self.process.rank)
        if self.resume is not None:
            check_data(self.resume, record)
            record["resumed_at_step"] = self.resume.applied_steps
            record |= {key: self.resume.record.get(key, {}) for key in ("requested", "effective")}
            if self.resume.finished_epochs >= self.config.training.epochs:
                self.events.note(f"All {self.resume.finished_epochs} epochs are done; ask for more with --epochs.")
        if (wanted := self.windows.groups_per_window) > self.windows.n_groups:
            said = f"an epoch has only {self.windows.n_groups}, and its one optimizer step sees them."
            self.events.note(f"{wanted} groups are asked for in a step; {said}")
        run.store(status="running")
        saving = self._checkpoints(folder, dry_run=dry_run)
        module = self._module()
        try:
            self._fit(run, module, saving, dry_run=dry_run)
        except SetUpOnly:
            return run
        run.applied_steps, run.figures = module.applied_steps, dict(module.figures)
        run.rates, run.loss_weights = module.rates, module.loss_weights
        if self.process.rank > 0:
            return run
        if run.applied_steps < self.windows.span(self.config.training.epochs).total_steps:
            patience = self.config.checkpoint.early_stop_patience
            self.events.note(f"Stopped early: no better {self._monitor()} in {patience} epochs.")
        if saving.best_path is not None:
            module.load_state_dict(load_checkpoint(saving.best_path)["state_dict"])
            run.weights_from = saving.best_path.stem
        network = self.host.find(NetworkEntry, self.config.model.name)
        save_weights(self.assembled.objective, folder / WEIGHTS, made_by=network.offer.origin)
        run.store(status="trained", weights_from=run.weights_from, applied_steps=run.applied_steps, figures=run.figures)
        return run

    def _fit(self, run: Run, module: TrainingModule, saving: Checkpoints, *, dry_run: bool) -> None:
        folder = run.folder
        assert folder is not None
        silent = dry_run or self.config.execution.logger == "none" or self.process.rank > 0
        logger = None if silent else self._log(folder)
        callbacks = [self._check(run, dry_run=dry_run), *self._early_stop(), *self._wanted(folder), saving]
        loaders = (self.assembled.training_loader, self.assembled.validation_loader)
        checkpoint = None if self.resume is None else self.resume.checkpoint
        try:
            with (
                lightning_log_filter(),
                restore_torch_settings(),
                stop_on_ctrl_c(self.stop, self.events.stopping),
                process_group(self.process),
            ):
                trainer = build_trainer(self.config, folder, callbacks=callbacks, logger=logger, process=self.process)
                with blame_plugins(self.host.plugins, module):
                    fit(trainer, module, loaders, checkpoint=checkpoint, seed=self.config.training.seed)
        except PtychoError as error:
            run.store(status="failed")
            raise (failed(folder, error) if isinstance(error, TrainingError) else error) from error.__cause__
        except OSError:
            run.store(status="failed", applied_steps=module.applied_steps)
            raise
        except (StoppedError, QuitNow) as stopped:
            if self.stop.reason is not None:
                run.store(status="failed", applied_steps=module.applied_steps)
                reason = self.stop.reason  # of one rank, and by now of all
                raise failed(folder, SharedTrainingError(reason.message, hint=reason.hint)) from reason.__cause__
            run.store(status="stopped", applied_steps=module.applied_steps)
            total = self.windows.span(self.config.training.epochs).total_steps
            where = f"optimizer step {module.applied_steps} of {total}"
            raise interrupted(folder if self.config.checkpoint.enabled else None, where, stopped) from None
        finally:
            self.events.ended()

    def _module(self) -> TrainingModule:
        return TrainingModule(
            self.assembled.objective,
            windows=self.windows,
            make_optimizer=build_optimizer,
            make_schedule=self._schedule,
            restart_schedule=self.resume is not None and self.resume.restart_schedule,
            schedule_steps=self.span.total_steps,
            scheduler_name=f"scheduler '{self.config.scheduler.name}' ({self.scheduler.offer.origin})",
            locate=self._locate,
            events=self.events,
            stop=self.stop,
        )

    def _schedule(self, optimizer: Any) -> Schedule:
        offer = self.scheduler.offer
        schedule = build_schedule(self.scheduler, self.config.scheduler.options, optimizer, self.span)
        self.identity[SCHEDULE_KEY] = identity = schedule_identity(self.config, offer, schedule, self.span)
        identity["entry"] = offer.name
        if self.resume is not None and not self.resume.restart_schedule:
            refuse_other_class(self.resume, identity["class"], offer.origin)
        return schedule

    def _checkpoints(self, folder: Path, *, dry_run: bool) -> Checkpoints:
        settings = self.config.checkpoint
        self.identity: dict[str, Any] = {}  # filled when the schedule is built, before the first checkpoint
        return Checkpoints(
            folder / CHECKPOINTS if settings.enabled and not dry_run else None,
            top_k=settings.save_top_k,
            monitor=self._monitor(),
            mode=settings.mode,
            stop=self.stop,
            extra=self.identity,
        )

    def _monitor(self) -> str:
        """Without validation and without checkpoints, early stopping can only look at the training loss."""
        wanted = self.config.checkpoint.monitor
        if wanted == "val_loss" and self.assembled.validation_loader is None:
            self.why["monitor"] = "no frames are held out"
            return "train_loss"
        return wanted

    def _early_stop(self) -> list[Callback]:
        settings = self.config.checkpoint
        return [EarlyStop(monitor=self._monitor(), mode=settings.mode, patience=settings.early_stop_patience)]

    def _wanted(self, folder: Path) -> list[Callback]:
        """The callbacks that the user asked for, in order."""
        context = CallbackContext(folder, self.config, self.span, self.assembled.scans[0], self._preview)
        chosen = [(self.host.find(CallbackEntry, item.name), item.options) for item in self.config.callbacks]
        callbacks = build_callbacks(chosen, context)
        for callback, (found, _) in zip(callbacks, chosen, strict=True):
            Guard(callback, name=found.title, stop=self.stop, locate=self._locate)
        return callbacks

    def _locate(self, error: BaseException) -> str:
        return place_in(error, self.host.plugins)

    def _preview(self) -> tuple[Any, Any]:
        if self.reconstruct is None:
            raise ConfigError("a callback asked for a reconstruction, but this training has none to give.")
        return self.reconstruct(self.assembled)

    def _log(self, folder: Path) -> MetricsLog:
        keep = None if self.resume is None else self.resume.applied_steps
        staged = self.scheduler.entry.staged
        return MetricsLog(folder / METRICS, keep_steps=keep, staged=staged)

    def _check(self, run: Run, *, dry_run: bool) -> CheckSetUp:
        def keep(requested: dict[str, Any], effective: dict[str, Any]) -> None:
            run.store(requested=requested, effective=effective, reasons=self.why)

        patches = self.assembled.training_loader.dataset.groups.patches
        return CheckSetUp(
            self.config,
            self.span,
            events=self.events,
            why=self.why,
            keep=keep,
            plugins=self.host.plugins,
            built_by=lambda: self.identity[SCHEDULE_KEY]["entry"],
            frames_per_step=self.windows.n_groups * patches / self.windows.steps,
            dry_run=dry_run,
        )
