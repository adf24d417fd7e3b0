"""Options of every type, however they are written, and the forms in which they are printed."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from pydantic import Field

from ptycho_cli.config.catalogue import Catalogue, EntryInfo
from ptycho_cli.config.command_line import Typed, command_line_layer
from ptycho_cli.config.files import file_layer
from ptycho_cli.config.provenance import Layer, ProblemsError, Resolved
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.serialize import report, to_command_line, to_json_text, to_yaml
from ptycho_cli.config.values import option_expects
from ptycho_cli.extend import Length, Options, Span
from ptycho_cli.extend.lengths import lengths_in_steps


class StairsOptions(Options):
    """Lists of several types, and a value that may be null."""

    milestones: tuple[Length, ...] = Field((Length.parse("50%"),), description="Where the rate drops.")
    factors: tuple[float, ...] = Field((0.1,), description="By how much.")
    names: frozenset[str] = Field(frozenset({"network"}), description="Of which groups.")
    floor: float | None = Field(0.5, description="The lowest factor; null for none.")


CATALOGUE = Catalogue(
    (
        EntryInfo("scheduler", "Default", Options, "ptycho-cli", "0.1.0"),
        EntryInfo("scheduler", "Stairs", StairsOptions, "beamline-stairs", "0.3"),
        EntryInfo("network", "unrolled", Options, "ptycho-cli", "0.1.0"),
    )
)
TYPED = ("milestones=20%, 2ep, 500", "factors=[0.5, 0.1,0.01]", "names=[probe, network]", "floor=null")
MEANT = StairsOptions(
    milestones=tuple(map(Length.parse, ("20%", "2ep", 500))),
    factors=(0.5, 0.1, 0.01),
    names=frozenset({"network", "probe"}),
    floor=None,
)


def typed(*words: str) -> Layer:
    return command_line_layer([Typed(words[i], words[i + 1], i + 1) for i in range(0, len(words), 2)])


def chosen(*options: str) -> Layer:
    return typed("--scheduler", "Stairs", *(word for text in options for word in ("--scheduler-option", text)))


def options_of(resolved: Resolved) -> object:
    return resolved.config.scheduler.options


def test_lists_and_null_can_be_typed() -> None:
    assert options_of(resolve([chosen(*TYPED)], CATALOGUE)) == MEANT
    assert options_of(resolve([chosen("milestones=3")], CATALOGUE)) == StairsOptions(milestones=(Length.parse(3),))
    assert options_of(resolve([chosen("milestones=[]")], CATALOGUE)) == StairsOptions(milestones=())


@pytest.mark.parametrize("form", ["yaml", "json", "command line"])
def test_every_printed_form_of_lists_and_null_can_be_given_back(form: str, tmp_path: Path) -> None:
    resolved = resolve([chosen(*TYPED)], CATALOGUE)
    path = tmp_path / "printed.yaml"
    if form == "command line":
        again = typed(*shlex.split(to_command_line(resolved))[2:])
    else:
        path.write_text(to_yaml(resolved) if form == "yaml" else to_json_text(report(resolved)))
        again = file_layer(path)

    assert options_of(resolve([again], CATALOGUE)) == MEANT


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("milestones=20%, soon", "milestones is 20%, soon: 'soon' is not a length; expected optimizer steps such as"),
        ("factors=0.5 and 0.1", "factors is 0.5 and 0.1, expected a list, each a number."),
        ("floor=none", "floor is none, expected a number or null."),
    ],
)
def test_a_wrong_item_of_a_list_is_refused_in_the_words_of_its_type(text: str, reason: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        resolve([chosen(text)], CATALOGUE)

    assert str(caught.value).startswith(f"--scheduler-option (argument 3): scheduler.options.{reason}")


def test_lengths_in_a_list_become_steps_too() -> None:
    assert lengths_in_steps(MEANT, Span(total_steps=1000, steps_per_epoch=20, epochs=50)) == {
        "milestones": [200, 40, 500]
    }


def test_the_expected_values_of_an_option_are_described() -> None:
    words = {name: option_expects(info) for name, info in StairsOptions.model_fields.items()}

    assert words == {
        "milestones": "a list, each steps, ep or %",
        "factors": "a list, each a number",
        "names": "a list of texts",
        "floor": "a number or null",
    }
