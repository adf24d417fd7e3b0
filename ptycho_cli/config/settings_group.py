"""Base classes of groups of settings and of options, and the definition of one setting."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict


class Group(BaseModel):
    """Base class of all groups of settings: frozen, finite numbers only, no unknown names.

    Validators are built at first use: most commands need few of them, and start sooner without the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, defer_build=True)


class Options(Group):
    """Base class for the options of a scheduler, a network or a callback."""


def setting(
    default: Any,
    help: str,
    *,
    flag: str | None = None,
    unit: str | None = None,
    **bounds: Any,
) -> Any:
    """Define a field of the schema.

    Args:
        default: The built-in default; no other place repeats it.
        help: Short text for the command line's help and the reference page.
        flag: Spelling on the command line, such as ``-o/--output-dir``; None means ``--set`` only.
        unit: Unit of the value, such as ``frames``.
        **bounds: pydantic's bounds: ``ge``, ``gt``, ``le``, ``lt``, ``min_length``.
    """
    extra: JsonDict = {"flag": flag, "unit": unit}
    return Field(default, description=help, json_schema_extra=extra, **bounds)


# A number, or a path in a scan file or in another, ``FILE:PATH``, where the number stands.
NumberOrPath = Annotated[float, Field(gt=0.0)] | Annotated[str, Field(pattern="[/:]", description="a path in the file")]
NonNegativeFloat = Annotated[float, Field(ge=0.0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
