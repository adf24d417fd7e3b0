"""Errors that a user can meet, each with the exit code of the program that it ends.

2: wrong input (settings, files, plugins). 3: training failed, the disk is full, or with ``--strict`` frames that are
not explained. 130: interrupted by the user.
"""

from __future__ import annotations

from typing import Any


class PtychoError(Exception):
    """A mistake that the user can correct; base of all errors of this module.

    Args:
        message: One line: place, finding, expectation.
        hint: One line: the usual way out; printed after the message.

    Attributes:
        exit_code: Exit code of the program.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} {self.hint}"


class ConfigError(PtychoError):
    """Settings that cannot be used; ``config.resolve`` raises one error with all problems."""


class DataError(PtychoError):
    """A scan or object file that is missing, unreadable, or unusable.

    Args:
        message: As for every error.
        hint: As for every error.
        finding: Id of the finding that this is, such as ``positions-unit``; None where it has none.

    Attributes:
        findings: Findings about the file until it was refused, objects of ``data.findings.finding.Finding``.
    """

    def __init__(self, message: str, *, hint: str | None = None, finding: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.finding = finding
        self.findings: tuple[Any, ...] = ()


class ShapeError(PtychoError):
    """Arrays whose shapes do not fit together."""


class OutputError(PtychoError):
    """A file or folder that cannot be written, or whose contents would be lost."""


class FullDiskError(OutputError):
    """A file that the disk has no room for."""

    exit_code = 3


class MissingPackageError(PtychoError):
    """A feature that needs a package which is not installed."""


class CheckpointError(PtychoError):
    """A run folder or checkpoint that cannot be loaded."""


class PluginError(PtychoError):
    """A plugin that failed, or two plugins that clash; the message names their distributions."""


class TrainingError(PtychoError):
    """A training that began and cannot continue: a loss that is not finite, memory that ran out."""

    exit_code = 3


class SharedTrainingError(TrainingError):
    """A failure that all ranks of a training meet at the same step; rank 0 reports it."""


class InterruptedRunError(PtychoError):
    """A training that the user stopped by Ctrl-C, after its state was saved."""

    exit_code = 130


def is_out_of_memory(error: BaseException) -> bool:
    """Recognize the errors of Python, numpy and torch that mean that memory ran out, on any device."""
    if isinstance(error, MemoryError):
        return True
    phrases = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in phrases)
