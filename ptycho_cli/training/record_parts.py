"""Types of the parts of ``run.json`` and checkpoints that are read; a file from elsewhere may hold anything."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Texts = list[str]
Values = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Plugin(_Part):
    distribution: str
    version: str
    schedulers: Texts = []
    callbacks: Texts = []
    networks: Texts = []
    readers: Texts = []


class _Scan(_Part):
    path: str = ""
    sha256: str | None = None
    object_pixel_m: float | None = None
    n_frames: int = Field(0, ge=0)
    n_pixels: int = Field(0, ge=0)
    layout: str = ""
    left_out_frames: list[int] = []
    assumptions: Texts = []
    findings: list[Values] = []


class _Setting(_Part):
    value: Any = None
    source: str = ""
    origin: str = ""


class _Decision(_Setting):
    key: str
    overridden: list[_Setting] = []


class _Config(_Part):
    callbacks: dict[str, Values] = {}
    __pydantic_extra__: dict[str, Values]


class _Auto(_Part):
    polish: Annotated[int | None, Field(alias="inference.polish", ge=0, le=10**6)] = None
    tv_weight: Annotated[float | None, Field(alias="inference.tv_weight", ge=0)] = None


class _Score(_Part):
    polish: int
    tv_weight: float | None = None
    deviance: float
    noise: float
    mean_pattern: float


class _Record(_Part):
    config: _Config
    decisions: list[_Decision] = []
    plugins: list[_Plugin] = []
    data: list[_Scan] = []
    requested: Values = {}
    effective: Values = {}
    reasons: Values = {}
    versions: Values = {}
    process: Values = {}
    losses: dict[str, float | None] = {}
    scores: Values = {}
    loggers: dict[str, str] = {}
    auto: _Auto = _Auto()
    verdict: Values | None = None
    held_out_score: _Score | None = None
    weights: Values | None = None
    reconstruction: Values = {}
    status: str = ""
    init_from: str | None = None
    applied_steps: int = Field(0, ge=0, le=10**12)


class _Count(_Part):
    processed: int = Field(ge=0)


class _Progress(_Part):
    current: _Count


class _FitLoop(_Part):
    epoch_progress: _Progress


class _Loops(_Part):
    fit_loop: _FitLoop


class _State(_Part):
    applied_steps: int = Field(ge=0)


class _Schedule(_Part):
    settings: Values
    distribution: str
    version: str
    class_: Annotated[str, Field(alias="class")]
    epochs: int = Field(ge=1)
    steps_per_epoch: int = Field(ge=1)
    total_steps: int = Field(ge=1)


class _Optimizer(_Part):
    param_groups: list[Values]


class _Checkpoint(_Part):
    state_dict: Values
    loops: _Loops
    optimizer_states: list[_Optimizer]
    lr_schedulers: list[Values]
    callbacks: Values
    ptycho: _State
    ptycho_schedule: _Schedule


def problem_of_record(record: Any) -> str | None:
    """The first part of a run record that has another type than this program writes; None if there is none."""
    return _first_problem(_Record, record)


def problem_of_checkpoint(checkpoint: Any) -> str | None:
    """The same for a checkpoint."""
    return _first_problem(_Checkpoint, checkpoint)


def _first_problem(kind: type[BaseModel], found: Any) -> str | None:
    try:
        kind.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        return f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}"
    return None
