"""The smallest training, and commands in processes of their own, which faults can hit without ending the tests."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ptycho_cli.cli.app import main

NETWORK = ("stages=1", "subsets=1", "width=4")
SMALL = (
    *("--n-groups", "5", "--group-size", "6", "--accelerator", "cpu", "--epochs", "3", "--no-report", "--quiet"),
    *("--set", "physics.probe_warmup=0", "--set", "inference.polish=2"),
    *(word for option in NETWORK for word in ("--network-option", option)),
)


NUMBERS = ("PTYCHO_KILLS", "PTYCHO_KILLS_FROM", "PTYCHO_FUZZ", "PTYCHO_FUZZ_FROM", "PTYCHO_MUTATIONS")


@pytest.fixture(scope="session", autouse=True)
def without_numbers() -> None:
    """The numbers of trials, which the tests have read by now, are no settings: each command would warn of them."""
    for name in NUMBERS:
        os.environ.pop(name, None)


class Ended(NamedTuple):
    """How a command ended: its exit code, negative for the signal that killed it, and what it printed."""

    code: int
    out: str
    err: str


class Command:
    """A command of the program in a forked process: it starts in no time, since everything is imported already."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, before: Callable[[], object] | None = None) -> None:
        self._files = [folder / f".{name}.{time.monotonic_ns()}" for name in ("out", "err")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # about forks in a process with threads
            self.pid = os.fork()
        if self.pid == 0:
            self._run(arguments, before)

    def _run(self, arguments: tuple[str, ...], before: Callable[[], object] | None) -> None:
        code = 1
        try:
            os.setsid()
            for descriptor, file in enumerate(self._files, start=1):
                os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
            sys.stdout, sys.stderr = (
                os.fdopen(number, "w", errors="backslashreplace", closefd=False) for number in (1, 2)
            )
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if before is not None:
                before()
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)

    def kill(self) -> None:
        """Kill it, and what it has started."""
        os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        """Wait for its end."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        out, err = (file.read_text() if file.exists() else "" for file in self._files)
        for file in self._files:
            file.unlink(missing_ok=True)
        return Ended(code, out, err)


@pytest.fixture(scope="session")
def tiny_scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with 24 frames of 16 px."""
    from ptycho_cli.data.simulation import simulate
    from ptycho_cli.data.write import write_scan

    path = tmp_path_factory.mktemp("faults") / "scan.h5"
    write_scan(path, simulate(n_frames=24, n_pixels=16, photons=1e5, seed=1))
    return path


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_scan: Path) -> Path:
    """The small run that nothing happens to; afterwards all that a training needs is imported."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert main(["train", str(tiny_scan), "-o", str(run), *SMALL]) == 0
    return run


@pytest.fixture
def start(tmp_path: Path, whole: Path) -> Callable[..., Command]:
    """Start a command: ``start("train", ..., before=function)``; ``before`` is called in its process first."""
    return lambda *words, before=None: Command(tuple(map(str, words)), tmp_path, before)


@pytest.fixture(scope="session")
def small_training() -> tuple[str, ...]:
    """Options of a training of three epochs of five optimizer steps."""
    return SMALL
