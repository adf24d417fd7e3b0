"""Standard output for the report of a command alone, which other programs read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO

_report_stream: TextIO | None = None  # where a report goes, while standard output is taken


@contextmanager
def report_alone() -> Iterator[None]:
    """Keep standard output for the report of a command: whatever plugins and libraries print goes to standard error."""
    global _report_stream
    sys.stdout.flush()
    before = sys.stdout
    with ExitStack() as undo:
        undo.callback(setattr, sys, "stdout", before)
        if _is_file(before, 1) and _is_file(sys.stderr, 2):  # then also for child processes and libraries in C
            _report_stream = undo.enter_context(open(os.dup(1), "w", encoding=before.encoding, errors=before.errors))
            undo.callback(os.dup2, _report_stream.fileno(), 1)
            os.dup2(2, 1)
        else:
            _report_stream = before
        sys.stdout = sys.stderr
        try:
            yield
        finally:
            _report_stream = None


def _is_file(stream: TextIO, number: int) -> bool:
    """True if a stream is one that the process got from its parent."""
    try:
        return stream.fileno() == number
    except (OSError, ValueError):  # replaced, as in a notebook
        return False


def print_report(text: str, *, end: str = "\n") -> None:
    """Print the report of a command to its standard output."""
    print(text, end=end, file=_report_stream or sys.stdout, flush=True)
