"""Errors and warnings on standard error: one line each, with hints."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

from ptycho_cli.config.provenance import Problem, ProblemsError
from ptycho_cli.errors import PtychoError
from ptycho_cli.render.console import print_text


def problem_line(problem: Problem) -> str:
    """Format a problem: place, finding, expectation, hint."""
    message = problem.message if problem.message[-1:] in ".?!" else problem.message + "."
    origin = "" if problem.message.startswith(f"{problem.origin} ") else f"{problem.origin}: "
    return f"{origin}{message}{' ' + problem.hint if problem.hint else ''}"


def print_problems(problems: Iterable[Problem], file: TextIO | None = None) -> None:
    """Print every problem of the settings, one a line."""
    for problem in problems:
        print_text(f"error: {problem_line(problem)}", file=file or sys.stderr)


def print_error(error: PtychoError, file: TextIO | None = None) -> None:
    """Print the error that ends the program, and its hint on a second line."""
    if isinstance(error, ProblemsError):
        print_problems(error.problems, file)
        return
    print_text(f"error: {error.message}", file=file or sys.stderr)
    if error.hint:
        print_text(f"hint: {error.hint}", file=file or sys.stderr)


def print_warnings(warnings: Iterable[str], file: TextIO | None = None) -> None:
    """Print warnings, one a line."""
    for line in warnings:
        print_text(f"warning: {line}", file=file or sys.stderr)
