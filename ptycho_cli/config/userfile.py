"""The user's own settings file: read by every command, named in every story, and easy to leave out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from ptycho_cli.config.provenance import Layer, Source
from ptycho_cli.config.sources import USER_FILE_NAME


class UserFile(NamedTuple):
    """Where the user's file is looked for.

    Attributes:
        path: The file; None if the environment says that there is none.
        named: ``$PTYCHO_USER_FILE`` names it, so it must be there.
    """

    path: str | None
    named: bool

    @property
    def shown(self) -> str:
        """The path with the home folder as ``~``, for tables."""
        home = os.path.expanduser("~")
        path = self.path or ""
        return f"~{path[len(home) :]}" if home != os.sep and path.startswith(home + os.sep) else path

    @property
    def exists(self) -> bool:
        """Whether it will be read."""
        return self.path is not None and (self.named or os.path.exists(self.path))


def user_file(environ: Mapping[str, str] = os.environ) -> UserFile:
    """``$PTYCHO_USER_FILE`` (empty: none), else ``ptycho/config.yaml`` in ``$XDG_CONFIG_HOME`` or ``~/.config``."""
    named = environ.get(USER_FILE_NAME)
    if named is not None:
        return UserFile(named or None, named=True)
    folder = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(folder):  # the specification has a relative one ignored
        folder = os.path.join(os.path.expanduser("~"), ".config")
    return UserFile(os.path.join(folder, "ptycho", "config.yaml"), named=False)


def user_file_layer(environ: Mapping[str, str] = os.environ) -> Layer | None:
    """The settings of the user's file; None if there is none."""
    found = user_file(environ)
    if not found.exists or found.path is None:
        return None
    from ptycho_cli.config.files import file_layer

    return file_layer(found.path, Source.USER_FILE, shown_as=found.shown)
