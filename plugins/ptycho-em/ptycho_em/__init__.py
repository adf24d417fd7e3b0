"""Readers of electron-microscopy files, one for each format that holds stacks of diffraction patterns.

RosettaSciIO opens the files; each reader of this package says which files it takes, and what their numbers mean.
"""

from __future__ import annotations

from collections.abc import Iterable

from ptycho_cli.extend import ReaderEntry, hookimpl
from ptycho_em.formats import FORMATS
from ptycho_em.signals import reader_of

ptycho_plugin_api = 1

READERS = {form.name: reader_of(form) for form in FORMATS}


@hookimpl
def ptycho_readers() -> Iterable[ReaderEntry]:
    """Offer a reader for each format."""
    return tuple(READERS.values())
