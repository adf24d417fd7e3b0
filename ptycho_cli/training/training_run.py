"""A training, from settings to a folder that holds a trained network."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer

from ptycho_cli.assembly.build import Assembled
from ptycho_cli.assembly.schedule import build_optimizer, build_schedule, optimizer_rates
from ptycho_cli.assembly.weights import save_weights
from ptycho_cli.config.provenance import Resolved
from ptycho_cli.errors import ConfigError, PtychoError, SharedTrainingError, TrainingError
from ptycho_cli.extend.host import Host
from ptycho_cli.extend.specs import CallbackContext, NetworkEntry, Schedule, SchedulerEntry
from ptycho_cli.plugin_code import own_code
from ptycho_cli.training.accumulation import Windows
from ptycho_cli.training.checkpoint import SCHEDULE_KEY, Checkpoints, EarlyStop
from ptycho_cli.training.convergence import StopWhenConverged
from ptycho_cli.training.distributed import ProcessInfo, process_group
from ptycho_cli.training.logged_training import LoggedTraining
from ptycho_cli.training.metrics_log import MetricsLog
from ptycho_cli.training.plugin_errors import attribute_errors, guarded_callbacks, plugin_line
from ptycho_cli.training.resume import Resume, check_data, check_scheduler_class
from ptycho_cli.training.resumed_schedule import schedule_identity
from ptycho_cli.training.run_folder import CHECKPOINTS, METRICS, run_folder
from ptycho_cli.training.run_lock import RunLock, this_process
from ptycho_cli.training.run_outcome import Run, folder_errors, interrupted_error, with_saved_step
from ptycho_cli.training.run_record import WEIGHTS, new_record
from ptycho_cli.training.setup_check import DryRunDone, SetupCheck
from ptycho_cli.training.start_options import StartOptions
from ptycho_cli.training.stop_request import QuitNow, StoppedError, StopRequest
from ptycho_cli.training.trainer import build_trainer, fit, lightning_log_filter, restore_torch_settings
from ptycho_cli.training.training_events import Events, NoEvents, SharedEvents
from ptycho_cli.training.training_module import TrainingModule
from ptycho_cli.training.watching import watch_training

Reconstruct = Callable[[Assembled], tuple[Any, Any]]
"""Reconstructs the first scan with the current weights; returns object and coverage."""


def run_training(
    resolved: Resolved,
    host: Host,
    assembled: Assembled,
    start: StartOptions,
    plan: Resume | None = None,
    *,
    events: Events | None = None,
    reconstruct: Reconstruct | None = None,
    process: ProcessInfo | None = None,
    lock: RunLock | None = None,
    stop: StopRequest | None = None,
    logged: LoggedTraining | None = None,
) -> Run:
    """Train an objective, and write checkpoints, metrics and a record to the folder of the run.

    Afterwards the objective has the weights that a callback set at the end of the training, such as an average, else
    those of the best epoch by ``checkpoint.monitor``, or of the last, if ``Checkpoints`` cannot tell them apart.

    Args:
        resolved: The settings; on resume those of ``plan.resolved``.
        host: The installed plugins.
        assembled: Objective and data, built from these settings.
        start: How the training starts.
        plan: Plan for resuming an earlier run; None starts a new one.
        events: Receives what happens.
        reconstruct: Reconstructs the object for callbacks that show it during training.
        process: Rank of this process; by default it trains alone.
        lock: Keeps other processes out of the folder; by default until the end of this function.
        stop: Receives requests to stop.
        logged: Keeps the loggers open for what follows the training; by default they end with this function.

    Raises:
        TrainingError: If a loss is not finite or memory runs out.
        InterruptedRunError: If the user stopped it.
    """
    process = process or ProcessInfo()
    session = _Session(resolved, host, assembled, plan, events or NoEvents(), reconstruct, process)
    session.stop = stop or StopRequest()
    session.init_from = start.origin_of_weights(None if plan is None else plan.record)
    output = resolved.config.training.output_dir if plan is None else plan.folder
    exists = plan is not None or process.rank > 0  # rank 0 creates it
    with (
        nullcontext(lock) if lock is not None else RunLock() as lock,
        nullcontext(logged) if logged is not None else LoggedTraining() as session.logged,
        folder_errors(output),
        run_folder(output, force=start.force, dry_run=start.dry_run, exists=exists, lock=lock) as folder,
    ):
        run = session.run(folder, dry_run=start.dry_run)
    return replace(run, folder=None) if start.dry_run or process.rank > 0 else run


class _Session:
    """One training, with the objects that its parts share."""

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
        self.assembled, self.resume, self.reconstruct = assembled, resume, reconstruct
        self.events = SharedEvents(events)
        self.process = process
        self.scheduler = host.find(SchedulerEntry, self.config.scheduler.name)
        loader, training = assembled.training_loader, self.config.training
        for shared in (loader, assembled.validation_loader):
            if shared is not None:
                shared.share(process.rank, process.world_size)
        accumulate = training.accumulate_grad_batches
        self.windows = Windows(len(loader.dataset), loader.batch_size, accumulate, process.world_size)
        self.span = self.windows.span(training.epochs if resume is None else resume.schedule_epochs)
        self.total_steps = self.windows.span(training.epochs).total_steps
        self.stop, self.logged = StopRequest(), LoggedTraining()
        self.init_from: str | None = None
        self.reasons: dict[str, str] = {}  # by key, for effective values that differ from the request
        self.identity: dict[str, Any] = {}  # filled when the schedule is built, before the first checkpoint

    def run(self, folder: Path, *, dry_run: bool) -> Run:
        """Set up, fit, and load the weights to keep."""
        run = self._new_run(folder)
        run.store(status="unfinished", process=this_process())
        saving, module = self._checkpoints(folder, dry_run=dry_run), self._module()
        try:
            self._fit(run, module, saving, dry_run=dry_run)
        except DryRunDone:
            return run
        run.applied_steps, run.losses = module.applied_steps, dict(module.losses)
        run.learning_rates, run.loss_weights = module.learning_rates, module.loss_weights
        if self.process.rank == 0:
            self._keep_weights(run, folder, module, saving)
        return run

    def _new_run(self, folder: Path) -> Run:
        record = new_record(self.resolved, self.host, self.assembled.scans)
        if self.assembled.weights is not None:
            record["weights"] = self.assembled.weights.as_json()
        if self.init_from is not None:
            record["init_from"] = self.init_from
        if self.resume is not None:
            check_data(self.resume, record)
            record["resumed_at_step"] = self.resume.applied_steps
            record |= {key: self.resume.record.get(key, {}) for key in ("requested", "effective")}
            record |= {key: value for key, value in self.resume.record.items() if key in ("weights", "loggers")}
            if self.resume.finished_epochs >= self.config.training.epochs:
                done = self.resume.finished_epochs
                self.events.note(f"All {done} epochs are done; raise training.epochs to train more.")
        if self.windows.note is not None:
            self.events.note(self.windows.note)
        return Run(folder, self.resolved, self.assembled, record, rank=self.process.rank)

    def _keep_weights(self, run: Run, folder: Path, module: TrainingModule, saving: Checkpoints) -> None:
        """Write the weights that a callback left at the end, else those of the best epoch, if there is one."""
        ended_by = self.stop.ended_by if run.applied_steps < self.total_steps else None
        if ended_by is not None:
            self.events.note(f"Ended after optimizer step {run.applied_steps} of {self.total_steps}: {ended_by}.")
        if module.changed_by is not None:
            run.weights_from, run.set_by_callback = module.changed_by, True
        elif (best := saving.best_weights()) is not None:
            run.weights_from, weights = best
            module.load_state_dict(weights)
        network = self.host.find(NetworkEntry, self.config.model.name)
        save_weights(self.assembled.objective, folder / WEIGHTS, made_by=network.info.origin)
        found = {"weights_from": run.weights_from, "applied_steps": run.applied_steps, "losses": run.losses}
        run.store(status="trained", ended_by=ended_by, **found)

    def _fit(self, run: Run, module: TrainingModule, saving: Checkpoints, *, dry_run: bool) -> None:
        folder = run.folder
        assert folder is not None
        try:
            self._run_trainer(run, folder, module, saving, dry_run=dry_run)
        except PtychoError as error:
            run.store_end("failed")
            raise (with_saved_step(error, folder) if isinstance(error, TrainingError) else error) from error.__cause__
        except (StoppedError, QuitNow) as stopped:
            if (reason := self.stop.reason) is not None:  # of one rank, and by now of all
                run.store_end("failed", applied_steps=module.applied_steps)
                shared = SharedTrainingError(reason.message, hint=reason.hint)
                raise with_saved_step(shared, folder) from reason.__cause__
            run.store_end("stopped", applied_steps=module.applied_steps)
            step = f"optimizer step {module.applied_steps} of {self.total_steps}"
            raise interrupted_error(folder if self.config.checkpoint.enabled else None, step, stopped) from None
        except DryRunDone:
            raise
        except Exception as error:
            run.store_end("failed", applied_steps=module.applied_steps)
            raise saving.restore_error(self.resume.checkpoint if self.resume else None, error) from error.__cause__
        finally:
            self.events.ended()

    def _run_trainer(
        self, run: Run, folder: Path, module: TrainingModule, saving: Checkpoints, *, dry_run: bool
    ) -> None:
        own: list[Callback] = [self._setup_check(run, dry_run=dry_run), *self._early_stops()]
        loggers: list[Logger] = []
        if not dry_run and self.process.rank == 0:
            loggers, watching = self._logging(run, folder, module)
            own += watching
        loaders = (self.assembled.training_loader, self.assembled.validation_loader)
        checkpoint = None if self.resume is None else self.resume.checkpoint
        with (
            lightning_log_filter(),
            restore_torch_settings(),
            self.stop.saving(self.events.stopping),
            process_group(self.process),
        ):
            trainer = build_trainer(
                self.config.training,
                self.config.execution,
                folder,
                callbacks=[*own, *self._user_callbacks(folder), saving],
                loggers=loggers,
                process=self.process,
            )
            with attribute_errors(self.host.plugins, module):
                fit(trainer, module, loaders, checkpoint=checkpoint, seed=self.config.training.seed)

    def _module(self) -> TrainingModule:
        rates = optimizer_rates(self.config.optimizer, refine_probe=self.config.physics.refine_probe)
        return TrainingModule(
            self.assembled.objective,
            windows=self.windows,
            make_optimizer=partial(build_optimizer, rates=rates),
            make_schedule=self._schedule,
            restart_schedule=self.resume is not None and self.resume.restart_schedule,
            schedule_steps=self.span.total_steps,
            per_group=self.scheduler.entry.per_group,
            scheduler_name=self.scheduler.title,
            locate=self._locate,
            events=self.events,
            stop=self.stop,
        )

    def _schedule(self, optimizer: Optimizer) -> Schedule:
        entry = self.scheduler.info
        schedule = build_schedule(self.scheduler, self.config.scheduler.options, optimizer, self.span)
        self.identity[SCHEDULE_KEY] = identity = schedule_identity(self.config, self.host, schedule, self.span)
        identity["entry"] = entry.name
        if self.resume is not None and not self.resume.restart_schedule:
            check_scheduler_class(self.resume, identity["class"], entry.origin)
        return schedule

    def _checkpoints(self, folder: Path, *, dry_run: bool) -> Checkpoints:
        settings = self.config.checkpoint
        return Checkpoints(
            folder / CHECKPOINTS if settings.enabled and not dry_run else None,
            top_k=settings.save_top_k,
            monitor=self._monitor(),
            mode=settings.mode,
            stop=self.stop,
            extra=self.identity,
            plugins=self.host.plugins,
        )

    def _monitor(self) -> str:
        """The loss that ranks checkpoints and stops early; the training loss if no frames are held out."""
        wanted = self.config.checkpoint.monitor
        if wanted == "val_loss" and self.assembled.validation_loader is None:
            self.reasons["monitor"] = "no frames are held out"
            return "train_loss"
        return wanted

    def _early_stops(self) -> list[Callback]:
        settings, patience = self.config.checkpoint, self.config.checkpoint.early_stop_patience
        patient = EarlyStop(monitor=self._monitor(), mode=settings.mode, patience=patience, stop=self.stop)
        return [patient, StopWhenConverged(self.stop)] if self.config.training.stop == "auto" else [patient]

    def _user_callbacks(self, folder: Path) -> list[Callback]:
        context = CallbackContext(folder, self.config, self.span, self.assembled.scans[0], self._preview)
        return guarded_callbacks(self.config.callbacks, self.host, context, stop=self.stop, locate=self._locate)

    def _locate(self, error: BaseException) -> str:
        return plugin_line(error, self.host.plugins)

    def _preview(self) -> tuple[Any, Any]:
        if self.reconstruct is None:
            raise ConfigError("a callback requested a reconstruction, but this training provides none.")
        with own_code():
            return self.reconstruct(self.assembled)

    def _logging(self, run: Run, folder: Path, module: TrainingModule) -> tuple[list[Logger], list[Callback]]:
        """Start the loggers; return them with the callbacks that they need."""
        log = MetricsLog(
            folder / METRICS,
            keep_steps=None if self.resume is None else self.resume.applied_steps,
            staged=self.scheduler.entry.staged,
            reached=lambda: (module.applied_steps, module.current_epoch, module.logging_for),
            keep_callbacks="csv" in self.config.execution.logger,
        )
        return watch_training(run, log, self.logged, self.events, self._preview, resumed=self.resume is not None)

    def _setup_check(self, run: Run, *, dry_run: bool) -> SetupCheck:
        def store(requested: dict[str, Any], effective: dict[str, Any]) -> None:
            run.store(requested=requested, effective=effective, reasons=self.reasons)

        patches = self.assembled.training_loader.dataset.groups.patches
        return SetupCheck(
            self.resolved,
            self.span,
            events=self.events,
            reasons=self.reasons,
            store=store,
            plugins=self.host.plugins,
            built_scheduler=lambda: self.identity[SCHEDULE_KEY]["entry"],
            frames_per_step=self.windows.n_groups * patches / self.windows.steps,
            dry_run=dry_run,
        )
