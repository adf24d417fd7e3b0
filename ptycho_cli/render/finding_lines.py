"""Assumptions and findings about a scan as lines of text."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from ptycho_cli.config.values import printable

if TYPE_CHECKING:
    from ptycho_cli.data.findings.finding import Finding

ORDER = ("error", "warning", "fixed", "note")
INDENT = " " * 10


def scan_lines(assumptions: Iterable[str], findings: Iterable[Finding], file: TextIO | None = None) -> list[str]:
    """Describe a scan: a line for each assumption, then the findings, the most severe first.

    Args:
        assumptions: The assumptions.
        findings: The findings: severity, message, id and the setting that changes it.
        file: Where the lines go, by default standard output. On a terminal they are folded to its width.
    """
    width = columns(file or sys.stdout)
    lines = [line for text in assumptions for line in folded("assumed", text, width)]
    for finding in sorted(findings, key=lambda item: ORDER.index(item.severity)):
        lines += folded(finding.severity, finding.message, width)
        lines += folded("", with_setting(finding.id, finding.setting), width)
    return lines


def with_setting(id: str, setting: str | None) -> str:
    """The id of a finding and the words that change it: ``positions-axes: --set data.flip_positions=y``."""
    return id if setting is None else f"{id}: --set {setting.replace(' ', ' --set ')}"


def columns(file: TextIO) -> int | None:
    """Columns of a terminal; None where lines go to a file or to another program."""
    return shutil.get_terminal_size().columns if file.isatty() else None


def folded(label: str, text: str, width: int | None) -> list[str]:
    """A text behind a label of up to nine letters, folded to a width; None leaves it in one line."""
    start, text = f"{label:<{len(INDENT)}}", printable(text)
    if width is None:
        return [f"{start}{text}"]
    return textwrap.wrap(
        text, width, initial_indent=start, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False
    )
