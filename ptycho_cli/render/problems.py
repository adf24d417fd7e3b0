"""Errors and warnings on stderr: one line each, hints beside them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

from ptycho_cli.config.provenance import Problem, ProblemsError
from ptycho_cli.config.values import printable
from ptycho_cli.errors import PtychoError


def problem_line(problem: Problem) -> str:
    """Where, what was found, what was expected; then the way out."""
    message = problem.message if problem.message[-1:] in ".?!" else problem.message + "."
    origin = "" if problem.message.startswith(f"{problem.origin} ") else f"{problem.origin}: "
    return printable(f"{origin}{message}{' ' + problem.hint if problem.hint else ''}")


def print_problems(problems: Iterable[Problem], file: TextIO | None = None) -> None:
    """Print every problem of the settings."""
    for problem in problems:
        print(f"error: {problem_line(problem)}", file=file or sys.stderr)


def print_error(error: PtychoError, file: TextIO | None = None) -> None:
    """Print an error that ends the program, its hint on a line of its own."""
    out = file or sys.stderr
    if isinstance(error, ProblemsError):
        print_problems(error.problems, out)
        return
    print(f"error: {error.message}", file=out)
    if error.hint:
        print(f"hint: {error.hint}", file=out)


def print_warnings(warnings: Iterable[str], file: TextIO | None = None) -> None:
    """Print things to know that do not stop the program."""
    for line in warnings:
        print(f"warning: {printable(line)}", file=file or sys.stderr)
