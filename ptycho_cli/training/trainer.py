"""Lightning's trainer for our settings, and a fit that ends in one of our own errors or well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger

from ptycho_cli.config.schema import Config
from ptycho_cli.data.loader import GroupLoader
from ptycho_cli.errors import CheckpointError, TrainingError, is_out_of_memory
from ptycho_cli.training.module import TrainingModule
from ptycho_cli.training.precision import DoubleBatches
from ptycho_cli.training.ranks import Place
from ptycho_cli.training.rendezvous import Rendezvous


def build_trainer(
    config: Config,
    folder: Path,
    *,
    callbacks: Sequence[Callback],
    logger: Logger | None,
    place: Place | None = None,
) -> Trainer:
    """The trainer; whatever Lightning would print, sample or write by itself is off."""
    training, execution = config.training, config.execution
    double, place = execution.precision == "64-true", place or Place()
    plugins: list[Any] = [Rendezvous(place), *([DoubleBatches()] if double else [])]
    return Trainer(
        accelerator=execution.accelerator,
        devices=execution.devices,
        num_nodes=execution.num_nodes,
        strategy="ddp" if place.world > 1 else "auto",
        precision=None if double else execution.precision,
        plugins=plugins,
        max_epochs=training.epochs,
        accumulate_grad_batches=training.accumulate_grad_batches,
        gradient_clip_val=training.gradient_clip_val,
        deterministic=execution.deterministic,
        logger=logger if logger is not None else False,
        callbacks=list(callbacks),
        default_root_dir=folder,
        # a sanity check would be two batches of validation whose figure nobody reads
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=1,
    )


def fit(
    trainer: Trainer,
    module: TrainingModule,
    loaders: tuple[GroupLoader, GroupLoader | None],
    *,
    checkpoint: Path | None,
    seed: int,
) -> None:
    """Run ``Trainer.fit``; random numbers of the caller stay as they are.

    Raises:
        CheckpointError: If the checkpoint is of another model.
        TrainingError: If memory ran out, or a loss was not finite.
    """
    training, validation = loaders
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            # weights_only: a checkpoint is data, nothing in it is executed
            trainer.fit(module, training, validation, ckpt_path=checkpoint, weights_only=True)
        except (MemoryError, RuntimeError) as error:
            if checkpoint is not None and "loading state_dict" in str(error):
                raise CheckpointError(
                    f"{checkpoint}: does not fit the model settings of the run.json beside it.",
                    hint="One of the two was replaced: restore it from a copy.",
                ) from None
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                f"{module.where}: out of memory.",
                hint="Lower --batch-size and raise --accumulate-grad-batches in its place, or lower --group-size.",
            ) from error


@contextmanager
def torch_as_it_was() -> Iterator[None]:
    """Undo afterwards what ``deterministic`` changes for the whole process."""
    before: dict[str, Any] = {
        "mode": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "fill": torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    }
    # it would write over every new tensor, to make the bits of bugs repeatable
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before["mode"], warn_only=before["warn_only"])
        torch.backends.cudnn.benchmark = before["benchmark"]
        torch.utils.deterministic.fill_uninitialized_memory = before["fill"]  # type: ignore[attr-defined]
