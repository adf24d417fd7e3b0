"""Events that a training reports to whoever watches it: a progress bar, a notebook, a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class TrainingLength:
    """Length of a training, reported once before its first step.

    Attributes:
        epochs: Epochs of the whole training.
        steps_per_epoch: Optimizer steps in an epoch.
        done_steps: Steps that were done before the run was resumed.
        frames_per_step: Frames of an optimizer step, on average.
    """

    epochs: int
    steps_per_epoch: int
    done_steps: int
    frames_per_step: float


class Events(Protocol):
    """Methods that a training calls in this order: note*, effective, started, (step*, epoch)*, ended.

    A subclass overrides those that it needs; here they do nothing.
    """

    @property
    def shows_pictures(self) -> bool:
        """False if ``picture`` does nothing, so that none need be made."""
        return False

    def note(self, text: str, /) -> None:
        """Receive a message of one line."""
        return

    def effective(
        self, requested: Mapping[str, Any], effective: Mapping[str, Any], reasons: Mapping[str, str], /
    ) -> None:
        """Receive requested and effective values by the same keys, and the reasons where they differ."""
        return

    def started(self, length: TrainingLength, /) -> None:
        """Receive the length of the training, before the first step."""
        return

    def step(self, step: int, epoch: int, learning_rate: float, loss: float, /) -> None:
        """Receive an applied optimizer step, counted from 1; ``epoch`` counts from 0."""
        return

    def epoch(self, epoch: int, losses: Mapping[str, float], /) -> None:
        """Receive the mean losses of an epoch at its end."""
        return

    def picture(self, epoch: int, field: Any, coverage: Any, /) -> None:
        """Receive the object with the weights after an epoch, complex ``(y, x)``, and its coverage."""
        return

    def stopping(self) -> None:
        """Called inside a signal handler when the user asks to stop."""
        return

    def ended(self) -> None:
        """Called after the last step, also after an error."""
        return


class NoEvents(Events):
    """Ignores all events."""


class SharedEvents(Events):
    """Gives every event to several receivers, in their order.

    Args:
        receivers: Those from the start.
    """

    def __init__(self, *receivers: Events) -> None:
        self.receivers = list(receivers)

    def note(self, text: str, /) -> None:
        """Pass on a message."""
        for receiver in self.receivers:
            receiver.note(text)

    def effective(
        self, requested: Mapping[str, Any], effective: Mapping[str, Any], reasons: Mapping[str, str], /
    ) -> None:
        """Pass on requested and effective values."""
        for receiver in self.receivers:
            receiver.effective(requested, effective, reasons)

    def started(self, length: TrainingLength, /) -> None:
        """Pass on the length of the training."""
        for receiver in self.receivers:
            receiver.started(length)

    def step(self, step: int, epoch: int, learning_rate: float, loss: float, /) -> None:
        """Pass on an optimizer step."""
        for receiver in self.receivers:
            receiver.step(step, epoch, learning_rate, loss)

    def epoch(self, epoch: int, losses: Mapping[str, float], /) -> None:
        """Pass on the losses of an epoch."""
        for receiver in self.receivers:
            receiver.epoch(epoch, losses)

    def picture(self, epoch: int, field: Any, coverage: Any, /) -> None:
        """Pass on a picture."""
        for receiver in self.receivers:
            receiver.picture(epoch, field, coverage)

    def stopping(self) -> None:
        """Pass on that the user asks to stop."""
        for receiver in self.receivers:
            receiver.stopping()

    def ended(self) -> None:
        """Pass on that no more steps come, to the last receiver first."""
        for receiver in reversed(self.receivers):
            receiver.ended()
