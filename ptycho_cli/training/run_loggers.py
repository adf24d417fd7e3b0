"""Loggers of other programs beside ``metrics.csv``: Lightning's own for TensorBoard, MLflow and Weights & Biases."""

from __future__ import annotations

import logging
import os
import uuid
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from ptycho_cli.config.earlier_run import flatten
from ptycho_cli.errors import ConfigError
from ptycho_cli.plugin_code import one_line
from ptycho_cli.render.object_image import Levels, png_of
from ptycho_cli.training.metrics_log import MetricsLog
from ptycho_cli.training.run_folder import TENSORBOARD

PROJECT = "ptycho"  # name of the experiment (MLflow) or project (Weights & Biases), unless their variables name one
MLFLOW = "mlruns"  # folder in the run's folder


class OutsideLogger(Logger):
    """What the three have in common: steps are optimizer steps, and a logger that fails does not end a training.

    Attributes:
        csv: The record ``metrics.csv``, which knows the step, and which callback a figure is from.
        title: Name of the logger in settings and messages.
    """

    csv: MetricsLog
    title: str
    _failed = False
    _status = "success"

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures of callbacks, ``Callback/name``; called by Lightning, which counts steps from 0."""
        owners = {name: self.csv.owner_of(name) for name in metrics if name != "epoch"}  # Lightning adds the epoch
        figures = {f"{owner}/{name}" if owner else name: metrics[name] for name, owner in owners.items()}
        self.write(figures, self.csv.steps_done)

    def write(self, figures: Mapping[str, float], step: int) -> None:
        """Log figures of the training under their names."""
        if figures:
            self.attempt(lambda: super(OutsideLogger, self).log_metrics(dict(figures), step))  # type: ignore[safe-super]

    @abstractmethod
    def show(self, image: Levels, step: int) -> None:
        """Log a picture of the object."""

    @abstractmethod
    def conclude(self, verdict: str, step: int) -> None:
        """Log the verdict on the reconstruction, a text."""

    def finalize(self, status: str = "success") -> None:
        """Keep how the training ended; called by Lightning, before the reconstruction is scored."""
        self._status = status

    def end(self, *, failed: bool) -> None:
        """Write what is left, and end the run of the logger."""
        status = "failed" if failed else self._status
        self.attempt(lambda: super(OutsideLogger, self).finalize(status))

    def attempt(self, call: Callable[[], object]) -> None:
        """Turn the first error into a warning, and call nothing from then on."""
        if self._failed:
            return
        try:
            call()
        except Exception as error:
            self._failed = True
            message = f"the logger {self.title} failed and gets no more figures: {one_line(error).rstrip('.')}."
            warnings.warn(message, RuntimeWarning, stacklevel=2)


class TensorBoard(OutsideLogger, TensorBoardLogger):
    """Event files in ``RUN/tensorboard``."""

    title = "tensorboard"

    def show(self, image: Levels, step: int) -> None:
        """Add the picture to the event file."""
        self.attempt(lambda: self.experiment.add_image("object", image, step, dataformats="HWC"))

    def conclude(self, verdict: str, step: int) -> None:
        """Add the text to the event file."""
        self.attempt(lambda: self.experiment.add_text("verdict", verdict, step))


class MLflow(OutsideLogger, MLFlowLogger):
    """A run of MLflow, on the server of ``MLFLOW_TRACKING_URI`` or in ``RUN/mlruns``."""

    title = "mlflow"

    def show(self, image: Levels, step: int) -> None:
        """Add the picture to the artifacts of the run."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"object_step_{step:06d}.png"
            path.write_bytes(png_of(image))
            self.attempt(lambda: self.experiment.log_artifact(self.run_id, str(path), "pictures"))

    def conclude(self, verdict: str, step: int) -> None:
        """Make the text a tag of the run, by which MLflow's table of runs can be sorted."""
        self.attempt(lambda: self.experiment.set_tag(self.run_id, "verdict", verdict))


