"""Whether the paths in the settings can be read and written; asks the file system, writes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal

from ptycho_cli.config.provenance import Decision, Problem, Resolved
from ptycho_cli.config.values import show

_ANOTHER_FOLDER = "Choose another folder."


_IN_A_SHELL = "Type it, as in `ptycho train scan.h5 -o RUN`, or set it in a file."
_IN_PYTHON = 'Name it, as in train("scan.h5", output_dir="RUN").'


def check_paths(
    resolved: Resolved,
    *,
    force: bool,
    command: Literal["train", "infer", "inspect-config"] = "train",
    in_python: bool = False,
) -> tuple[Problem, ...]:
    """Problems with data files and the output folder.

    Args:
        resolved: The settings.
        force: Whether results in the output folder may be replaced.
        in_python: The caller is Python code, which has no flags: hints name arguments.
        command: ``train`` needs data files and a folder to write to; ``infer`` has its own output;
            ``inspect-config`` looks at paths that are given and does not ask for more.
    """
    problems = [*_data(resolved.decision("data.paths"))]
    if command == "train" and not resolved.config.data.paths:
        problems.append(_missing("data.paths", "no scan to train on", in_python))
    if command != "infer":
        problems += _data(resolved.decision("data.validation_paths"))
        problems += _named_twice(resolved)
        problems += _output(resolved, force=force, required=command == "train", in_python=in_python)
    return tuple(problems)


def _missing(key: str, what: str, in_python: bool) -> Problem:
    return Problem(key, key, f"{what}.", _IN_PYTHON if in_python else _IN_A_SHELL)


def _problem(decision: Decision, message: str, hint: str | None = None) -> Problem:
    return Problem(decision.key, decision.winner.origin, message, hint)


def _data(decision: Decision) -> list[Problem]:
    """Each data file must be there, be a file, hold something and be readable."""
    found: list[Problem] = []
    for path in decision.winner.value:
        reason = unreadable(path)
        if reason is not None:
            found.append(_problem(decision, f"{show(path)}: {reason}, expected a scan file.", _neighbour(path)))
    return found


def _named_twice(resolved: Resolved) -> Iterator[Problem]:
    """A scan that is trained on twice, or trained on and validated on, which could not tell fitted noise."""
    seen: set[str] = set()
    for key in ("data.paths", "data.validation_paths"):
        decision = resolved.decision(key)
        for path in decision.winner.value:
            if (place := os.path.realpath(path)) in seen:
                yield _problem(decision, f"{path}: named twice among the scans to train and validate on.", "Keep one.")
            seen.add(place)


def _neighbour(path: str) -> str | None:
    """Of a name that was mistyped, the file that was probably meant."""
    import difflib

    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return None
    near = [] if name in names else difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    return f"Did you mean {os.path.join(folder, near[0])}?" if near else None


def unreadable(path: str) -> str | None:
    """Why a file cannot be read, or None if it can."""
    try:
        if not os.path.lexists(path):
            return "no such file"
        if os.path.isdir(path):
            return "this is a folder"
        if not os.access(path, os.R_OK):
            return "no permission to read it" if os.path.exists(path) else "the link leads nowhere"
        if os.path.isfile(path) and os.path.getsize(path) == 0:
            return "the file is empty"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def _output(resolved: Resolved, *, force: bool, required: bool, in_python: bool) -> list[Problem]:
    """The folder of the run must be new or empty, or ``force`` set, and writable."""
    decision = resolved.decision("training.output_dir")
    path = decision.winner.value
    if path is None:
        return [_missing(decision.key, "no folder for the run", in_python)] if required else []
    try:
        reason = unwritable_folder(path, force=force, can_force=not in_python)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error), _ANOTHER_FOLDER)
    return [] if reason is None else [_problem(decision, f"{show(path)}: {reason[0]}.", reason[1])]


def unwritable_folder(path: str, *, force: bool, can_force: bool = True) -> tuple[str, str] | None:
    """Why a run cannot be written to a folder, with the way out; None if it can.

    Args:
        path: The folder.
        force: Whether what is in it may be replaced.
        can_force: Whether the caller has a ``--force``, which the hint then names.
    """
    if not path:
        return "the name of the folder is empty", "Give it a name."
    if os.path.lexists(path):
        if not os.path.isdir(path):
            return "this is a file, expected a folder", _ANOTHER_FOLDER
        if not os.access(path, os.W_OK | os.X_OK):
            return "no permission to write to this folder", _ANOTHER_FOLDER
        if not force and os.listdir(path):
            replace = "Choose another folder, or replace what is in it with --force."
            return "the folder is not empty", replace if can_force else _ANOTHER_FOLDER
        return None
    return _closed_parent(path)


def unwritable_file(path: str, *, force: bool) -> tuple[str, str] | None:
    """Why a file cannot be written, with the way out; None if it can."""
    if os.path.isdir(path):
        return "this is a folder, expected the name of a file", "Name a file in it."
    if os.path.lexists(path) and not force:
        return "exists already", "Choose another name, or overwrite with --force."
    return _closed_parent(path)


def _closed_parent(path: str) -> tuple[str, str] | None:
    """Why nothing can be made at a path, asked of the nearest folder above it that exists."""
    parent = os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        return f"{parent} is a file, so nothing can be made in it", _ANOTHER_FOLDER
    if not os.access(parent, os.W_OK | os.X_OK):
        return f"no permission to write to {parent}", _ANOTHER_FOLDER
    return None
