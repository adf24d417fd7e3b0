"""The errors that a user can meet; each knows the exit code of the program that it stops."""

from __future__ import annotations


class PtychoError(Exception):
    """A mistake that the user can mend: where it is, what was found, what was expected.

    Args:
        message: One line: place, finding, expectation.
        hint: The usual way out, one line; printed after the message.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} {self.hint}"


class ConfigError(PtychoError):
    """Settings that cannot be used; ``config.resolve`` collects all of them before it raises."""


class DataError(PtychoError):
    """A file that is missing, unreadable, or not a scan that this program can use."""


class ShapeError(PtychoError):
    """Arrays whose shapes do not fit together."""


class OutputError(PtychoError):
    """A place that cannot be written, or that holds results which would be lost."""


class CheckpointError(PtychoError):
    """A run folder or checkpoint that cannot be loaded as it stands."""


class PluginError(PtychoError):
    """A plugin that failed, or two that clash; the message names its distribution."""


class TrainingError(PtychoError):
    """Training began and could not go on: a loss that is not finite, or memory that ran out."""

    exit_code = 3


class SharedTrainingError(TrainingError):
    """A failure that all ranks of a training meet at the same step; rank 0 tells it for all."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, in the words of Python, numpy or torch on any device."""
    if isinstance(error, MemoryError):
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(some in str(error) for some in words)


class InterruptedRunError(PtychoError):
    """The user pressed Ctrl-C; what was reached has been saved."""

    exit_code = 130
