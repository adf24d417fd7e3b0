"""The table of the eight orientations of the positions, as ``ptycho data check`` prints it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def axes_lines(rows: Iterable[Mapping[str, Any]], typed: Callable[[str], str]) -> list[str]:
    """Lines of at most 80 columns: orientation, deviance of left-out frames, times photon noise, flags.

    Args:
        rows: ``name``, ``setting``, ``deviance``, ``times_noise`` and ``as_read`` of each orientation.
        typed: Turns one or several settings into the words that set them.
    """
    lines = [f"{'positions':<22}{'deviance':>9}{'x noise':>8} {'how to choose'}"]
    for row in rows:
        name = f"> {row['name']}" if row["as_read"] else f"  {row['name']}"
        numbers = f"{row['deviance']:>9.3g}{row['times_noise']:>8.3g}"
        lines.append(f"{name:<22}{numbers} {typed(row['setting'])}".rstrip())
    return lines
