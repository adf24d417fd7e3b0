"""Many runs in one table: those that stand out come first, in the page and in its JSON twin."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.errors import CheckpointError
from ptycho_cli.reporting.run_table import table_of, table_page

MakeRun = Callable[..., Path]


def verdict(ratio: float, *, explained: bool = True) -> dict[str, Any]:
    return {
        "explained": explained, "deviance": 0.5 * ratio, "expected_deviance": 0.5, "ratio": ratio, "findings": [],
        "reasons": [] if explained else ["positions-axes"], "worst_frames": [], "worst_pixels": [],
    }  # fmt: skip


@pytest.fixture
def runs(make_run: MakeRun) -> dict[str, Path]:
    """Five alike, one unexplained, one with another R-factor, one of another kind of folder."""
    found = {f"good{number}": make_run(f"good{number}", verdict=verdict(1.2 + 0.01 * number)) for number in range(5)}
    found["bad"] = make_run("bad", verdict=verdict(4.0, explained=False))
    odd = {"trained": {"r_factor": 0.3, "deviance": 0.55}}
    found["odd"] = make_run("odd", verdict=verdict(1.21), scores=odd)
    found["other"] = found["odd"].parent / "other"
    found["other"].mkdir()
    return found


def test_those_that_stand_out_come_first(runs: dict[str, Path]) -> None:
    rows = table_of(list(runs.values()))

    assert [Path(row.path).name for row in rows[:3]] == ["other", "bad", "odd"]
    assert list(rows[2].outlier_in) == ["R-factor"]
    assert not any(row.stands_out for row in rows[3:])


def test_the_table_and_its_json_have_the_same_order(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "table.html"
    assert main(["report", *map(str, runs.values()), "-o", str(page), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    html = page.read_text(encoding="utf-8").replace("<wbr>", "")

    names = [run["path"] for run in found["runs"]]
    places = [html.index(f"<b>{name}</b>") for name in names]
    assert places == sorted(places)
    assert found["summary"] in html
    assert found["runs"][1]["reasons"] == ["positions-axes"]


def test_settings_that_differ_have_a_column(make_run: MakeRun) -> None:
    """Those that are equal, and paths, have none."""
    first, second = make_run("a"), make_run("b")
    record = json.loads((second / "run.json").read_text())
    for item in record["decisions"]:
        if item["key"] == "optimizer.learning_rate":
            item["value"] = 5e-4
    (second / "run.json").write_text(json.dumps(record))
    html = table_page(table_of([first, second])).replace("<wbr>", "")

    assert '<th class="key">optimizer.learning_rate</th>' in html
    assert "0.0005" in html
    assert html.count('<th class="key">') == 1


def test_options_of_one_scheduler_have_a_column_only_if_they_differ(make_run: MakeRun) -> None:
    """A run with another scheduler has no such options, which its name says already."""
    runs = [make_run("a"), make_run("b"), make_run("c")]
    for number, run in enumerate(runs[1:]):
        record = json.loads((run / "run.json").read_text())
        for name, value in (("gamma", 0.5), ("every", number)):
            key = f"scheduler.options.{name}"
            record["decisions"].append(record["decisions"][0] | {"key": key, "value": value, "overridden": []})
        (run / "run.json").write_text(json.dumps(record))
    html = table_page(table_of(runs)).replace("<wbr>", "")

    assert '<th class="key">scheduler.options.every</th>' in html
    assert "gamma" not in html


def test_too_few_runs_have_no_outliers(make_run: MakeRun) -> None:
    rows = table_of([make_run(f"r{number}", verdict=verdict(number + 1.0)) for number in range(3)])

    assert not any(row.outlier_in for row in rows)


def test_where_no_run_can_be_read_the_first_error_ends_the_command(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()

    with pytest.raises(CheckpointError, match="expected the folder of a run"):
        table_of([tmp_path / "a", tmp_path / "b"])
