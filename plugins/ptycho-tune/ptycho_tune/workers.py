"""Several processes that work on one study: ``python -m ptycho_tune.workers ARGUMENTS`` runs one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, NamedTuple

from ptycho_cli.errors import ConfigError, InterruptedRunError, TrainingError
from ptycho_cli.progress_callback import StageProgress
from ptycho_cli.training.stop_request import StopRequest
from ptycho_tune.study import Plan, n_finished

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

THREADS = "OMP_NUM_THREADS"
_LOOK_EVERY_S = 0.5


class _Worker(NamedTuple):
    process: subprocess.Popen[bytes]
    errors: IO[bytes]  # its standard error

    def message(self) -> str:
        """Its error message, or the last line that it printed to standard error."""
        self.errors.seek(0)
        lines = [line for line in self.errors.read().decode(errors="replace").splitlines() if line.strip()]
        found = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return (found or lines or [f"a process ended with exit code {self.process.returncode}."])[-1]


def run_workers(
    study: optuna.Study,
    plan: Plan,
    arguments: Sequence[str],
    jobs: int,
    told: Callable[[FrozenTrial], None],
    progress: StageProgress,
) -> None:
    """Run the command in several processes until the study has its trials.

    Args:
        study: The study.
        plan: What to do.
        arguments: The words after ``ptycho``.
        jobs: Processes; each gets its part of the cores, unless ``OMP_NUM_THREADS`` is set.
        told: Receives each trial that ended.
        progress: Called with (stage, trials done, trials in all).

    Raises:
        InterruptedRunError: If the user pressed Ctrl-C; finished trials are kept.
        ConfigError: If a process refuses settings or data.
        TrainingError: If processes end before the study has its trials.
    """
    jobs = min(jobs, plan.n_trials - n_finished(study))
    with ExitStack() as files:
        workers = [_start(arguments, jobs, files.enter_context(tempfile.TemporaryFile())) for _ in range(jobs)]
        try:
            with StopRequest().listening():
                _watch(workers, study, told, lambda done: progress(f"{jobs} trials at a time", done, plan.n_trials))
        except InterruptedRunError:
            for worker in workers:
                worker.process.send_signal(signal.SIGINT)
            raise InterruptedRunError("stopped.") from None
        finally:
            for worker in workers:
                worker.process.stdin.close()  # type: ignore[union-attr]
                worker.process.wait()
        failed = next((worker for worker in workers if worker.process.returncode), None)
        if failed is not None and n_finished(study) < plan.n_trials:
            refused = failed.process.returncode == ConfigError.exit_code
            raise (ConfigError if refused else TrainingError)(failed.message())


def _watch(
    workers: Sequence[_Worker],
    study: optuna.Study,
    told: Callable[[FrozenTrial], None],
    progress: Callable[[int], None],
) -> None:
    """Report trials that end, until all processes have ended."""
    known = {trial.number for trial in study.trials if trial.state.is_finished()}
    are_over = False
    while not are_over:
        are_over = all(worker.process.poll() is not None for worker in workers)
        for trial in study.trials:
            if trial.state.is_finished() and trial.number not in known:
                known.add(trial.number)
                told(trial)
        progress(n_finished(study))
        time.sleep(0 if are_over else _LOOK_EVERY_S)


def _start(arguments: Sequence[str], jobs: int, errors: IO[bytes]) -> _Worker:
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments, "--jobs", "1", "--quiet"],
        env={THREADS: threads, **os.environ},
        stdin=subprocess.PIPE,  # it stops when this process ends and closes the pipe
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,  # Ctrl-C reaches this process only, which stops the others
    )
    return _Worker(process, errors)


def _stop_with_parent() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    from ptycho_cli.cli.app import main

    sys.exit(main())
