"""What a training tells whoever watches it: a progress bar, a notebook, a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Outline:
    """The size of a training, told once before its first step.

    Attributes:
        epochs: Epochs of the whole training.
        steps_per_epoch: Optimizer steps in an epoch.
        done_steps: Steps that were done before, by a run that is resumed.
        frames_per_step: Frames that an optimizer step goes through, on average.
    """

    epochs: int
    steps_per_epoch: int
    done_steps: int
    frames_per_step: float


class Events(Protocol):
    """Told what happens, in this order: note*, effective, started, (step*, epoch)*."""

    def note(self, text: str) -> None:
        """Something to say once, in one line."""

    def effective(self, requested: Mapping[str, Any], effective: Mapping[str, Any], why: Mapping[str, str]) -> None:
        """What was asked for and what was built, by the same keys, and the reason where they differ."""

    def started(self, outline: Outline) -> None:
        """The first step comes next."""

    def step(self, step: int, epoch: int, learning_rate: float, loss: float) -> None:
        """Optimizer step ``step``, from 1, was applied with this rate; ``epoch`` counts from 0."""

    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        """An epoch ended with these means."""

    def stopping(self) -> None:
        """The user asked to stop; called inside a signal handler."""

    def ended(self) -> None:
        """No more steps come, for whatever reason."""


class Silence:
    """Events that nobody watches."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def effective(self, requested: Mapping[str, Any], effective: Mapping[str, Any], why: Mapping[str, str]) -> None:
        """Say nothing."""

    def started(self, outline: Outline) -> None:
        """Say nothing."""

    def step(self, step: int, epoch: int, learning_rate: float, loss: float) -> None:
        """Say nothing."""

    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Say nothing."""

    def stopping(self) -> None:
        """Say nothing."""

    def ended(self) -> None:
        """Say nothing."""
