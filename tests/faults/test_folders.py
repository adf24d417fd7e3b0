"""Folders that vanish or refuse to be written, odd names, and output that goes nowhere: one line, no traceback."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.render.live_display import LiveDisplay

NOBODY = 65534
GONE = "hint: Somebody renamed or removed the folder while the training ran.\n"
LOCKED = "ptycho train --resume {run} resumes the run. Check the folder and its permissions.\n"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter and write to; that of pytest belongs to one."""
    with tempfile.TemporaryDirectory(prefix="ptycho-test-") as name:
        os.chmod(name, 0o777)
        yield Path(name)


def at_step(wanted: int, action: Callable[[], object], *, as_nobody: bool) -> Callable[[], None]:
    """Do something to the run at an optimizer step; root may write everywhere, so ``as_nobody`` gives that up."""

    def before() -> None:
        original = LiveDisplay.step

        def step(self: LiveDisplay, step: int, *rest: Any) -> None:
            original(self, step, *rest)
            if step == wanted:
                action()

        LiveDisplay.step = step  # type: ignore[method-assign]
        if as_nobody and os.geteuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)

    return before


def removed(run: Path) -> None:
    shutil.rmtree(run)


def renamed(run: Path) -> None:
    run.rename(run.with_name("other"))


def read_only(run: Path) -> None:
    for folder in (run / "checkpoints", run):
        folder.chmod(0o555)


def no_folder_of_checkpoints(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").write_text("")


@pytest.mark.parametrize(
    ("change", "step", "hint"),
    [
        (removed, 7, GONE),
        (renamed, 15, GONE),
        (read_only, 7, "hint: Saved after optimizer step 5; " + LOCKED),
        (read_only, 15, "hint: Saved after optimizer step 10; " + LOCKED),
        (no_folder_of_checkpoints, 7, "hint: Check the folder and its permissions.\n"),
    ],
)
def test_a_folder_that_changes_while_a_run_trains_ends_it_in_one_line(
    start: Any, tiny_scan: Path, small_training: tuple[str, ...], open_folder: Path, change: Any, step: int, hint: str
) -> None:
    run, scan = open_folder / "run", shutil.copy(tiny_scan, open_folder / "scan.h5")
    before = at_step(step, lambda: change(run), as_nobody=change is read_only)

    ended = start("train", scan, "-o", run, *small_training, before=before).wait()

    error, _, rest = ended.err.partition("\n")
    assert ended.code == 3
    assert error.startswith(f"error: {run}: cannot be written (")
    assert rest == hint.format(run=run)
    left = [path.name for path in open_folder.rglob("*.part")]
    assert left == []


TOO_LONG, NOT_UTF8 = "n" * 300 + ".h5", os.fsdecode(b"na\xffme.h5")


@pytest.mark.parametrize("name", [TOO_LONG, NOT_UTF8, "file/below.h5"])
@pytest.mark.parametrize(
    "words",
    [
        ("train", "SCAN", "-o", "NAME", "--dry-run"),
        ("train", "NAME", "-o", "new"),
        ("train", "--resume", "NAME"),
        ("train", "SCAN", "-o", "new", "--init-from", "NAME"),
        ("infer", "NAME", "SCAN", "-o", "new.h5"),
        ("evaluate", "NAME", "--data", "SCAN"),
        ("simulate", "-o", "NAME"),
        ("data", "check", "NAME"),
        ("data", "convert", "SCAN", "-o", "NAME"),
        ("inspect-config", "-c", "NAME"),
        ("inspect-config", "--from-run", "NAME"),
    ],
    ids=" ".join,
)
def test_a_name_that_cannot_be_used_is_refused_before_anything_is_computed(
    tiny_scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, words: tuple[str, ...], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x")

    assert main([{"SCAN": str(tiny_scan), "NAME": name}.get(word, word) for word in words]) == 2

    error, *more = capfd.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert all(line.startswith(("hint: ", "Try ")) for line in more)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_device_and_a_closed_pipe_end_a_command_quietly(start: Any) -> None:
    def to_full_device() -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)

    def to_closed_pipe() -> None:
        reads, writes = os.pipe()
        os.close(reads)
        os.dup2(writes, 1)

    full = start("config", "schema", before=to_full_device).wait()
    closed = start("config", "schema", before=to_closed_pipe).wait()

    assert full == (3, "", "error: standard output or a file: No space left on device.\n")
    assert closed == (1, "", "")
