"""Command lines to print: whatever the words hold, the line is one line, and a shell reads the same words from it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable


def shell_line(words: Iterable[str]) -> str:
    r"""Quote words for a shell.

    Words with control characters are written as ``$'...\033...'``, which bash, zsh and POSIX shells since 2024 read;
    others need no more than any POSIX shell.
    """
    return " ".join(shlex.quote(word) if word.isprintable() else _escaped(word) for word in words)


def _escaped(word: str) -> str:
    parts = []
    for char in word:
        if char in "\\'":
            parts.append(f"\\{char}")
        elif char.isprintable():
            parts.append(char)
        else:
            parts += [f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape")]
    return f"$'{''.join(parts)}'"
