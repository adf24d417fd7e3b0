"""A small but real objective, and real fits of it with Lightning's Trainer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from ptycho_cli.assembly.schedule import OptimizerRates, build_optimizer
from ptycho_cli.config.catalogue import EntryInfo
from ptycho_cli.config.earlier_run import checkpoint_layer
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.settings_group import Options
from ptycho_cli.config.sources import library_layer
from ptycho_cli.data.batch import Batch
from ptycho_cli.data.groups import Groups
from ptycho_cli.data.loader import GroupLoader
from ptycho_cli.data.scan import Scan
from ptycho_cli.extend.host import Host, load_plugins
from ptycho_cli.extend.load import RegisteredEntry
from ptycho_cli.extend.specs import CallbackEntry, Entry, Schedule, SchedulerEntry, Span
from ptycho_cli.training.accumulation import Windows
from ptycho_cli.training.metrics_log import MetricsLog
from ptycho_cli.training.resume import plan_resume
from ptycho_cli.training.run_outcome import Run
from ptycho_cli.training.run_record import read_record
from ptycho_cli.training.start_options import StartOptions
from ptycho_cli.training.trainer import BatchDoublePrecision, lightning_log_filter
from ptycho_cli.training.training_module import TrainingModule
from ptycho_cli.training.training_run import run_training

N_PIXELS = 8
BUILT_INS = load_plugins(environment={"PTYCHO_NO_PLUGINS": "1"})


class SmallObjective(nn.Module):
    """One object canvas and one probe, fitted to the amplitudes of all frames: a few hundred parameters."""

    def __init__(self, canvas: tuple[int, int], seed: int = 0) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.canvas = nn.Parameter(torch.randn(*canvas, 2, generator=rng, dtype=torch.float64).float())
        self.probe = nn.Parameter(torch.randn(N_PIXELS, N_PIXELS, 2, generator=rng, dtype=torch.float64).float())
        self.weights_seen: list[float | None] = []

    def forward(self, batch: Batch, loss_weight: float | None) -> Tensor:
        if self.training:
            self.weights_seen.append(loss_weight)
        losses, present = self.frame_losses(batch, loss_weight)
        return losses.sum(dim=1) / present.sum(dim=1).clamp(min=1)

    def frame_losses(self, batch: Batch, loss_weight: float | None = None) -> tuple[Tensor, Tensor]:
        index = torch.arange(N_PIXELS)
        rows = batch.corners[..., 0, None, None] + index[:, None]
        columns = batch.corners[..., 1, None, None] + index
        patches = torch.view_as_complex(self.canvas)[rows, columns]
        wave = torch.fft.fft2(torch.view_as_complex(self.probe) * patches, norm="ortho")
        rate = wave.abs().square() + 0.1
        amplitude = (rate.sqrt() - batch.counts.sqrt()).square().mean(dim=(-2, -1))
        poisson = (rate - batch.counts * rate.log()).mean(dim=(-2, -1))
        weight = 0.0 if loss_weight is None else loss_weight
        frame = (1 - weight) * amplitude + weight * poisson
        scored = batch.scored.to(frame.dtype)
        return frame * scored, scored

    def trained_parameters(self) -> dict[str, list[nn.Parameter]]:
        return {"network": [self.canvas], "probe": [self.probe]}


def constant(optimizer: torch.optim.Optimizer, span: Span) -> Schedule:
    return Schedule(LambdaLR(optimizer, lambda step: 1.0))


class RateProbe(Callback):
    """Records the learning rates of every optimizer step, read from the optimizer itself."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        optimizer = trainer.optimizers[0]
        record = lambda optimizer, *_: self.rates.append([group["lr"] for group in optimizer.param_groups])  # noqa: E731
        optimizer.register_step_pre_hook(record)


class Fit:
    """One training: ``Fit(...)(epochs=2)`` runs ``Trainer.fit``; its parts are attributes."""

    small_objective = SmallObjective

    def __init__(
        self,
        *,
        n_groups: int = 7,
        batch_size: int = 1,
        accumulate: int = 1,
        schedule: Callable[[torch.optim.Optimizer, Span], Schedule] = constant,
        validation_fraction: float = 0.1,
        double: bool = False,
        seed: int = 0,
        num_workers: int = 0,
        restart_schedule: bool = False,
        metrics: Path | None = None,
        keep_steps: int | None = None,
        callbacks: list[Callback] | None = None,
        objective: Callable[[tuple[int, int]], nn.Module] = SmallObjective,
        **trainer: Any,
    ) -> None:
        dtype = torch.float64 if double else torch.float32
        groups = Groups(
            [_scan()], group_size=6, n_groups=n_groups, seed=seed, validation_fraction=validation_fraction, dtype=dtype
        )
        self.loader = GroupLoader(groups, batch_size, num_workers=num_workers)
        self.validation = GroupLoader(groups, batch_size, validation=True) if validation_fraction else None
        self.windows = Windows(n_groups, batch_size, accumulate)
        self.objective = objective(groups.canvas)
        self.probe = RateProbe()
        self._schedule, self._restart = schedule, restart_schedule
        self._log = None if metrics is None else MetricsLog(metrics, keep_steps=keep_steps)
        self._callbacks, self._trainer, self._double = callbacks or [], trainer, double

    def __call__(self, epochs: int, *, schedule_epochs: int | None = None, resume: Path | None = None) -> Fit:
        span = self.windows.span(schedule_epochs or epochs)
        self.module = TrainingModule(
            self.objective,
            windows=self.windows,
            make_optimizer=partial(build_optimizer, rates=OptimizerRates(network=1e-2, probe=1e-3)),
            make_schedule=lambda optimizer: self._schedule(optimizer, span),
            restart_schedule=self._restart,
        )
        arguments: dict[str, Any] = {
            "accelerator": "cpu",
            "max_epochs": epochs,
            "accumulate_grad_batches": self.windows.accumulate,
            "logger": self._log or False,
            "callbacks": [self.probe, *self._callbacks],
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in self._callbacks),
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 1,
            "plugins": [BatchDoublePrecision()] if self._double else [],
            "use_distributed_sampler": False,
            **self._trainer,
        }
        with lightning_log_filter():
            self.trainer = Trainer(**arguments)
            self.trainer.fit(self.module, self.loader, self.validation, ckpt_path=resume, weights_only=True)
        return self

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.objective.state_dict().items()}

    @property
    def rates(self) -> list[float]:
        return [rates[0] for rates in self.probe.rates]


