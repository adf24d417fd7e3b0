"""A study: trials of trainings in one folder, with Optuna's record of them, which other calls continue or share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from ptycho_cli.config.provenance import Resolved
from ptycho_cli.config.serialize import config_to_json
from ptycho_cli.errors import ConfigError, InterruptedRunError, OutputError, TrainingError
from ptycho_cli.extend.host import Host
from ptycho_cli.progress_callback import StageProgress
from ptycho_cli.training.run_lock import RunLock, trains
from ptycho_cli.training.start_options import StartOptions
from ptycho_cli.training.stop_request import StopRequest
from ptycho_cli.training.training_events import Events, TrainingLength
from ptycho_tune.search_space import Searched, value_of, with_values

JOURNAL, LOCK, BEST = "study.journal", "study.lock", "best.yaml"
STARTUP_TRIALS = 4  # that are never pruned, and are drawn at random
MOST_FAILURES = 3  # in a row, before the study ends
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_WAIT_S = 60.0  # for another process that begins a trial
_NOT_COMPARED = ("execution", "pictures", "checkpoint", "inference")


@dataclass(frozen=True)
class Plan:
    """What a study does.

    Attributes:
        base: The settings around the search.
        host: The installed plugins.
        searches: The settings that are searched.
        folder: Folder of the study.
        n_trials: Finished trials after which it ends, those of earlier calls included.
        pruning: End trials early whose held-out deviance is above the median of earlier ones.
        time_limit_s: Begin no trial after this time; None for no limit.
    """

    base: Resolved
    host: Host
    searches: tuple[Searched, ...]
    folder: Path
    n_trials: int
    pruning: bool = True
    time_limit_s: float | None = None

    def folder_of(self, number: int) -> Path:
        """Folder in which a trial trains."""
        return self.folder / f"trial_{number:04d}"


def open_study(plan: Plan) -> optuna.Study:
    """Open the study in the folder, or begin one; several processes may work on it.

    Raises:
        OutputError: If the folder holds something else.
        ConfigError: If it was begun with other settings or another search.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal = plan.folder / JOURNAL
    if plan.folder.exists() and not journal.exists() and any(item.name != LOCK for item in plan.folder.iterdir()):
        raise OutputError(f"{plan.folder}: the folder is not empty.", hint="Choose another with -o.")
    plan.folder.mkdir(parents=True, exist_ok=True)
    with _alone(plan):
        study = _load(plan, journal)
        _end_killed(study, plan)
    return study


@contextmanager
def _alone(plan: Plan) -> Iterator[None]:
    """Keep the other processes of the study waiting for a moment."""
    try:
        with FileLock(str(plan.folder / LOCK), timeout=_WAIT_S):
            yield
    except Timeout:
        raise OutputError(f"{plan.folder / LOCK}: another process does not release it.", hint="End it.") from None


