"""Frames that stay in the files which RosettaSciIO opens."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers.source import opened_source
from ptycho_cli.data.stored_frames import FramePart, StoredFrames
from ptycho_em.formats import FORMATS
from ptycho_em.signals import Format, damaged, opened_signal

if TYPE_CHECKING:
    from ptycho_cli.data.readers.source import Source


@dataclass(frozen=True)
class SignalPart(FramePart):
    """Frames in a file of a format, which ``name`` names.

    Attributes:
        options: How the file is read.
    """

    options: ReadOptions = field(default_factory=ReadOptions)


class SignalFrames(StoredFrames):
    """Frames of one file, which is opened again in each process that reads."""

    def with_frames_last(self) -> None:
        """None: RosettaSciIO says which axes are those of the frames."""

    def _read_part(self, part: FramePart, start: int, stop: int) -> Any:
        form = next(form for form in FORMATS if form.name == part.name)
        try:
            return np.asarray(self._frames(form, part)[start:stop].compute(scheduler="synchronous"))
        except (OSError, ValueError, RuntimeError) as error:
            raise damaged(form, part.path, error) from None

    def _frames(self, form: Format, part: FramePart) -> Any:
        assert isinstance(part, SignalPart)
        if self._opened_by != os.getpid():
            self._open, self._opened_by = {}, os.getpid()
        if part not in self._open:
            with opened_source(Path(part.path), part.options) as source, opened_signal(form, source) as signal:
                self._open[part] = _flat(signal.data)
        return self._open[part]


def stored_signal(form: Format, source: Source, data: Any) -> SignalFrames:
    """The frames of an open signal ``(row, column, y, x)`` or ``(frame, y, x)``; ``source.max_frames`` bounds them."""
    flat = _flat(data)
    number = len(flat) if source.max_frames is None else min(len(flat), source.max_frames)
    part = SignalPart(source.name, form.name, number, options=source.options)
    frames = SignalFrames((part,), flat.shape[1:], flat.dtype, int(flat.chunks[0][0]))
    frames._open[part] = flat
    return frames


def _flat(data: Any) -> Any:
    """The frames of a signal in one stack."""
    return data.reshape(-1, *data.shape[-2:]) if data.ndim == 4 else data
