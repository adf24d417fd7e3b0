"""An extension of mkdocstrings' parser: roles of Sphinx in docstrings, such as ``:func:`train```, become plain code."""

from __future__ import annotations

import re
from typing import Any

import griffe


class PlainRoles(griffe.Extension):
    """Rewrites the docstring of every object."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Replace the roles in one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r":\w+:`~?([^`]+)`", r"``\1``", obj.docstring.value)