def _end_killed(study: optuna.Study, plan: Plan) -> None:
    """Mark trials as failed whose process was killed: nobody holds the lock of their folder."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not trains(plan.folder_of(trial.number)):
            study.tell(trial.number, state=TrialState.FAIL)


def _load(plan: Plan, journal: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(journal)))
    median = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS)
    pruner = median if plan.pruning else optuna.pruners.NopPruner()
    study = optuna.create_study(storage=storage, study_name="ptycho", load_if_exists=True, pruner=pruner)
    _compare(study, plan)
    if not study.trials:
        given = {item.key: value_of(plan.base, item.key) for item in plan.searches if _is_set(plan.base, item.key)}
        if all(item.key in given and item.contains(given[item.key]) for item in plan.searches):
            study.enqueue_trial(given)
    return study


def _is_set(base: Resolved, key: str) -> bool:
    return any(item.key == key for item in base.decisions)


def _compare(study: optuna.Study, plan: Plan) -> None:
    """Keep settings and search of a new study; refuse others for an old one, whose losses would not compare."""
    config = {group: values for group, values in config_to_json(plan.base.config).items() if group not in _NOT_COMPARED}
    config["training"] = {
        key: value for key, value in config["training"].items() if key not in ("output_dir", "report")
    }
    now = {"settings": config, "search": [item.text() for item in plan.searches]}
    before: Mapping[str, Any] = study.user_attrs
    if not before:
        for name, value in now.items():
            study.set_user_attr(name, value)
        return
    if before["search"] != now["search"]:
        raise ConfigError(
            f"{plan.folder}: this study searches {' '.join(before['search'])}, not {' '.join(now['search'])}.",
            hint="Type the same --search, or choose another folder with -o.",
        )
    if differing := [group for group, values in config.items() if before["settings"].get(group) != values]:
        others = ", ".join(differing)
        raise ConfigError(
            f"{plan.folder}: this study began with other settings of {others}; its trials do not compare.",
            hint="Type the same settings, or choose another folder with -o.",
        )


class Watch(Events):
    """Reports the held-out deviance of every epoch to a trial, and ends the training where the study prunes it."""

    def __init__(self, trial: optuna.Trial, stop: StopRequest, progress: StageProgress) -> None:
        self._trial, self._stop, self._progress = trial, stop, progress
        self._epochs = 0
        self.losses: list[float] = []
        self.pruned = False

    def started(self, length: TrainingLength, /) -> None:
        """Keep the length, for the progress."""
        self._epochs = length.epochs

    def epoch(self, epoch: int, losses: Mapping[str, float], /) -> None:
        """Report one epoch."""
        self._progress(f"trial {self._trial.number}: training", epoch + 1, self._epochs)
        if "val_loss" not in losses:
            raise ConfigError(
                "there are no held-out frames to compare trials by.", hint="Raise data.validation_fraction."
            )
        self.losses.append(losses["val_loss"])
        self._trial.report(losses["val_loss"], epoch)
        if self._trial.should_prune() and epoch + 1 < self._epochs:
            self.pruned = True
            self._stop.end("pruned by ptycho tune")


def run(study: optuna.Study, plan: Plan, told: Callable[[FrozenTrial], None], progress: StageProgress) -> None:
    """Train until the study has its trials, or other processes train the last of them.

    Args:
        study: From :func:`open_study`.
        plan: What to do.
        told: Receives each trial that ended.
        progress: Called with (stage, steps done, steps in all).

    Raises:
        InterruptedRunError: If the user pressed Ctrl-C; finished trials are kept.
        TrainingError: If several trials in a row fail.
    """
    begin, failures = time.monotonic(), 0
    while plan.time_limit_s is None or time.monotonic() - begin <= plan.time_limit_s:
        with RunLock() as lock:
            trial = _begin(study, plan, lock)
            if trial is None:
                return
            try:
                losses, pruned = _train(trial, plan, lock, progress)
            except TrainingError as error:
                trial.set_user_attr("error", error.message)
                study.tell(trial, state=TrialState.FAIL)
                failures += 1
                if failures == MOST_FAILURES:
                    raise
            except BaseException:
                study.tell(trial, state=TrialState.FAIL)
                raise
            else:
                failures = 0
                if pruned:
                    study.tell(trial, state=TrialState.PRUNED)
                else:
                    study.tell(trial, min(losses))
        told(study.trials[trial.number])


def n_finished(study: optuna.Study) -> int:
    """Trials that are completed or pruned."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def _begin(study: optuna.Study, plan: Plan, lock: RunLock) -> optuna.Trial | None:
    """Begin a trial and lock its folder; None if those that are finished or are trained elsewhere are enough."""
    with _alone(plan):
        _end_killed(study, plan)
        running = len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
        if n_finished(study) + running >= plan.n_trials:
            return None
        # a seed for each trial: another process, or a later one, would draw the same values again
        seed = plan.base.config.training.seed + len(study.trials)
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, constant_liar=True)
        trial = study.ask()
        for item in plan.searches:
            item.suggest(trial)  # while other processes wait, so that they propose other values
        folder = plan.folder_of(trial.number)
        folder.mkdir(exist_ok=True)
        lock.take(folder)
        return trial


def _train(trial: optuna.Trial, plan: Plan, lock: RunLock, progress: StageProgress) -> tuple[list[float], bool]:
    """Train with the values of a trial, without the final reconstruction."""
    from ptycho_cli.training.training_run import run_training
    from ptycho_cli.workflows import assemble

    values: dict[str, Any] = {item.key: item.suggest(trial) for item in plan.searches}
    values["training.output_dir"] = str(plan.folder_of(trial.number))
    resolved = with_values(plan.base, plan.host.catalogue(), values, f"trial {trial.number}")
    stop = StopRequest()
    watch = Watch(trial, stop, progress)

    def report(stage: str, done: int, total: int) -> None:
        stop.quit_if_signalled()
        progress(f"trial {trial.number}: {stage}", done, total)

    with stop.listening():
        assembled = assemble(resolved, plan.host, report)
        run_training(resolved, plan.host, assembled, StartOptions(force=True), events=watch, stop=stop, lock=lock)
    if stop.requested and not watch.pruned:
        raise InterruptedRunError("stopped.")
    return watch.losses, watch.pruned
