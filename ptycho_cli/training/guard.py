"""Callbacks of users: an error inside one is told by its name, and ends the run where it can be resumed."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from lightning.pytorch import Callback

from ptycho_cli.errors import PluginError, TrainingError
from ptycho_cli.extend.validate import one_line
from ptycho_cli.training.stop import StopRequest

# Hooks that are called where the run can still go on to the end of the accumulation window, and be saved there.
_BEFORE = ("setup", "on_fit_start", "on_train_start", "load_state_dict", "on_load_checkpoint")
_AT_ONCE = ("state_dict", "on_save_checkpoint", "on_train_end", "on_fit_end", "teardown")


class Guard:
    """Stands between Lightning and one callback.

    Args:
        callback: Its hooks are replaced by guarded ones.
        name: Name and origin of the callback, for messages.
        stop: Asked to end the run after an error.
        locate: Gives the line of a plugin that an error comes from, or nothing.
    """

    def __init__(
        self, callback: Callback, *, name: str, stop: StopRequest, locate: Callable[[BaseException], str]
    ) -> None:
        self._name, self._stop, self._locate, self._failed = name, stop, locate, False
        for hook in dir(Callback):
            method = getattr(callback, hook)
            if not hook.startswith("_") and hook != "state_key" and callable(method):
                setattr(callback, hook, self._guarded(hook, method))

    def _guarded(self, name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(hook)
        def call(*arguments: Any, **named: Any) -> Any:
            if self._failed and name not in ("state_dict", "teardown"):
                return None  # it is not known what it would do now
            try:
                return hook(*arguments, **named)
            except (Exception, SystemExit) as error:
                self._answer(name, error)
                return None

        return call

    def _answer(self, name: str, error: BaseException) -> None:
        text = f"{self._name} failed in {name}{self._locate(error)}: {one_line(error)}."
        if name in _BEFORE and not self._failed:
            raise PluginError(text, hint="Leave it out, or report it to the author of its distribution.") from error
        first, self._failed = not self._failed, True
        hint = "To go on without it, add --set callbacks.NAME=false. Report it to its author."
        reason = TrainingError(text, hint=hint.replace("NAME", self._name.split("'")[1]))
        reason.__cause__ = error
        if name in _AT_ONCE:
            if first:
                raise reason
        else:
            self._stop.request(reason)
