"""The callbacks of the settings, in their order."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ptycho_cli.errors import PluginError
from ptycho_cli.extend.attribution import call_factory
from ptycho_cli.extend.load import RegisteredEntry
from ptycho_cli.extend.specs import CallbackContext, CallbackEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning.pytorch import Callback
    from pydantic import BaseModel


def build_callbacks(
    chosen: Sequence[tuple[RegisteredEntry[CallbackEntry], BaseModel]], context: CallbackContext
) -> list[Callback]:
    """Build callbacks through their plugins' factories.

    Args:
        chosen: In order, the callbacks with their validated options.
        context: The run that they are built for.

    Raises:
        PluginError: If a factory fails or does not return a Lightning callback, or if two callbacks keep their state
            under one name.
    """
    from lightning.pytorch import Callback

    built: list[Callback] = []
    titles: dict[str, str] = {}  # by the name under which a checkpoint keeps the state
    for found, options in chosen:
        entry, where = found.entry, found.title
        callback = call_factory(partial(entry.build, context, options), where, "Leave it out")
        if not isinstance(callback, Callback):
            raise PluginError(f"{where} returned {type(callback).__name__}, expected a lightning.pytorch.Callback.")
        stateful = type(callback).state_dict is not Callback.state_dict
        if stateful and (other := titles.setdefault(callback.state_key, where)) is not where:
            raise PluginError(
                f"{where} and {other} save their state under the same name, {callback.state_key!r}.",
                hint="Leave one out, or ask its author to give its class another 'state_key'.",
            )
        built.append(callback)
    return built
