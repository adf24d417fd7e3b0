"""Learning-rate range test: optimizer steps with a growing rate, on a copy of the weights.

Lightning's ``lr_find`` does not fit: it gives the network and the probe the same rate, reads the loss of one batch
where several are accumulated, and stops at multiples of the lowest loss. Every step has other frames, whose losses
differ by more than a step changes them. Each loss is therefore compared with that of the initial weights on the same
frames, with the same withheld photons.

Source: Smith (2017), doi:10.1109/WACV.2017.58.
"""

from __future__ import annotations

import math
import tempfile
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ptycho_cli.assembly.build import Assembled
from ptycho_cli.assembly.schedule import build_optimizer, optimizer_rates
from ptycho_cli.config.schema import Config
from ptycho_cli.errors import ConfigError, SharedTrainingError
from ptycho_cli.extend.specs import Schedule
from ptycho_cli.progress_callback import Progress
from ptycho_cli.training.accumulation import Windows
from ptycho_cli.training.distributed import ProcessInfo
from ptycho_cli.training.trainer import build_trainer, fit, lightning_log_filter, restore_torch_settings
from ptycho_cli.training.training_events import Events
from ptycho_cli.training.training_module import TrainingModule

LOWEST, HIGHEST, STEPS = 1e-5, 1.0, 60
_SMOOTHING = 0.6  # weight of the past in the running mean of the losses
_CLEAR = 3.0  # a fall counts from this multiple of the median difference between two steps
_REACH = 2  # values on each side of a slope
_FEWEST = 5  # steps before a divergence counts


@dataclass(frozen=True)
class RangeTest:
    """Result of a test; lists have one value for each optimizer step.

    Attributes:
        rates: Learning rate of the network.
        losses: Relative change of the loss after a step with this rate, against the initial weights on the same
            frames: -0.5 if the steps so far halved it.
        smoothed: Running mean of the losses.
        current: The rate of the settings.
        suggested: The rate at which the loss falls most steeply; None if it falls by no more than it scatters.
        lowest_at: The rate at which the smoothed loss is lowest.
        diverged: The loss rose above that of the initial weights, or was not finite, and the test ended there.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    current: float
    suggested: float | None
    lowest_at: float
    diverged: bool


class _Done(Exception):  # noqa: N818
    """Leaves Lightning's loops at the end of the test."""


