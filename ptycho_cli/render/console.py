"""Consoles that print text as it is: no markup, no emoji, colour only on a terminal.

Names and messages come from files and from plugins. Whatever is printed passes here, where characters that could move
the cursor, change colours or begin a line of their own are escaped.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO

from ptycho_cli.config.values import printable

if TYPE_CHECKING:
    from rich.console import Console


@cache
def _console_class() -> type[Console]:
    """The class, defined on first use because rich is slow to load."""
    from rich.console import Console
    from rich.text import Text

    class PrintableConsole(Console):
        """Escapes what is not printable in plain texts, also in the cells of tables; these may have several lines."""

        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str("\n".join(map(printable, text.split("\n"))), **options)

    return PrintableConsole


def results_console(file: TextIO | None = None) -> Console:
    """Console for results; on standard output unless ``file`` names another."""
    return _console_class()(file=file or sys.stdout, highlight=False, emoji=False, markup=False)


def messages_console() -> Console:
    """Console for progress and messages, on standard error."""
    return _console_class()(stderr=True, highlight=False, emoji=False, markup=False)


def print_folded(console: Console, *lines: str, style: str = "") -> None:
    """Print lines that fold between words on a terminal and stay whole elsewhere."""
    console.print("\n".join(map(printable, lines)), style=style, soft_wrap=not console.file.isatty())


def print_text(*lines: str, file: TextIO | None = None) -> None:
    """Print lines as ``print_folded`` does; on standard output unless ``file`` names another.

    Where nothing is folded, rich is not loaded.
    """
    out = file or sys.stdout
    if out.isatty():
        print_folded(results_console(out), *lines)
    else:
        print("\n".join(map(printable, lines)), file=out)
