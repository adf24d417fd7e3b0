"""What loggers get of a training: figures of its steps, pictures of the object, and at the end scores and verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from ptycho_cli.calibration.verdict import Verdict
from ptycho_cli.render.object_image import object_image
from ptycho_cli.training.metrics_log import MetricsLog
from ptycho_cli.training.run_loggers import OutsideLogger, start_loggers
from ptycho_cli.training.training_events import Events

GRADIENT_NORM = "gradient_norm"


class LoggedTraining(Callback, Events):
    """Gives what a training reports to its loggers, with the norm of its gradient; leaving it ends the loggers."""

    def __init__(self) -> None:
        self._loggers: Sequence[OutsideLogger] = ()
        self._log: MetricsLog | None = None
        self._gradient_norm: Tensor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for logger in self._loggers:
            logger.end(failed=kind is not None)
        self._loggers = ()

    def start(
        self, names: Sequence[str], folder: Path, log: MetricsLog, record: dict[str, Any], *, resumed: bool
    ) -> Sequence[OutsideLogger]:
        """Start the loggers, as ``start_loggers`` does, and return them."""
        self._loggers = start_loggers(names, folder, log, record, resumed=resumed)
        self._log = log
        return self._loggers

    @property
    def shows_pictures(self) -> bool:
        """False without a logger that takes pictures."""
        return bool(self._loggers)

    def step(self, step: int, epoch: int, learning_rate: float, loss: float, /) -> None:
        """Log the figures of an optimizer step."""
        figures: dict[str, float] = {"epoch": epoch, "learning_rate": learning_rate, "train_loss": loss}
        if self._gradient_norm is not None:
            figures[GRADIENT_NORM] = norm = float(self._gradient_norm)
            if self._log is not None:
                self._log.log_beside(step, epoch, GRADIENT_NORM, norm)
        for logger in self._loggers:
            logger.write(figures, step)

    def epoch(self, epoch: int, losses: Mapping[str, float], /) -> None:
        """Log the mean losses of an epoch."""
        self._write({name if name == "val_loss" else f"{name}_of_epoch": value for name, value in losses.items()})

    def picture(self, epoch: int, field: Any, coverage: Any, /) -> None:
        """Log amplitude and phase of the object."""
        image = object_image(field, coverage)
        for logger in self._loggers:
            logger.show(image, self._steps_done)

    def result(self, scores: Mapping[str, Any], verdict: Verdict) -> None:
        """Log scores of the reconstructions of the first training scan, and whether they explain it."""
        judged = ("explained", "ratio", "deviance", "expected_deviance")
        figures = dict(_numbers("scores", scores))
        self._write(figures | {f"verdict/{name}": float(getattr(verdict, name)) for name in judged})
        answer = "explained" if verdict.explained else "not explained"
        text = ": ".join(filter(None, (answer, ", ".join(finding.id for finding in verdict.reasons))))
        for logger in self._loggers:
            logger.conclude(text, self._steps_done)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Compute the norm of the whole gradient before it is clipped.

        The module waits for the loss after this hook, and the copy is there by then: no step waits twice.
        """
        gradients = [item.grad for group in optimizer.param_groups for item in group["params"] if item.grad is not None]
        self._gradient_norm = torch.nn.utils.get_total_norm(gradients).to("cpu", non_blocking=True)

    @property
    def _steps_done(self) -> int:
        return 0 if self._log is None else self._log.steps_done

    def _write(self, figures: Mapping[str, float]) -> None:
        for logger in self._loggers:
            logger.write(figures, self._steps_done)


def _numbers(name: str, values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """All numbers in nested values, by their path."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{name}/{key}", value)
        elif isinstance(value, (int, float)):
            yield f"{name}/{key}", float(value)
