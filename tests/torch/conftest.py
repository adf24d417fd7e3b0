"""From argv to the objects that train: the program is called as by a user, and its trainer is observed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from ptycho_cli.cli.app import main

# Five groups, so that with two in a window the last window is short. The network takes milliseconds, and what follows
# the training is switched off: these tests look at steps and weights.
SMALL = ("--n-groups", "5", "--group-size", "6", "--network-option", "stages=1", "--network-option", "subsets=1")
QUICK = (
    *("--network-option", "width=4", "--set", "physics.probe_warmup=0", "--set", "inference.polish=0"),
    *("--no-report", "--accelerator", "cpu", "--quiet"),
)


@dataclass
class Trained:
    """The trainer that a command built, the rates of its optimizer, and the final weights.

    Attributes:
        trainer: After its fit.
        rates: Learning rate of every optimizer step that was taken, read from the optimizer as it steps.
        weights: Of the objective at the end of the fit.
    """

    trainer: Trainer
    folder: Path
    rates: list[float] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return float(self.trainer.optimizers[0].param_groups[0]["lr"])


class Observer(Callback):
    def __init__(self, trained: Trained) -> None:
        self.trained = trained

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        record = lambda optimizer, *_: self.trained.rates.append(optimizer.param_groups[0]["lr"])  # noqa: E731
        trainer.optimizers[0].register_step_pre_hook(record)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        state = pl_module.objective.state_dict()
        self.trained.weights = {name: value.detach().clone() for name, value in state.items()}


@pytest.fixture
def small_arguments(scan_file: Path, tmp_path: Path) -> list[str]:
    """Arguments of a small training without ``--quiet``."""
    return ["train", str(scan_file), "-o", str(tmp_path / "run"), *SMALL, *QUICK[:-1]]


@pytest.fixture
def train(scan_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trained]:
    """Call ``ptycho train scan.h5 -o RUN ...`` in this process; its trainer is real and only observed."""
    fit, seen = Trainer.fit, []

    def observed(trainer: Trainer, *arguments: Any, **options: Any) -> None:
        trained = Trained(trainer, Path(trainer.default_root_dir))
        seen.append(trained)
        trainer.callbacks.insert(0, Observer(trained))
        fit(trainer, *arguments, **options)

    monkeypatch.setattr(Trainer, "fit", observed)
    for name in ("PTYCHO_TRAINING__ACCUMULATE_GRAD_BATCHES", "PTYCHO_SCHEDULER__NAME"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Trained:
        folder = tmp_path / f"run{len(seen)}"
        code = main(["train", str(scan_file), "-o", str(folder), *SMALL, *QUICK, *arguments])
        assert code == 0
        return seen[-1]

    return run