class WeightsAndBiases(OutsideLogger, WandbLogger):
    """A run of Weights & Biases, with its files in ``RUN/wandb``."""

    title = "wandb"

    def show(self, image: Levels, step: int) -> None:
        """Add the picture to the run."""
        self.attempt(lambda: self.log_image("object", [image], step))

    def conclude(self, verdict: str, step: int) -> None:
        """Add the text to the summary of the run, which the table of runs shows."""
        self.attempt(lambda: self.experiment.summary.update({"verdict": verdict}))

    def end(self, *, failed: bool) -> None:
        """Finish the run, too; Lightning leaves that to the end of the process."""
        super().end(failed=failed)
        self.attempt(lambda: self.experiment.finish())


def start_loggers(
    names: Sequence[str], folder: Path, log: MetricsLog, record: dict[str, Any], *, resumed: bool
) -> list[OutsideLogger]:
    """Start the loggers that the settings name; those of a resumed run go on with their runs.

    Args:
        names: ``execution.logger``.
        folder: Folder of the run.
        log: The record ``metrics.csv``.
        record: What ``run.json`` holds; ``loggers`` in it are the ids of the loggers' runs, which this function adds.
        resumed: The run is resumed.

    Raises:
        ConfigError: If a logger cannot start: nobody is logged in, or no server answers.
    """
    built: list[OutsideLogger] = []
    ids: dict[str, str] = record.setdefault("loggers", {})
    for name in dict.fromkeys(names):
        if name not in _STARTS:
            continue
        is_new = not resumed or name not in ids
        try:
            logger = _STARTS[name](folder, log, ids)
            built.append(logger)
            logger.csv = log
            if is_new or name != MLflow.title:  # MLflow refuses settings that changed
                logger.log_hyperparams(dict(flatten(record["config"])))
        except Exception as error:
            for started in built:
                started.end(failed=True)
            message = f"execution.logger: {name} cannot start: {one_line(error).rstrip('.')}."
            raise ConfigError(message, hint=_HINTS.get(name, "Leave it out.")) from error
    return built


def _tensorboard(folder: Path, log: MetricsLog, ids: dict[str, str]) -> OutsideLogger:
    after = log.steps_done + 1  # events of steps that are repeated after a resume are hidden
    return TensorBoard(folder, name="", version=TENSORBOARD, default_hp_metric=False, purge_step=after)


def _mlflow(folder: Path, log: MetricsLog, ids: dict[str, str]) -> OutsideLogger:
    logging.getLogger(MLFlowLogger.__module__).setLevel(logging.ERROR)  # it warns that it makes an experiment
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # of 7, each twice as long, minutes in all
    server = os.environ.get("MLFLOW_TRACKING_URI")
    if not server:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 refuses folders without it
    logger = MLflow(
        os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT),
        run_name=folder.name,
        tracking_uri=server or (folder / MLFLOW).absolute().as_uri(),
        run_id=ids.get("mlflow"),
    )
    client, ids["mlflow"] = logger.experiment, str(logger.run_id)
    client.update_run(ids["mlflow"], status="RUNNING")
    return logger


def _wandb(folder: Path, log: MetricsLog, ids: dict[str, str]) -> OutsideLogger:
    import wandb

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=folder.name,
        dir=folder,
        id=ids.setdefault("wandb", uuid.uuid4().hex[:8]),
        resume="allow",
        # it would write into the display, and capture what is printed
        settings=wandb.Settings(silent=True, console="off"),
    )
    run.define_metric("trainer/global_step")  # the axis that Lightning's logger uses
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return WeightsAndBiases(experiment=run, save_dir=folder)


_STARTS = {TensorBoard.title: _tensorboard, MLflow.title: _mlflow, WeightsAndBiases.title: _wandb}
_HINTS = {
    MLflow.title: "Check MLFLOW_TRACKING_URI and its server, or leave the logger out.",
    WeightsAndBiases.title: "Log in with `wandb login`, or set WANDB_MODE=offline, or leave the logger out.",
}
