"""The live display on a terminal: one row, nearly always visible, and all other text complete above it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from ptycho_cli.render.live_display import LiveDisplay

WIDTH = 80
BAR = "━"
_TERMINAL = {"TERM": "xterm", "COLUMNS": str(WIDTH), "LINES": "30", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")

BUSY = """
import sys, time, warnings
from types import SimpleNamespace
from ptycho_cli.render.live_display import LiveDisplay

with LiveDisplay() as display:
    display.progress("loading", 0, 0)
    time.sleep(0.3)
    for done in range(20):
        display.progress("refining", done, 20)
        time.sleep(0.02)
    display.result("a line of the result")
    display.note("a note that is longer than one line of the terminal, which folds it between words, not inside any")
    display.effective({"devices": 2}, {"devices": 1}, {"devices": "only one is there"})
    display.started(SimpleNamespace(epochs=2, steps_per_epoch=20, done_steps=0, frames_per_step=32.0))
    with LiveDisplay() as second:  # a command inside a command
        for step in range(40):
            display.step(step + 1, step // 20, 1e-3, 0.5)
            second.progress("inner", step, 40)
            time.sleep(0.03)
            if step == 10:
                warnings.warn("a warning of torch", stacklevel=1)
            if step == 25:
                print("printed by a callback")
    display.ended()
print("done")
"""


PICTURES = """
import time
from types import SimpleNamespace
import numpy as np
from ptycho_cli.render.live_display import LiveDisplay

y, x = np.mgrid[:60, :90]
with LiveDisplay(picture=True) as display:
    display.started(SimpleNamespace(epochs=3, steps_per_epoch=5, done_steps=0, frames_per_step=32.0))
    for epoch in range(3):
        for step in range(5):
            display.step(5 * epoch + step + 1, epoch, 1e-3, 0.5)
            time.sleep(0.1)
        display.picture(epoch, np.exp(1j * ((x - 45) ** 2 + (y - 30) ** 2 < 400)), np.ones((60, 90)))
    display.note("a note")
    time.sleep(0.3)
print("done")
"""


class Screen:
    """A small terminal: lines of text, cursor movements and erasures."""

    def __init__(self) -> None:
        self.lines, self.row, self.column, self._rest = [""], 0, 0, ""

    def write(self, text: str) -> None:
        text = self._rest + text
        cut = text.rfind("\x1b") if re.search(r"\x1b[^A-Za-z]*$", text) else len(text)
        text, self._rest = text[:cut], text[cut:]
        for argument, control, move, plain in _CONTROL.findall(text):
            if move:
                self.row, self.column = self.row + (move == "\n"), 0
            elif control == "A":
                self.row = max(0, self.row - int(argument or 1))
            elif control == "K":
                self.lines[self.row] = ""
            for character in plain:
                if self.column == WIDTH:
                    self.row, self.column = self.row + 1, 0
                self._extend()
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
                self.column += 1
            self._extend()

    def _extend(self) -> None:
        self.lines += [""] * (self.row + 1 - len(self.lines))

    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.lines]


@dataclass(frozen=True)
class Frame:
    """Lines on a terminal, and how long they stay."""

    lines: list[str]
    seconds: float

    @property
    def rows(self) -> list[str]:
        return [line for line in self.lines if BAR in line]


def frames_of(words: list[str], folder: Path, stdout: IO[bytes] | None = None) -> list[Frame]:
    """Run a program in a pseudo-terminal; return its lines after each piece that the program wrote.

    ``stdout`` is where its results go, if not to the terminal.
    """
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PTYCHO_", "FORCE_COLOR"))}
    program = subprocess.Popen(
        words,
        stdin=theirs,
        stdout=stdout or theirs,
        stderr=theirs,
        cwd=folder,
        env={**kept, **_TERMINAL},
    )
    os.close(theirs)
    screen, frames, undecoded, since = Screen(), [], b"", time.monotonic()
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux's way to say that the program has closed its end
            piece = b""
        now = time.monotonic()
        frames.append(Frame(screen.shown(), now - since))
        since = now
        if not piece:
            break
        undecoded += piece
        text = undecoded.decode(errors="ignore")
        undecoded = undecoded[len(text.encode()) :]
        screen.write(text)
    os.close(ours)
    assert program.wait(timeout=60) == 0, "\n".join(screen.shown())
    return frames


def share_with_a_row(frames: list[Frame]) -> float:
    """Share of the time between the first and the last row in which a row is visible."""
    seen = [number for number, frame in enumerate(frames) if frame.rows]
    between = frames[seen[0] : seen[-1] + 1]
    return sum(frame.seconds for frame in between if frame.rows) / sum(frame.seconds for frame in between)


def test_one_row_is_visible_and_all_other_text_is_complete_above_it(tmp_path: Path) -> None:
    frames = frames_of([sys.executable, "-c", BUSY], tmp_path)

    assert max(len(frame.rows) for frame in frames) == 1
    assert share_with_a_row(frames) > 0.95
    assert not [frame for frame in frames if any("inner" in line for line in frame.lines)]
    training = [row for frame in frames for row in frame.rows if "epoch 2/2" in row]
    assert any(re.search(r"loss 0\.5  lr 0\.001  \d+ frames/s 0:00:0\d", row) for row in training)
    assert any(re.search(r"refining .* 1\d/20  [\d.]+/s 0:00:0\d", row) for frame in frames for row in frame.rows)

    assert not frames[-1].rows
    last = [line for line in frames[-1].lines if line]
    assert "note: a note that is longer than one line of the terminal, which folds it" in last
    assert "between words, not inside any" in last
    assert "a line of the result" in last
    assert any(re.fullmatch(r"devices +1 +2 +only one is there", line) for line in last)
    assert any(line.endswith("a warning of torch") for line in last)
    assert "printed by a callback" in last
    assert last[-1] == "done"


def test_a_row_is_visible_throughout_a_training(small_scan: Path, tmp_path: Path) -> None:
    """The program shows one row in nearly all of its time, and never two."""
    smaller = "--network-option stages=3 --probe-modes 1 --set inference.tv_weight=0 --set inference.polish=8"
    words = f"train {small_scan} -o run --epochs 2 --n-groups 12 --group-size 16 {smaller}".split()

    frames = frames_of([sys.executable, "-m", "ptycho_cli", *words], tmp_path)

    assert max(len(frame.rows) for frame in frames) == 1
    assert share_with_a_row(frames) > 0.95
    rows = [frame.rows[0] for frame in frames if frame.rows]
    assert any(re.search(r"^epoch .* loss \S+  lr \S+  \d+ frames/s 0:0\d:\d\d$", row) for row in rows)
    assert {row.partition(" ")[0] for row in rows} >= {"loading", "epoch", "network"}
    assert not frames[-1].rows
    assert any(line.startswith("effective ") for line in frames[-1].lines)


def test_a_picture_stays_above_the_row_and_is_gone_at_the_end(tmp_path: Path) -> None:
    frames = frames_of([sys.executable, "-c", PICTURES], tmp_path)

    assert max(len(frame.rows) for frame in frames) == 1
    shown = [frame.lines for frame in frames if "phase after epoch 2" in frame.lines]
    assert shown
    for lines in shown:
        assert len([line for line in lines if "▀" in line]) == 24  # 48 of the 60 rows of pixels, all squares
        assert re.match("epoch ", lines[lines.index("phase after epoch 2") + 1])
    assert max(len(line.strip()) for line in shown[0] if "▀" in line) == 72
    assert [line for line in frames[-1].lines if line] == ["note: a note", "done"]


def test_results_in_a_file_do_not_appear_on_the_terminal(tmp_path: Path) -> None:
    with (tmp_path / "results").open("wb") as results:
        frames = frames_of([sys.executable, "-c", BUSY], tmp_path, results)

    printed = (tmp_path / "results").read_text()
    assert "only one is there" in printed
    assert "printed by a callback\ndone\n" in printed
    assert any(frame.rows for frame in frames)
    assert not [line for line in frames[-1].lines if "printed by a callback" in line or "only one is there" in line]


def test_without_a_terminal_stages_print_nothing_and_each_epoch_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    class Size:
        epochs, steps_per_epoch, done_steps, frames_per_step = 3, 2, 0, 16.0

    with LiveDisplay() as display:
        display.progress("loading torch", 0, 0)
        display.note("n" * 100)
        display.started(Size())
        display.step(1, 0, 1e-3, 0.7)
        display.epoch(0, {"train_loss": 0.7, "val_loss": 0.65})
        display.ended()

    note, epoch = capsys.readouterr().err.splitlines()
    assert note == "note: " + "n" * 100
    assert re.fullmatch(
        r"epoch 1/3  train_loss 0\.7  val_loss 0\.65  learning_rate 0\.001  \d+ frames/s  \d+ s left", epoch
    )


def test_quiet_shows_only_the_answer_to_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveDisplay(quiet=True) as display:
        display.progress("loading torch", 0, 0)
        display.note("a note")
        display.effective({"devices": 2}, {"devices": 1}, {"devices": "only one is there"})
        display.stopping()

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "Stopping after this step; press Ctrl-C again to quit at once.\n"
