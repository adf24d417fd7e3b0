"""Lengths such as ``500``, ``2ep`` and ``5%``: parsing, conversion to steps, and the way back."""

from __future__ import annotations

import json
import pickle

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ptycho_cli.extend import Length, Options, PositiveLength, Span

SPAN = Span(total_steps=60, steps_per_epoch=6, epochs=10)


class Model(Options):
    length: Length = Length.parse("1ep")
    positive: PositiveLength = Length.parse("1ep")


@pytest.mark.parametrize(
    ("written", "steps"),
    [(500, 500), ("500", 500), (0, 0), ("2ep", 12), ("0.5ep", 3), (" 2 ep ", 12), ("5%", 3), ("2.5%", 2), ("100%", 60)],
)
def test_a_length_resolves_to_steps(written: object, steps: int) -> None:
    """A half is rounded upward: 2.5 % of 60 steps is 1.5 steps, so 2."""
    assert Model.model_validate({"length": written}).length.steps(SPAN) == steps


@pytest.mark.parametrize("written", [-1, True, 1.5, "", "ep", "2 epochs", "1e3", "-2ep", "nan%", None, "5%%", "1.5"])
def test_what_is_not_a_length_is_refused_with_the_three_forms(written: object) -> None:
    with pytest.raises(ValidationError, match="expected optimizer steps such as 500, epochs such as 2ep, or a share"):
        Model.model_validate({"length": written})


def test_bounds_of_a_length() -> None:
    with pytest.raises(ValidationError, match="more than the whole training; expected at most 100%"):
        Model.model_validate({"length": "101%"})
    with pytest.raises(ValidationError, match="a length of 0 is too short"):
        Model.model_validate({"positive": "0ep"})


@given(
    st.one_of(
        st.integers(0, 10**9), st.builds("{}{}".format, st.decimals(0, 100, places=4), st.sampled_from(["ep", "%"]))
    )
)
def test_json_and_yaml_give_back_the_same_length(written: int | str) -> None:
    model = Model.model_validate({"length": written})

    assert Model.model_validate_json(model.model_dump_json()) == model
    assert Model.model_validate(json.loads(json.dumps(model.model_dump()))) == model
    assert Model.model_validate(yaml.safe_load(yaml.safe_dump(model.model_dump(mode="json")))) == model
    assert Length.parse(str(model.length)) == model.length


def test_equal_lengths_are_equal_and_can_be_hashed_and_pickled() -> None:
    assert {Length.parse("2ep"), Length.parse("2.0ep"), Length.parse(2)} == {Length.parse(" 2ep"), Length.parse("2")}
    assert pickle.loads(pickle.dumps(Model())) == Model()
    assert hash(Model()) == hash(Model())


def test_steps_are_stored_as_a_number_and_the_rest_as_text() -> None:
    assert Model(length=Length.parse("500")).model_dump(mode="json")["length"] == 500
    assert Model(length=Length.parse("12.50%")).model_dump(mode="json")["length"] == "12.5%"
    assert [kind["type"] for kind in Model.model_json_schema()["properties"]["length"]["anyOf"]] == [
        "integer",
        "string",
    ]


def test_the_default_of_an_option_may_be_text() -> None:
    class Warm(Options):
        warmup: Length = "5%"  # type: ignore[assignment]

    assert Warm().warmup == Length.parse("5%")
