"""A catalogue with built-ins, one of them with stages, plugins with equal names, and callbacks."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ptycho_cli.config.catalogue import Catalogue, EntryInfo
from ptycho_cli.config.settings_group import Options


class ExponentialOptions(Options):
    gamma: float = Field(0.95, gt=0.0, le=1.0)
    every: str = "1ep"

    @field_validator("every")
    @classmethod
    def _is_length(cls, value: str) -> str:
        if not value.rstrip("ep%").isdigit():
            raise ValueError("a length is steps, epochs or percent, such as 500, 2ep or 5%")
        return value


class PlateauOptions(Options):
    factor: float = 0.5
    monitor: str = "val_loss"


class PlainOptions(BaseModel):
    """A third-party model that is not derived from ``Options``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decay: float = 0.99
    steps: tuple[int, ...] = (1, 2)


class UnrolledOptions(Options):
    stages: int = Field(8, ge=1)
    width: int = Field(24, ge=1)


class ScatterOptions(Options):
    gain: float = 1.0


class NeedyOptions(Options):
    low: int
    high: int = 3


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    def own(kind: str, name: str, options: type[BaseModel], **more: bool) -> EntryInfo:
        return EntryInfo(kind, name, options, "ptycho-cli", "0.1.0", **more)

    return Catalogue(
        (
            own("scheduler", "Default", Options),
            own("scheduler", "Exponential", ExponentialOptions),
            own("scheduler", "MultiStage", Options, staged=True),
            own("scheduler", "ReduceLROnPlateau", PlateauOptions),
            EntryInfo("scheduler", "OneCycle", NeedyOptions, "ptycho-onecycle", "1.0"),
            EntryInfo("scheduler", "Twice", Options, "ptycho-left", "1.0"),
            EntryInfo("scheduler", "Twice", PlateauOptions, "ptycho-right", "2.0"),
            EntryInfo("scheduler", "Exponential", Options, "ptycho-thief", "0.3"),
            EntryInfo("callback", "ema", PlainOptions, "ptycho-ema", "0.1"),
            EntryInfo("callback", "live-preview", Options, "ptycho-preview", "0.1"),
            own("network", "unrolled", UnrolledOptions),
            EntryInfo("network", "scatter", ScatterOptions, "ptycho-scatter", "0.2"),
        )
    )
