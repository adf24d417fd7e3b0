"""The style of pictures that the settings ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ptycho_cli.config.schema import PictureSettings
from ptycho_cli.render.plotting import PictureStyle


def picture_style(settings: PictureSettings) -> PictureStyle:
    """Format, resolution and colours of pictures."""
    return PictureStyle(settings.format, settings.dpi, settings.amplitude_colours, settings.phase_colours)


def recorded_style(config: Mapping[str, Any]) -> PictureStyle:
    """The style in the ``config`` of a run record; that by default where it has none, or none that can be used."""
    try:
        return picture_style(PictureSettings(**config.get("pictures", {})))
    except (ValidationError, TypeError):
        return PictureStyle()
