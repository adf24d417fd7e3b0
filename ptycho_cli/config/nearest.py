"""The nearest known name to a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable

_LIKE = 0.6
_CERTAIN = 0.9  # so alike that nothing else can have been meant


def nearest(name: str, candidates: Iterable[str], n: int = 1, cutoff: float = _LIKE) -> list[str]:
    """Candidates most like ``name``, best first; case does not count, and the last part may match alone.

    Args:
        name: The name.
        candidates: Names that are known.
        n: Most names to return.
        cutoff: Likeness, of 0 to 1, that others than those with the same last part need.
    """
    import difflib

    by_fold: dict[str, str] = {}
    for candidate in candidates:
        by_fold.setdefault(candidate.casefold(), candidate)
    folded = name.casefold()

    def likeness(fold: str) -> float:
        return difflib.SequenceMatcher(None, folded, fold).ratio()

    same_last_part = [fold for fold in by_fold if fold.rpartition(".")[2] == folded.rpartition(".")[2]]
    same_last_part.sort(key=likeness, reverse=True)
    close = difflib.get_close_matches(folded, by_fold, n=n, cutoff=cutoff)
    if close and likeness(close[0]) >= _CERTAIN:
        close = close[:1]
    return [by_fold[fold] for fold in dict.fromkeys((*same_last_part, *close))][:n]


def did_you_mean(name: str, candidates: Iterable[str], n: int = 1) -> str | None:
    """A hint that names the nearest candidates, or None if nothing is near."""
    found = nearest(name, candidates, n)
    return f"Did you mean {' or '.join(found)}?" if found else None
