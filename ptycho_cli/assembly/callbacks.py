"""The user's callbacks, built in the order in which they were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_cli.errors import PluginError, PtychoError
from ptycho_cli.extend.load import RegisteredEntry
from ptycho_cli.extend.specs import CallbackContext, CallbackEntry
from ptycho_cli.extend.validate import one_line

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
        PluginError: If a factory fails, or returns what is not a Lightning callback.
    """
    from lightning.pytorch import Callback

    built: list[Callback] = []
    keepers: dict[str, str] = {}  # where a checkpoint keeps their state
    for (offer, entry), options in chosen:
        where = f"callback '{entry.name}' ({offer.origin})"
        try:
            callback = entry.build(context, options)
        except PtychoError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{where} failed in build: {one_line(error)}.",
                hint="Leave it out, or report it to the author of its distribution.",
            ) from error
        if not isinstance(callback, Callback):
            raise PluginError(f"{where} returned {type(callback).__name__}, expected a lightning.pytorch.Callback.")
        stateful = type(callback).state_dict is not Callback.state_dict
        if stateful and (other := keepers.setdefault(callback.state_key, where)) is not where:
            raise PluginError(
                f"{where} and {other} keep their state under one name, {callback.state_key!r}.",
                hint="Leave one out; its author gives its class a 'state_key' of its own.",
            )
        built.append(callback)
    return built
