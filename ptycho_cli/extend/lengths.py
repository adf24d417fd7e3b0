"""Lengths in a training, as users write them: ``500`` optimizer steps, ``2ep`` epochs, ``5%`` of the training."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator
from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler

    from ptycho_cli.extend.specs import Span

Unit = Literal["steps", "ep", "%"]
_PATTERN = r"\d{1,12}(?:\.\d{1,9})?\s*(?:ep|%)|\d{1,12}"
_EXPECTED = "expected optimizer steps such as 500, epochs such as 2ep, or a share of the training such as 5%"


@dataclass(frozen=True, slots=True)
class Length:
    """A length in optimizer steps, epochs, or percent of the training.

    Attributes:
        described_as: The three units, for tables of options.
        amount: Amount in ``unit``; a whole number for steps, at most 100 for percent.
        unit: ``steps``, ``ep`` or ``%``.
    """

    described_as: ClassVar[str] = "steps, ep or %"

    amount: Fraction
    unit: Unit = "steps"

    @classmethod
    def parse(cls, value: object) -> Length:
        """Read ``500``, ``"500"``, ``"2ep"``, ``"0.5ep"`` or ``"5%"``.

        Raises:
            ValueError: If it is none of these.
        """
        if isinstance(value, Length):
            return value
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(Fraction(value))
        if not isinstance(value, str) or not re.fullmatch(rf"\s*(?:{_PATTERN})\s*", value):
            raise ValueError(f"{value!r} is not a length; {_EXPECTED}")
        text = value.strip()
        unit: Unit = "ep" if text.endswith("ep") else "%" if text.endswith("%") else "steps"
        amount = Fraction(text.removesuffix(unit).strip())
        if unit == "%" and amount > 100:
            raise ValueError(f"{value!r} is more than the whole training; expected at most 100%")
        return cls(amount, unit)

    def steps(self, span: Span) -> int:
        """The length in optimizer steps, rounded to the nearest; a half is rounded up."""
        if self.unit == "ep":
            exact = self.amount * span.steps_per_epoch
        elif self.unit == "%":
            exact = self.amount * span.total_steps / 100
        else:
            exact = self.amount
        return math.floor(exact + Fraction(1, 2))

    def plain(self) -> int | str:
        """The value in YAML and JSON: a number for steps, otherwise the text; ``parse`` reads it back."""
        return int(self.amount) if self.unit == "steps" else str(self)

    def __str__(self) -> str:
        whole, rest = divmod(self.amount, 1)
        decimals = f"{float(rest):.9f}".rstrip("0").removeprefix("0") if rest else ""
        return f"{whole}{decimals}" + ("" if self.unit == "steps" else self.unit)

    def __repr__(self) -> str:
        return f"Length({str(self)!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(cls.plain)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^(?:{_PATTERN})$"}]}


def lengths_in_steps(options: BaseModel, span: Span) -> dict[str, int | list[int]]:
    """The options that are lengths or tuples of lengths, converted to optimizer steps."""
    found: dict[str, int | list[int]] = {}
    for name in type(options).model_fields:
        value = getattr(options, name)
        if isinstance(value, Length):
            found[name] = value.steps(span)
        elif isinstance(value, tuple) and value and all(isinstance(item, Length) for item in value):
            found[name] = [item.steps(span) for item in value]
    return found


def _above_zero(length: Length) -> Length:
    if length.amount == 0:
        raise ValueError("a length of 0 is too short; expected more than 0")
    return length


PositiveLength = Annotated[Length, AfterValidator(_above_zero)]
"""A ``Length`` above 0."""
