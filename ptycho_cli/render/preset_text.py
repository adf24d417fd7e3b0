"""Presets as text: when to use each, what it sets, and what it costs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from shutil import get_terminal_size

from ptycho_cli.config.keys import keys
from ptycho_cli.config.presets import Preset
from ptycho_cli.config.values import show
from ptycho_cli.render.console import print_text


def print_presets(presets: Iterable[Preset]) -> None:
    """Print a paragraph for each preset."""
    width = max(get_terminal_size().columns, 40)
    for preset in presets:
        print_text(preset.name)
        for text in (preset.when, preset.effect):
            print_text(*textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))
        for key, value in preset.settings:
            default = f" (default {show(keys()[key].default)})" if key in keys() else ""
            print_text(f"  {key} = {show(value)}{default}")
        print_text("")
    print_text("Use one with --preset NAME; your own settings override it.")
    print_text("See its settings with ptycho inspect-config --preset NAME")
