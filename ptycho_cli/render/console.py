"""Consoles that print text as it is: no markup, no emoji, colour only on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def results_console(file: TextIO | None = None) -> Console:
    """Console for results; on standard output unless ``file`` names another."""
    from rich.console import Console

    return Console(file=file or sys.stdout, highlight=False, emoji=False, markup=False)


def messages_console() -> Console:
    """Console for progress and messages, on standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False, markup=False)


def print_folded(console: Console, text: str, style: str = "") -> None:
    """Print text that folds between words on a terminal and keeps its lines whole elsewhere."""
    console.print(text, style=style, soft_wrap=not console.file.isatty())


def print_text(text: str, file: TextIO | None = None) -> None:
    """Print text as ``print_folded`` does; on standard output unless ``file`` names another.

    Where nothing is folded, rich is not loaded.
    """
    out = file or sys.stdout
    if out.isatty():
        print_folded(results_console(out), text)
    else:
        print(text, file=out)
