"""Check that the paths in the settings can be read and written, without writing anything."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Literal

from ptycho_cli.config.provenance import Decision, Problem, Resolved
from ptycho_cli.config.values import show

_ANOTHER_FOLDER, _ANOTHER_NAME = "Choose another folder.", "Choose another name."


_IN_A_SHELL = "Type it, as in `ptycho train scan.h5 -o RUN`, or set it in a file."
_IN_PYTHON = 'Name it, as in train("scan.h5", output_dir="RUN").'


def check_paths(
    resolved: Resolved,
    *,
    force: bool,
    command: Literal["train", "infer", "reconstruct", "data", "inspect-config"] = "train",
    in_python: bool = False,
) -> tuple[Problem, ...]:
    """Problems with data files and the output folder.

    Args:
        resolved: The settings.
        force: Results in the output folder may be replaced.
        command: ``train`` needs data files and an output folder; others have outputs of their own;
            ``inspect-config`` checks only the paths that are set.
        in_python: The caller is Python code, so that hints name arguments and no flags.
    """
    problems = [*_data(resolved.decision("data.paths"))]
    if command == "train" and not resolved.config.data.paths and resolved.config.data.simulate is None:
        problems.append(_missing("data.paths", "no scan to train on", in_python))
    if command in ("train", "inspect-config"):
        problems += _data(resolved.decision("data.validation_paths"))
        problems += _named_twice(resolved)
        problems += _recipe(resolved.decision("data.simulate"))
        problems += _output(resolved, force=force, required=command == "train", in_python=in_python)
    return tuple(problems)


def _missing(key: str, what: str, in_python: bool) -> Problem:
    return Problem(key, key, f"{what}.", _IN_PYTHON if in_python else _IN_A_SHELL)


def _problem(decision: Decision, message: str, hint: str | None = None) -> Problem:
    return Problem(decision.key, decision.winner.origin, message, hint)


def _data(decision: Decision) -> list[Problem]:
    """Problems with data files, which must be readable files with content."""
    found: list[Problem] = []
    for path in decision.winner.value:
        reason = unreadable(path)
        if reason is not None:
            found.append(_problem(decision, f"{show(path)}: {reason}, expected a scan file.", _neighbour(path)))
    return found


def _recipe(decision: Decision) -> list[Problem]:
    """Problems with the recipe of simulated scans."""
    path = decision.winner.value
    reason = None if path is None else unreadable(path)
    if reason is None:
        return []
    return [_problem(decision, f"{show(path)}: {reason}, expected a recipe in YAML.", _neighbour(path))]


def _named_twice(resolved: Resolved) -> Iterator[Problem]:
    """Problems with a scan that is named twice; validation on training data does not detect fitted noise."""
    seen: set[str] = set()
    for key in ("data.paths", "data.validation_paths"):
        decision = resolved.decision(key)
        for path in decision.winner.value:
            if (place := os.path.realpath(path)) in seen:
                yield _problem(decision, f"{path}: named twice among the scans to train and validate on.", "Keep one.")
            seen.add(place)


def _neighbour(path: str) -> str | None:
    """A hint at the file whose name is nearest to a mistyped one."""
    import difflib

    folder, name = os.path.split(path)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return None
    near = [] if name in names else difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    return f"Did you mean {os.path.join(folder, near[0])}?" if near else None


def unreadable(path: str) -> str | None:
    """The reason why a file cannot be read; None if it can."""
    try:
        if (reason := _unusable_name(path)) is not None:
            return reason
        if not os.path.lexists(path):
            return "no such file"
        if os.path.isdir(path):
            return None if _holds_images(path) else "this is a folder"
        if not os.access(path, os.R_OK):
            return "no permission to read it" if os.path.exists(path) else "the link is broken"
        if os.path.isfile(path) and os.path.getsize(path) == 0:
            return "the file is empty"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def _holds_images(folder: str) -> bool:
    """True for a folder whose images may be the frames of a scan."""
    return any(name.casefold().endswith((".tif", ".tiff")) for name in os.listdir(folder))


def _output(resolved: Resolved, *, force: bool, required: bool, in_python: bool) -> list[Problem]:
    """Problems with the folder of the run, which must be new or empty, or replaceable by ``force``."""
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
    """The reason why a run cannot be written to a folder, and a hint; None if it can.

    Args:
        path: The folder.
        force: Its contents may be replaced.
        can_force: The caller has a flag ``--force`` that the hint can name.
    """
    if not path:
        return "the name of the folder is empty", "Give it a name."
    if (reason := _unusable_name(path)) is not None:
        return reason, _ANOTHER_NAME
    if os.path.lexists(path):
        if not os.path.isdir(path):
            return "this is a file, expected a folder", _ANOTHER_FOLDER
        if not os.access(path, os.W_OK | os.X_OK):
            return "no permission to write to this folder", _ANOTHER_FOLDER
        if not force and os.listdir(path):
            replace = "Choose another folder, or replace what is in it with --force."
            return "the folder is not empty", replace if can_force else _ANOTHER_FOLDER
        return None
    return _unwritable_parent(path)


def unwritable_file(path: str, *, force: bool) -> tuple[str, str] | None:
    """The reason why a file cannot be written, and a hint; None if it can."""
    if (reason := _unusable_name(path)) is not None:
        return reason, _ANOTHER_NAME
    if os.path.isdir(path):
        return "this is a folder, expected the name of a file", "Name a file in it."
    if os.path.lexists(path) and not force:
        return "exists already", "Choose another name, or overwrite with --force."
    return _unwritable_parent(path)


def _unusable_name(path: str) -> str | None:
    """The reason why a name cannot be used; run records and tables hold names as text."""
    try:
        path.encode()
        os.lstat(path)
    except UnicodeEncodeError:
        return "the name is not text in UTF-8"
    except OSError as error:
        return error.strerror if error.errno in (errno.ENAMETOOLONG, errno.ELOOP) else None
    return None


def _unwritable_parent(path: str) -> tuple[str, str] | None:
    """The reason why nothing can be made at a path, from the nearest folder above it that exists."""
    parent = os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        return f"{parent} is a file, so nothing can be made in it", _ANOTHER_FOLDER
    if not os.access(parent, os.W_OK | os.X_OK):
        return f"no permission to write to {parent}", _ANOTHER_FOLDER
    return None
