"""The reference pages say what the code does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.config.argv import OLD_NAMES
from ptycho_cli.config.files import file_layer
from ptycho_cli.config.keys import keys
from ptycho_cli.config.reference import PAGES, settings_file

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", list(PAGES))
def test_a_generated_page_is_current(name: str) -> None:
    """If not: ``python -m ptycho_cli.config.reference docs``."""
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name]()


def test_the_pages_name_every_key_every_variable_and_every_old_name() -> None:
    for name in PAGES:
        text = (DOCS / name).read_text(encoding="utf-8")
        for key in keys().values():
            assert f"`{key.name}`" in text
            assert f"`{key.env}`" in text
    for old in OLD_NAMES:
        assert f"| `{old.flag}` | `{old.key}` |" in text


def test_a_new_settings_file_says_nothing_until_a_line_is_uncommented(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    text = settings_file(everything=True)
    assert all(line.startswith("#") or not line for line in text.splitlines())

    lines = [line.removeprefix("# ").removeprefix("#") for line in text.splitlines()[1:]]
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
    assert "Expected: a whole number, at least 1." in capsys.readouterr().out
    assert main(["config", "explain", "training.epoch"]) == 2
    assert "Did you mean training.epochs" in capsys.readouterr().err
