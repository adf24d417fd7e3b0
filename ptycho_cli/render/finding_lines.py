"""Findings about a scan as lines of text."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptycho_cli.data.findings.finding import Finding

ORDER = ("error", "warning", "fixed", "note")
INDENT = " " * 10


def finding_lines(findings: Iterable[Finding], *, width: int | None = None) -> list[str]:
    """Describe findings, the most severe first: severity, message, id and the setting that changes it.

    Args:
        findings: The findings.
        width: Columns; by default those of the terminal.
    """
    width = width or shutil.get_terminal_size().columns
    lines: list[str] = []
    for finding in sorted(findings, key=lambda item: ORDER.index(item.severity)):
        lines += labelled(finding.severity, finding.message, width=width)
        setting = "" if finding.setting is None else f": --set {finding.setting.replace(' ', ' --set ')}"
        lines += _wrapped(f"{finding.id}{setting}", INDENT, width)
    return lines


def labelled(label: str, text: str, *, width: int | None = None) -> list[str]:
    """A text behind a label of up to nine letters, in lines."""
    return _wrapped(text, f"{label:<10}", width or shutil.get_terminal_size().columns)


def _wrapped(text: str, start: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=start, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False
    )
