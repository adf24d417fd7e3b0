"""The check of machine and installation as lines of text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ptycho_cli.render.finding_lines import folded

if TYPE_CHECKING:
    from ptycho_cli.system_check import Check


def system_lines(checks: Iterable[Check], width: int | None = None) -> list[str]:
    """One line for each check, and below it the way out where there is one.

    Args:
        checks: The checks.
        width: Columns to fold the lines to; None leaves them whole.
    """
    lines = []
    for check in checks:
        lines += folded(check.state, f"{check.name}: {check.found}", width)
        if check.hint:
            lines += folded("", check.hint, width)
    return lines
