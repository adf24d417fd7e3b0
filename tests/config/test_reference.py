"""The generated pages, settings files and JSON schema follow from the schema."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.config.catalogue import Catalogue
from ptycho_cli.config.command_line import OLD_NAMES
from ptycho_cli.config.files import file_layer
from ptycho_cli.config.json_schema import json_schema
from ptycho_cli.config.keys import keys
from ptycho_cli.config.serialize import settings_file

DOCS = Path(__file__).parents[2] / "docs"


def load_generator() -> ModuleType:
    """The script that writes the pages."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()


@pytest.mark.parametrize("name", list(GENERATOR.PAGES))
def test_a_generated_page_is_current(name: str) -> None:
    """Also every example of precedence.md is what the program prints."""
    current = (DOCS / name).read_text(encoding="utf-8") == GENERATOR.PAGES[name]()

    assert current, f"docs/{name} is not what the program says now: run `{GENERATOR.COMMAND}` and read the difference"


def test_the_page_on_precedence_has_its_examples() -> None:
    assert (DOCS / "precedence.md").read_text(encoding="utf-8").count("```console\n$ ") == 6


def test_the_pages_name_every_key_every_variable_and_every_old_name() -> None:
    matrix = GENERATOR.override_matrix_page()
    for page in (GENERATOR.configuration_page(), matrix):
        for key in keys().values():
            assert f"`{key.name}`" in page
            assert f"`{key.env}`" in page
    for old in OLD_NAMES:
        assert f"| `{old.flag}` | `{old.key}` |" in matrix


def test_all_lines_of_a_new_settings_file_are_commented_out(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    text = settings_file(everything=True)
    assert all(line.startswith("#") or not line for line in text.splitlines())

    lines = [line.removeprefix("# ").removeprefix("#") for line in text.splitlines()[3:]]
    path.write_text("\n".join(lines))
    layer = file_layer(path)

    assert layer.problems == ()
    assert [name for name, _ in layer.settings] == list(keys())


def test_the_config_commands_print_a_file_a_schema_and_an_explanation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "init", "-o", str(tmp_path / "run.yaml")]) == 0
    assert "epochs:" in (tmp_path / "run.yaml").read_text()
    assert main(["config", "init", "-o", str(tmp_path / "run.yaml")]) == 2
    assert "exists already" in capsys.readouterr().err

    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["properties"]["training"]["properties"]["epochs"]["minimum"] == 1

    assert main(["config", "explain", "training.epochs"]) == 0
    assert "Expected:     a whole number, at least 1." in capsys.readouterr().out
    assert main(["config", "explain", "training.epoch"]) == 2
    assert "Did you mean training.epochs" in capsys.readouterr().err


def test_explain_describes_a_setting_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "explain", "training.batch_size"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert lines[0] == "training.batch_size"
    printed = dict(re.match(r"  (.+?): +(.+)", line).groups() for line in lines[2:])  # type: ignore[union-attr]
    assert printed["Expected"] == "a whole number, at least 1, in groups."
    assert printed["Default"] == "1 group"
    assert printed["Flag"].startswith("--batch-size; or --set")
    assert printed["Environment"] == "$PTYCHO_TRAINING__BATCH_SIZE"
    assert printed["Old name"] == "--batch_size"
    assert printed["Fixed"] == "by the run that --resume continues"
    for key in keys():
        assert main(["config", "explain", key]) == 0
    text = capsys.readouterr().out
    assert "No effect:    where checkpoints are off (checkpoint.enabled)" in text
    assert "Presets:      quick (" in text


def test_explain_knows_options_of_plugins(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "explain", "scheduler.options.min_ratio"]) == 0
    assert "Option of the scheduler WarmupCosine (ptycho-cli" in capsys.readouterr().out
    assert main(["config", "explain", "scheduler.options.min_ration"]) == 2
    assert "Did you mean scheduler.options.min_ratio" in capsys.readouterr().err


def test_the_json_schema_has_every_key_and_the_options_of_each_choice(catalogue: Catalogue) -> None:
    schema = json_schema(catalogue)

    for key in keys().values():
        assert key.field in schema["properties"][key.group]["properties"], key.name
    scheduler = schema["properties"]["scheduler"]
    names = scheduler["properties"]["name"]["anyOf"][0]["enum"]
    assert {"Exponential", "OneCycle"} <= set(names)
    (cycle,) = [rule for rule in scheduler["allOf"] if rule["if"]["properties"]["name"]["const"] == "OneCycle"]
    assert cycle["then"]["properties"]["options"]["required"] == ["low"]
    assert "decay" in str(schema["properties"]["callbacks"]["anyOf"][0]["properties"]["ema"])
    json.dumps(schema)


def test_a_new_settings_file_leads_an_editor_to_the_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["config", "init", "-o", "run.yaml"]) == 0
    first = Path("run.yaml").read_text().splitlines()[0]
    name = first.removeprefix("# yaml-language-server: $schema=")
    assert main(["config", "schema", "-o", name]) == 0
    assert json.loads(Path(name).read_text())["title"] == "Settings of ptycho"
    assert main(["config", "schema", "-o", name]) == 2
    assert "exists already" in capsys.readouterr().err
