"""``live.html`` shows a training by itself alone, loads itself again while it runs, and stops at the end."""

from __future__ import annotations

import base64
import errno
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ptycho_cli.training.training_events import Events


class Reader(Events):
    """Keeps the page as it is after every epoch."""

    def __init__(self, page: Path) -> None:
        self.page, self.pages = page, []

    def step(self, step: int, epoch: int, learning_rate: float, loss: float, /) -> None:
        if self.page.exists():
            self.pages.append(self.page.read_text())


def reconstruct(assembled: Any) -> tuple[Any, Any]:
    return np.exp(0.1j * np.arange(30) * np.ones((20, 1))), np.ones((20, 30))


def test_the_page_follows_the_training(small_run: Any, tmp_path: Path) -> None:
    reader = Reader(tmp_path / "a<b" / "live.html")
    small_run(
        tmp_path / "a<b", live="html", epochs=3, picture_every=2, report=False, events=reader, reconstruct=reconstruct
    )

    last = reader.page.read_text()
    assert '<meta http-equiv="refresh"' in reader.pages[0]
    assert "Training: optimizer step 0 of 21, epoch 1 of 3." in reader.pages[0]
    assert "epoch 1 of 3" in reader.pages[8]
    assert "after epoch 2" in reader.pages[-1]
    assert "refresh" not in last
    assert "report.html" not in last
    assert "The training has ended at optimizer step 21 of 21, epoch 3 of 3." in last
    assert "a&lt;b" in last
    assert "a<b" not in last
    assert re.search(r"held-out frames</dt><dd>[\d.]+", last)
    (picture,) = re.findall(r"data:image/png;base64,([^\"]+)", last)
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (64, 20)
    assert not re.search(r"<script|https?://|url\(", last)
    assert not (tmp_path / "a<b" / ".live.html.part").exists()


def test_no_picture_is_made_where_nothing_shows_it(small_run: Any, tmp_path: Path) -> None:
    """Without a terminal, as in Python and in log files, ``terminal`` costs no reconstructions."""
    made = []
    small_run(tmp_path / "run", live="terminal", reconstruct=made.append)

    assert made == []


def test_a_page_that_cannot_be_written_does_not_end_the_training(
    small_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ptycho_cli.training.live_page_file.os", SimpleNamespace(replace=refuse))
    run = small_run(tmp_path / "run", live="html", reconstruct=reconstruct)

    assert run.applied_steps == 14
    assert not (tmp_path / "run" / "live.html").exists()
