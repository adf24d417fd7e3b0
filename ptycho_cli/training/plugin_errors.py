"""Errors of plugins during a training: each names its plugin, and the run stays resumable where it can."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, cast

from lightning.pytorch import Callback, Trainer

from ptycho_cli.assembly.callbacks import build_callbacks
from ptycho_cli.config.schema import CallbackSettings
from ptycho_cli.errors import PluginError, PtychoError, TrainingError
from ptycho_cli.extend.attribution import plugin_of_module, plugin_that_raised
from ptycho_cli.extend.host import Host
from ptycho_cli.extend.load import PluginRecord
from ptycho_cli.extend.specs import CallbackContext, CallbackEntry
from ptycho_cli.plugin_code import one_line, plugin_code
from ptycho_cli.training.plain_state import Keys, equal_states, place
from ptycho_cli.training.stop_request import StopRequest
from ptycho_cli.training.training_module import TrainingModule

PLAIN_STATES = "A state may hold numbers, text, lists, dicts and tensors only."

# Hooks that Lightning calls before the first step: an error there is wrong input.
_BEFORE_TRAINING = ("setup", "on_fit_start", "on_train_start", "load_state_dict", "on_load_checkpoint")
# Hooks after which no checkpoint can follow, so an error ends the run at once. After an error in any other hook
# the run continues to the end of the accumulation window and is saved there.
_CANNOT_CONTINUE = ("state_dict", "on_save_checkpoint", "on_train_end", "on_fit_end", "teardown")


@contextmanager
def attribute_errors(plugins: Sequence[PluginRecord], module: TrainingModule) -> Iterator[None]:
    """Turn an error raised by a plugin's code, or its ``sys.exit``, into one that names the plugin.

    Args:
        plugins: All installed plugins.
        module: The module that is trained; it counts the optimizer steps.

    Raises:
        PluginError: If that happens before the first optimizer step; no result is lost then.
        TrainingError: If it happens later.
    """
    try:
        yield
    except PtychoError:
        raise
    except (Exception, SystemExit) as error:
        found = plugin_that_raised(error, plugins)
        if found is None:
            raise
        plugin, line = found
        done = module.applied_steps
        when = f"after optimizer step {done}" if done else "before the end of the first optimizer step"
        raise (TrainingError if done else PluginError)(
            f"{when}: plugin {plugin.distribution} {plugin.version} failed at {line}: {one_line(error)}.",
            hint="Leave that plugin out, or report the error to its author.",
        ) from error


def plugin_line(error: BaseException, plugins: Sequence[PluginRecord]) -> str:
    """Line of a plugin that raised an error, as `` at mine.py:8``; empty if no plugin was running."""
    found = plugin_that_raised(error, plugins)
    return "" if found is None else f" at {found[1]}"


def unsavable(owner: str, keys: Keys, kind: str) -> str:
    """Message about a part of a state that a checkpoint cannot hold."""
    return (
        f"{owner}: state_dict(){place(keys)}, a {kind}, cannot be saved in a checkpoint, which is loaded without "
        "executing code."
    )


def owner_and_keys(keys: Keys, trainer: Trainer, plugins: Sequence[PluginRecord]) -> tuple[str, Keys]:
    """Whose part of a checkpoint ``keys`` lead to, for messages, and where it is in that part."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    if keys[:1] == ("lr_schedulers",):
        return cast(TrainingModule, trainer.lightning_module).scheduler_name, keys[2:]
    if keys[:1] == ("callbacks",):
        found = next((callback for callback in callbacks if callback.state_key == keys[1]), None)
        return f"callback {keys[1]}" if found is None else callback_title(found, plugins), keys[2:]
    return "the checkpoint", keys


def callback_title(callback: Callback, plugins: Sequence[PluginRecord]) -> str:
    """Class of a callback, and the distribution of its plugin, for messages."""
    record = plugin_of_module(type(callback).__module__, plugins)
    origin = "" if record is None else f" ({record.distribution} {record.version})"
    return f"callback {type(callback).__name__}{origin}"


def guarded_callbacks(
    settings: Sequence[CallbackSettings],
    host: Host,
    context: CallbackContext,
    *,
    stop: StopRequest,
    locate: Callable[[BaseException], str],
) -> list[Callback]:
    """Build the callbacks that the settings name, in their order, each with a :class:`CallbackGuard`.

    Raises:
        PluginError: If a callback cannot be built.
    """
    chosen = [(host.find(CallbackEntry, item.name), item.options) for item in settings]
    callbacks = build_callbacks(chosen, context)
    for callback, (found, _) in zip(callbacks, chosen, strict=True):
        CallbackGuard(callback, name=found.title, stop=stop, locate=locate)
    return callbacks


class CallbackGuard:
    """Catch the errors of one callback: report them by its name, and end the run where it can be resumed.

    Args:
        callback: Its hooks are replaced by guarded ones.
        name: Name and origin of the callback, for messages.
        stop: Receives the request to end the run after an error.
        locate: Gives the line of a plugin that an error comes from, or an empty text.
    """

    def __init__(
        self, callback: Callback, *, name: str, stop: StopRequest, locate: Callable[[BaseException], str]
    ) -> None:
        self._name, self._stop, self._locate, self._failed = name, stop, locate, False
        self._gave_state = False  # it is asked once before the first step, to see that a checkpoint can hold it
        self._short_name = name.split("'")[1]
        for hook in dir(Callback):
            method = getattr(callback, hook)
            its_own = getattr(method, "__func__", None) is not getattr(Callback, hook)
            if not hook.startswith("_") and hook != "state_key" and callable(method) and its_own:
                setattr(callback, hook, self._guarded(hook, method))

    def _guarded(self, name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(hook)
        def call(*arguments: Any, **options: Any) -> Any:
            if self._failed and name not in ("state_dict", "teardown"):
                return None  # the callback is in an unknown state
            trainer = arguments[0] if arguments and isinstance(arguments[0], Trainer) else None
            stopped_before = trainer is None or trainer.should_stop
            module = None if trainer is None else cast(TrainingModule, trainer.lightning_module)
            before = _weights(module) if module is not None and name == "on_train_end" else None
            try:
                if module is not None:
                    module.logging_for = self._short_name
                with plugin_code():
                    result = hook(*arguments, **options)
                self._gave_state |= name == "state_dict"
                if module is not None and before is not None and not equal_states(before, _weights(module)):
                    module.changed_by = self._name
                if trainer is not None and trainer.should_stop and not stopped_before:
                    self._stop.end(f"{self._name} asked for it")
                return result
            except Exception as error:
                self._handle(name, error)
                return None
            finally:
                if module is not None:
                    module.logging_for = None

        return call

    def _handle(self, hook: str, error: BaseException) -> None:
        message = f"{self._name} failed in {hook}{self._locate(error)}: {one_line(error)}."
        if (hook in _BEFORE_TRAINING or (hook == "state_dict" and not self._gave_state)) and not self._failed:
            hint = "Leave the callback out, or report the error to the author of its distribution."
            raise PluginError(message, hint=hint) from error
        first, self._failed = not self._failed, True
        without = f"--set callbacks.{self._short_name}=false"
        hint = f"To resume without the callback, add {without}. Report the error to its author."
        reason = TrainingError(message, hint=hint)
        reason.__cause__ = error
        if hook not in _CANNOT_CONTINUE:
            self._stop.request(reason)
        elif first:
            raise reason


def _weights(module: TrainingModule) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in module.objective.state_dict().items()}
