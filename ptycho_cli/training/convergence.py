"""The end of a training that has converged: held-out frames no longer gain more than their noise."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ptycho_cli.training.distributed import sum_over_ranks
from ptycho_cli.training.stop_request import StopRequest
from ptycho_cli.training.training_module import TrainingModule

MIN_FRAMES = 8  # held-out frames; with fewer, their noise is not known


class StopWhenConverged(Callback):
    """End the training after an epoch that lowers the validation loss by less than its standard error.

    The standard error is that of the mean over the scored held-out frames. A model that is no worse than the best by
    more than that cannot be told from it: the one-standard-error rule.

    Nothing ends while a schedule gives the likelihood less than its full weight, since its stages would not be seen.

    Args:
        stop: Receives the request to end the run well.

    Source: Breiman, Friedman, Olshen and Stone (1984), Classification and Regression Trees, section 3.4.3.
    """

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop
        self._loss = math.inf  # after the epoch before
        self._reason: str | None = None

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"loss": self._loss, "reason": self._reason}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the loss of the last whole epoch."""
        self._loss, self._reason = float(state_dict["loss"]), state_dict["reason"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End at once a run that had converged before it was resumed."""
        if self._reason is not None:
            self._stop.end(self._reason)
            trainer.should_stop = True  # before an epoch begins

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the validation loss with that of the epoch before."""
        module = cast(TrainingModule, pl_module)
        if self._stop.inside_epoch:  # a resumed run goes on in this epoch
            return
        mean, error, frames = _mean_and_error(trainer, module.frame_losses)
        gain, self._loss = self._loss - mean, mean
        weights = module.loss_weights
        if frames < MIN_FRAMES or not gain < error or (weights and weights[-1] < 1):
            return
        self._reason = (
            f"epoch {trainer.current_epoch + 1} lowered the deviance of held-out frames by {max(gain, 0.0):.2g}, less"
            f" than its standard error of {error:.2g}; training.stop=never trains on"
        )
        self._stop.end(self._reason)


def _mean_and_error(trainer: Trainer, losses: list[torch.Tensor]) -> tuple[float, float, int]:
    """Mean of the losses of frames over all ranks, its standard error, and the number of frames."""
    found = torch.cat(losses).double() if losses else torch.zeros(0, dtype=torch.float64)
    count, total = sum_over_ranks(trainer, float(len(found)), float(found.sum()))
    mean = total / max(count, 1.0)
    (squares,) = sum_over_ranks(trainer, float((found - mean).square().sum()))
    return mean, math.sqrt(squares / max(count * (count - 1), 1.0)), int(count)