def _scan(n_frames: int = 40) -> Scan:
    rng = np.random.default_rng(3)
    counts = rng.poisson(20.0, (n_frames, N_PIXELS, N_PIXELS)).astype(np.float32)
    return Scan(
        source="small",
        counts=counts,
        positions_px=rng.uniform(0, 12, (n_frames, 2)),
        mask=np.ones((N_PIXELS, N_PIXELS), dtype=np.bool_),
    )


@pytest.fixture
def fit() -> type[Fit]:
    """The class :class:`Fit`; each call of an instance is one real ``Trainer.fit``."""
    return Fit


@pytest.fixture
def small_run(tmp_path: Path) -> Callable[..., Run]:
    """Call ``run_training`` on the small objective, with settings as a Python caller gives them.

    ``resume`` resumes the run in a folder, whose settings are then the checkpoint layer; ``which`` is
    ``--resume-schedule``; ``forward`` replaces the objective's own.
    """

    def call(
        folder: Path | None = None,
        *,
        resume: Path | None = None,
        which: Any = None,
        host: Host = BUILT_INS,
        forward: Any = None,
        events: Any = None,
        reconstruct: Any = None,
        force: bool = False,
        dry_run: bool = False,
        **settings: Any,
    ) -> Run:
        given = {"data.paths": ("small",), "epochs": 2, "accelerator": "cpu", "n_groups": 7, **settings}
        if resume is None:
            layers = [library_layer({"output_dir": str(folder), "group_size": 6, **given})]
        else:
            given = {**settings}
            layers = [checkpoint_layer(read_record(resume)["config"], str(resume)), library_layer(given)]
        resolved = resolve(layers, host.catalogue())
        plan = None if resume is None else plan_resume(resolved, host, resume, which)
        resolved = resolved if plan is None else plan.resolved
        config = resolved.config
        groups = Groups([_scan()], group_size=6, n_groups=7, seed=config.training.seed, validation_fraction=0.1)
        objective = SmallObjective(groups.canvas)
        if forward is not None:
            objective.forward = forward  # type: ignore[method-assign]
        assembled = SimpleNamespace(
            objective=objective,
            training_loader=GroupLoader(groups, config.training.batch_size),
            validation_loader=GroupLoader(groups, 1, validation=True),
            scans=(_scan(),),
            weights=None,
        )
        start = StartOptions(force=force, dry_run=dry_run)
        return run_training(resolved, host, assembled, start, plan, events=events, reconstruct=reconstruct)

    return call


def host_with(entry: SchedulerEntry | CallbackEntry, version: str = "1.0") -> Host:
    """The built-ins and one more scheduler or callback, of a distribution named ptycho-test."""
    own = RegisteredEntry[Entry](EntryInfo(entry.kind, entry.name, entry.options, "ptycho-test", version), entry)
    return Host(BUILT_INS.plugins, (*BUILT_INS.registered, own))


@pytest.fixture
def offering() -> Callable[..., Host]:
    """Make a host with a scheduler ``Mine``, built by a function of optimizer and span, or a callback ``mine``."""

    def offer(scheduler: Any = None, callback: Any = None, staged: bool = False) -> Host:
        if callback is not None:
            return host_with(CallbackEntry("mine", "Ours.", Options, lambda context, options: callback))
        build = lambda optimizer, span, options: scheduler(optimizer, span)  # noqa: E731
        return host_with(SchedulerEntry("Mine", "Ours.", Options, build, staged=staged))

    return offer


@pytest.fixture
def monitoring_host() -> Host:
    """A host with a scheduler that monitors a value which is not computed."""

    def build(optimizer: torch.optim.Optimizer, span: Span, options: Any) -> Schedule:
        return Schedule(ReduceLROnPlateau(optimizer), interval="epoch", monitor="psnr")

    return host_with(SchedulerEntry("Watcher", "Watches.", Options, build))


@pytest.fixture
def unsavable_host() -> Host:
    """A host with a scheduler whose state contains an object."""

    class Holder(LambdaLR):
        def state_dict(self) -> dict[str, Any]:
            return {"where": Path("here")}

    def build(optimizer: torch.optim.Optimizer, span: Span, options: Any) -> Schedule:
        return Schedule(Holder(optimizer, lambda step: 1.0))

    return host_with(SchedulerEntry("Unsavable", "Holds an object.", Options, build))


@pytest.fixture
def failing_host() -> Host:
    """A host with a scheduler that cannot be built."""

    def build(optimizer: torch.optim.Optimizer, span: Span, options: Any) -> Schedule:
        raise KeyError("gone")

    return host_with(SchedulerEntry("Failing", "Fails.", Options, build))


@pytest.fixture
def versioned_host() -> Callable[[str], Host]:
    """Make a host with the scheduler Mine in a given version."""

    def build(optimizer: torch.optim.Optimizer, span: Span, options: Any) -> Schedule:
        return constant(optimizer, span)

    return lambda version: host_with(SchedulerEntry("Mine", "Ours.", Options, build), version)
