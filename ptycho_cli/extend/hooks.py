"""The hooks that a plugin may implement, and the table from which loading, listing and checking follow.

A new hook needs its entry type in ``specs``, its specification here and one row of ``HOOKS``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pluggy

from ptycho_cli.extend.specs import (
    PROJECT,
    CallbackEntry,
    CommandEntry,
    Entry,
    NetworkEntry,
    ReaderEntry,
    SchedulerEntry,
    WeightsEntry,
)

hookspec = pluggy.HookspecMarker(PROJECT)


@hookspec
def ptycho_schedulers() -> Iterable[SchedulerEntry]:
    """Offer learning-rate schedulers; a user picks one by its name with ``--scheduler``.

    Called once per command, before torch is imported: import torch inside ``build``. The
    host validates ``scheduler.options`` against ``entry.options`` before ``build`` runs, and
    stops with both distributions' names if two offer the same scheduler.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def ptycho_callbacks() -> Iterable[CallbackEntry]:
    """Offer Lightning callbacks; a user adds them with ``--callback``, in the order given.

    Called once per command, before torch is imported: import lightning inside ``build``.
    ``build`` runs once the scan is read and the span is known, before the first step. The
    callback's ``state_dict`` is saved with the checkpoint and restored on resume.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def ptycho_networks() -> Iterable[NetworkEntry]:
    """Offer networks; a user picks one by its name with ``--network``.

    Called once per command, before torch is imported: import torch inside ``build``. The host
    validates ``model.options`` against ``entry.options`` before ``build`` runs. ``build`` runs under
    the seed of the run, and again whenever weights are loaded, so the options and the context must
    determine every shape.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def ptycho_readers() -> Iterable[ReaderEntry]:
    """Offer readers of scan files; the content of a file decides which reader takes it.

    Called once per command, before numpy is imported: import numpy and h5py inside ``can_read``
    and ``read``. Whenever a scan is read, the host opens the file, asks every ``can_read`` of
    plugins before the generic built-in readers, and calls ``read`` of the one that answers True.
    It stops with both distributions' names if two do.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def ptycho_commands() -> Iterable[CommandEntry]:
    """Offer commands, which users type as ``ptycho NAME``.

    Called once per command: import typer and all else inside ``build``, which is called only when the user types the
    name. ``ptycho --help`` lists what the entry points of the group ``ptycho_cli.commands`` name, and imports nothing.
    The host stops with both distributions' names if two offer the same command; the name of a built-in command means
    that one.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def ptycho_weights() -> Iterable[WeightsEntry]:
    """Offer weights of networks; a user picks one by its name with ``--weights``.

    Called once per command. ``path`` is called where the weights are asked for, and the host reads the file and
    checks that it fits ``model.name`` and ``model.options`` before anything is computed.
    """
    raise AssertionError("a hook specification is never called")


class Hook(NamedTuple):
    """One hook and what it offers.

    Attributes:
        name: Name of the function that a plugin defines.
        entry: Type of the entries that it returns.
    """

    name: str
    entry: type[Entry]

    @property
    def kind(self) -> str:
        """Name of one entry in messages, such as ``scheduler``."""
        return self.entry.kind

    @property
    def plural(self) -> str:
        """Name of several entries in listings and in ``run.json``, such as ``schedulers``."""
        return self.kind if self.kind.endswith("s") else f"{self.kind}s"


HOOKS = (
    Hook("ptycho_schedulers", SchedulerEntry),
    Hook("ptycho_callbacks", CallbackEntry),
    Hook("ptycho_networks", NetworkEntry),
    Hook("ptycho_readers", ReaderEntry),
    Hook("ptycho_commands", CommandEntry),
    Hook("ptycho_weights", WeightsEntry),
)
