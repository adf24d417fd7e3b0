"""Lightning's Trainer for our settings, and a fit that ends well or in one of our own errors."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.precision import DoublePrecision

from ptycho_cli.config.schema import ExecutionSettings, TrainingSettings
from ptycho_cli.data.batch import Batch
from ptycho_cli.data.loader import GroupLoader
from ptycho_cli.errors import CheckpointError, TrainingError, is_out_of_memory
from ptycho_cli.training.checkpoint import VerifiedCheckpointIO
from ptycho_cli.training.distributed import ProcessInfo
from ptycho_cli.training.training_module import TrainingModule

_LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
    "lightning.fabric.utilities.distributed",
    "lightning.pytorch.accelerators.cuda",  # names the visible devices, whichever the settings ask for
)
# Warnings that are expected, matched at the start of their text, each with the reason.
_EXPECTED_WARNINGS = (
    r"The '\w+_dataloader' does not have many workers",  # groups are slices of memory: workers cost more than they save
    r"Trying to infer the `batch_size` from an ambiguous collection",  # values are logged with their own weights
    r"Found \d+ module\(s\) in eval mode at the start of training",  # frozen parts are frozen on purpose
    r"GPU available but not used",  # the effective table shows which accelerator is used
    r"MPS available but not used",
    r"You defined a `validation_step` but have no `val_dataloader`",  # no frames are held out
    r"Be aware that when using `ckpt_path`, callbacks",  # resume.py compares the callbacks itself
    r"SWA is currently only supported every epoch",  # it then sets the rates itself, once an epoch
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # inside Lightning 2.6 with torch 2.13
)


def build_trainer(
    training: TrainingSettings,
    execution: ExecutionSettings,
    folder: Path,
    *,
    callbacks: Sequence[Callback],
    loggers: Sequence[Logger],
    process: ProcessInfo,
) -> Trainer:
    """Build the Trainer; everything that Lightning would print, sample or write by itself is off."""
    double = execution.precision == "64-true"
    plugins: list[Any] = [
        LaunchedEnvironment(process),
        VerifiedCheckpointIO(),
        *([BatchDoublePrecision()] if double else []),
    ]
    trainer = Trainer(
        accelerator=execution.accelerator,
        devices=execution.devices,
        num_nodes=execution.num_nodes,
        strategy="ddp" if process.world_size > 1 else "auto",
        precision=None if double else execution.precision,
        plugins=plugins,
        max_epochs=training.epochs,
        accumulate_grad_batches=training.accumulate_grad_batches,
        gradient_clip_val=training.gradient_clip_val,
        deterministic=execution.deterministic,
        logger=list(loggers) or False,
        callbacks=list(callbacks),
        default_root_dir=folder,
        num_sanity_val_steps=0,  # its validation loss would be discarded
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=1,
    )
    # Lightning's handler of SIGTERM would end the run inside a window, without saving, and nothing public omits it
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def fit(
    trainer: Trainer,
    module: TrainingModule,
    loaders: tuple[GroupLoader, GroupLoader | None],
    *,
    checkpoint: Path | None,
    seed: int,
) -> None:
    """Run ``Trainer.fit``; the caller's random number generator keeps its state.

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
                    hint="One of the two files was replaced: restore it from a copy.",
                ) from None
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                f"{module.where}: out of memory.",
                hint="Lower batch_size and raise accumulate_grad_batches in its place, or lower group_size.",
            ) from error


class LaunchedEnvironment(ClusterEnvironment):
    """Give Lightning the ranks of processes that run already, so that it neither guesses them nor starts any."""

    def __init__(self, process: ProcessInfo) -> None:
        super().__init__()
        self._process = process

    @property
    def creates_processes_externally(self) -> bool:
        """Always true."""
        return True

    @property
    def main_address(self) -> str:
        """Host of rank 0."""
        return self._process.main_address

    @property
    def main_port(self) -> int:
        """Port of rank 0."""
        return self._process.main_port

    @staticmethod
    def detect() -> bool:
        """Always false: Lightning does not choose this environment by itself."""
        return False

    def world_size(self) -> int:
        """Number of ranks."""
        return self._process.world_size

    def set_world_size(self, size: int) -> None:
        """Do nothing; the number of ranks is fixed."""

    def global_rank(self) -> int:
        """Rank of this process over all nodes."""
        return self._process.rank

    def set_global_rank(self, rank: int) -> None:
        """Do nothing; the rank is fixed."""

    def local_rank(self) -> int:
        """Rank of this process on its node."""
        return self._process.local_rank

    def node_rank(self) -> int:
        """Number of this node."""
        return self._process.node_rank


class BatchDoublePrecision(DoublePrecision):
    """Lightning's ``64-true`` for :class:`~ptycho_cli.data.batch.Batch`; its own refuses a frozen dataclass."""

    def convert_input(self, data: Batch) -> Batch:
        """Convert the real tensors of a batch to double; indices and masks keep their types."""
        return data.changed(lambda tensor: tensor.double() if torch.is_floating_point(tensor) else tensor)


@contextmanager
def lightning_log_filter() -> Iterator[None]:
    """Suppress Lightning's tips and banners, and its expected warnings; other warnings stay visible."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in _EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message=text)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def restore_torch_settings() -> Iterator[None]:
    """Undo afterwards the settings of the whole process that ``deterministic`` changes."""
    mode = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    fill: bool = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    # Filling every new tensor costs time, and only makes reads of uninitialised memory repeatable.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