def range_test(config: Config, assembled: Assembled, *, progress: Progress | None = None) -> RangeTest:
    """Train a copy of the objective with rates from 1e-5 to 1, and find the rate at which the loss falls most steeply.

    The rate of the probe grows with that of the network. Batches, accumulation, clipping and precision are those of the
    settings; the scheduler has no part in it. The objective and the caller's random numbers stay as they are.

    Args:
        config: The settings.
        assembled: Objective and data, built from these settings.
        progress: Called with the steps done, and in all.

    Raises:
        ConfigError: If the settings ask for several devices, or the first step fails already.
    """
    if config.execution.devices * config.execution.num_nodes > 1:
        raise ConfigError("--find-lr: expected one device, found several.", hint="Add --devices 1 --num-nodes 1.")
    loader, training = assembled.training_loader, config.training
    windows = Windows(len(loader.dataset), loader.batch_size, training.accumulate_grad_batches)
    rates = optimizer_rates(config.optimizer, refine_probe=config.physics.refine_probe)
    growth = (HIGHEST / LOWEST) ** (1 / (STEPS - 1))
    losses = _Losses(deepcopy(assembled.objective), windows, progress)
    module = TrainingModule(
        deepcopy(assembled.objective),
        windows=windows,
        make_optimizer=partial(build_optimizer, rates=rates),
        make_schedule=lambda optimizer: _growing(optimizer, LOWEST / rates.network, growth),
        events=losses,
    )
    epochs = -(-(STEPS + 1) // windows.steps)
    with lightning_log_filter(), restore_torch_settings(), tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(
            training.model_copy(update={"epochs": epochs}), config.execution, Path(folder),
            callbacks=[losses], loggers=[], process=ProcessInfo(),
        )  # fmt: skip
        try:
            fit(trainer, module, (loader, None), checkpoint=None, seed=training.seed)
        except _Done:
            pass
        except SharedTrainingError:  # a loss that is not finite ends the test as any divergence does
            losses.diverged = True
    return _evaluated(losses, [LOWEST * growth**step for step in range(STEPS)], rates.network)


def _growing(optimizer: Optimizer, first: float, growth: float) -> Schedule:
    return Schedule(LambdaLR(optimizer, lambda step: first * growth**step))


class _Losses(Checkpoint, Events):
    """Keeps the loss of each optimizer step relative to the initial weights.

    It is a ``Checkpoint``, which saves nothing, because Lightning adds one that saves where it finds none.
    """

    def __init__(self, initial: torch.nn.Module, windows: Windows, progress: Progress | None) -> None:
        self._initial, self._windows, self._progress = initial, windows, progress
        self._reference: Tensor | float = 0.0
        self._loss = math.nan
        self.changes: list[float] = []  # the first belongs to the initial weights themselves, and is 0
        self.diverged = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the initial weights to the device of the training."""
        self._initial.to(pl_module.device)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Compute the loss of the initial weights with the random numbers that the training step will use."""
        if self._windows.opens(batch_idx):
            self._reference = 0.0
        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            self._reference = self._reference + self._initial(batch, None).sum()

    def step(self, step: int, epoch: int, learning_rate: float, loss: float, /) -> None:
        """Keep the mean loss over all groups of a window, before its step."""
        self._loss = loss

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take in the window that an optimizer step closed, and end the test where the loss diverges."""
        if not self._windows.closes(batch_idx):
            return
        groups = self._windows.groups_in_window(batch_idx)
        before = float(self._reference) / groups
        self.changes.append((self._loss - before) / max(abs(before), 1e-30))
        if self._progress is not None:
            self._progress(min(len(self.changes) - 1, STEPS), STEPS)
        smoothed = _smoothed(self.changes)
        if len(smoothed) > _FEWEST and smoothed[-1] > max(0.0, -min(smoothed)):
            self.diverged = True
        if self.diverged or len(self.changes) > STEPS:
            raise _Done


def _smoothed(values: list[float]) -> list[float]:
    """Running mean; the first values are not drawn to zero."""
    found, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = _SMOOTHING * total + value, _SMOOTHING * weight + 1.0
        found.append(total / weight)
    return found


def _evaluated(losses: _Losses, rates: list[float], current: float) -> RangeTest:
    changes = losses.changes[1:]  # change k + 1 is what the step with rate k led to
    if len(changes) < _FEWEST:
        raise ConfigError(
            f"--find-lr: the loss diverged after {len(losses.changes)} optimizer steps with rates below "
            f"{rates[len(losses.changes)]:.2g}, expected it to fall at first.",
            hint="Look at the scan with `ptycho data check`, or set training.gradient_clip_val.",
        )
    smoothed = _smoothed(changes)
    lowest = min(range(len(smoothed)), key=smoothed.__getitem__)
    scatter = median(abs(second - first) for first, second in pairwise(changes))
    steepest = _steepest(smoothed, lowest) if -smoothed[lowest] > _CLEAR * scatter else None
    return RangeTest(
        rates=rates[: len(changes)],
        losses=changes,
        smoothed=smoothed,
        current=current,
        suggested=None if steepest is None else _rounded(rates[steepest]),
        lowest_at=rates[lowest],
        diverged=losses.diverged,
    )


def _steepest(values: list[float], end: int) -> int | None:
    """Index before ``end`` where values fall most steeply, by straight lines through five of them.

    The rates are equally spaced on a logarithmic axis.
    """
    inside = range(_REACH, end - _REACH + 1)
    slopes = {k: sum(shift * values[k + shift] for shift in range(-_REACH, _REACH + 1)) for k in inside}
    return min(slopes, key=slopes.__getitem__) if slopes else None


def _rounded(rate: float) -> float:
    """Two digits: more are not known."""
    return round(rate, 1 - math.floor(math.log10(rate)))
