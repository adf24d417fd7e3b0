"""Keeps ``live.html`` in the folder of a run up to date while the training runs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ptycho_cli.render.live_page import LiveFigures, live_page
from ptycho_cli.render.object_image import object_image, png_of
from ptycho_cli.training.training_events import Events, TrainingLength

LIVE = "live.html"
_EVERY_S = 2.0  # at most so often; a page costs about a millisecond
_POINTS = 600  # of the curve; more do not fit on a page


class LivePageFile(Events):
    """Writes the page at events; one that cannot be written does not end the training.

    Args:
        folder: Folder of the run.
        report: A report follows the training.
    """

    shows_pictures = True

    def __init__(self, folder: Path, *, report: bool) -> None:
        self._folder, self._report = folder, report
        self._length: TrainingLength | None = None
        self._began_s = self._written_s = 0.0
        self._step, self._epoch, self._rate = 0, 0, 0.0
        self._losses: list[tuple[int, float]] = []
        self._held_out: list[tuple[int, float]] = []
        self._picture, self._picture_title = b"", ""

    def started(self, length: TrainingLength, /) -> None:
        """Write the first page."""
        self._length, self._step, self._began_s = length, length.done_steps, time.monotonic()
        self._write()

    def step(self, step: int, epoch: int, learning_rate: float, loss: float, /) -> None:
        """Keep the figures of a step, and write them now and then."""
        self._step, self._epoch, self._rate = step, epoch, learning_rate
        self._losses.append((step, loss))
        if len(self._losses) > 2 * _POINTS:
            self._losses = self._losses[::2]
        if time.monotonic() - self._written_s > _EVERY_S:
            self._write()

    def epoch(self, epoch: int, losses: Mapping[str, float], /) -> None:
        """Write the page at the end of an epoch."""
        if "val_loss" in losses:
            self._held_out.append((self._step, losses["val_loss"]))
        self._write()

    def picture(self, epoch: int, field: Any, coverage: Any, /) -> None:
        """Take the picture into the page, which is written after the epoch."""
        self._picture = png_of(object_image(field, coverage))
        self._picture_title = f"Amplitude and phase (plane removed) after epoch {epoch + 1}."

    def ended(self) -> None:
        """Write the last page, which does not load itself again."""
        self._write(ended=True)

    def _write(self, *, ended: bool = False) -> None:
        if self._length is None:
            return
        self._written_s = time.monotonic()
        temporary = self._folder / f".{LIVE}.part"
        with suppress(OSError):
            temporary.write_text(live_page(self._figures(self._length, ended=ended)), encoding="utf-8")
            os.replace(temporary, self._folder / LIVE)

    def _figures(self, length: TrainingLength, *, ended: bool) -> LiveFigures:
        total = length.epochs * length.steps_per_epoch
        steps = max(self._step - length.done_steps, 1)
        left_s = (time.monotonic() - self._began_s) / steps * (total - self._step)
        state = (
            f"optimizer step {self._step} of {total}, epoch {min(self._epoch + 1, length.epochs)} of {length.epochs}"
        )
        figures = [("learning rate", f"{self._rate:.3g}")] if self._losses else []
        figures += [("loss of the step", f"{value:.5g}") for _, value in self._losses[-1:]]
        figures += [("held-out frames", f"{value:.5g}") for _, value in self._held_out[-1:]]
        figures += [] if ended or not self._losses else [("time left", _clock(left_s))]
        return LiveFigures(
            title=self._folder.name,
            state=f"The training has ended at {state}." if ended else f"Training: {state}.",
            done=(self._step, total),
            figures=figures,
            losses=self._losses,
            held_out=self._held_out,
            picture=self._picture,
            picture_title=self._picture_title,
            updated=time.strftime("%H:%M:%S"),
            report=self._report,
            reload=not ended,
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
