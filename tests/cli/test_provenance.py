"""Run and reconstructions store the origin of every value, also for a command line with old names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import h5py
import pytest

from ptycho_cli.cli.app import main

OLD = "--train_data_file {scan} --output_dir {run} --max_epochs 1 --n_images 3 --gridsize 3 --batch_size 1 --device cpu"
OLD_SWITCHES = "--disable_mlflow --torch-loss-mode poisson"
STEADY = "--set physics.background=0 --set physics.refine_intensity=never"  # as the simulated scan is
SMALL = f"--network-option stages=2 --set physics.probe_warmup=0 --no-report {STEADY}"


def provenance_of(record: dict[str, Any], key: str) -> list[tuple[Any, str]]:
    (decision,) = (item for item in record["decisions"] if item["key"] == key)
    return [(item["value"], item["origin"]) for item in (decision, *decision["overridden"])]


def record_in(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        record: dict[str, Any] = json.loads(file["ptycho_cli/run_record"].asstr()[()])
    return record


@pytest.mark.long
def test_a_polished_training_is_compared_with_the_untrained_network_at_equal_polish(
    small_scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seen before: the trained network was polished and the untrained one was not."""
    run, out = str(tmp_path / "run"), str(tmp_path / "out.h5")
    small = ["--epochs", "1", "--n-groups", "2", "--compare-untrained", *SMALL.split()]

    assert main(["train", str(small_scan), "-o", run, *small, "--set", "inference.polish=3", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["polish"] == 3
    infer = ["infer", run, str(small_scan), "-o", out, "--force", "--json"]
    for name, flags in (("trained", []), ("untrained", ["--untrained"])):
        for which, polish in ((name, "0"), (f"{name}_polished", "3")):
            assert main([*infer, "--polish", polish, *flags]) == 0
            found = json.loads(capsys.readouterr().out)
            assert found["r_factor"] == pytest.approx(summary[which]["r_factor"], rel=1e-3)


def test_an_old_command_line_trains_and_its_provenance_is_kept_everywhere(
    small_scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = tmp_path / "run", tmp_path / "out.h5"
    monkeypatch.setenv("PTYCHO_TRAINING__SEED", "7")
    words = f"{OLD} {OLD_SWITCHES} {SMALL}".format(scan=small_scan, run=run).split()

    assert main(["train", *words, "--quiet"]) == 0
    typed = [word for word in words if word.startswith("--") and ("_" in word or word in ("--gridsize", "--device"))]
    warned = re.findall(r"warning: (--\S+) is an old name; use ", capsys.readouterr().err)
    assert sorted(warned) == sorted([*typed, "--torch-loss-mode"])
    assert not (run / "callback_metrics.csv").exists()  # --disable_mlflow

    for record in (json.loads((run / "run.json").read_text()), record_in(run / "reconstruction.h5")):
        assert provenance_of(record, "training.epochs") == [(1, "--max_epochs (argument 6)"), (6, "default")]
        assert provenance_of(record, "data.group_size")[0] == (9, "--gridsize (argument 10)")
        assert provenance_of(record, "training.seed") == [(7, "$PTYCHO_TRAINING__SEED"), (0, "default")]
        assert record["config"]["training"]["seed"] == 7

    assert main(["infer", str(run), str(small_scan), "-o", str(out), "--polish", "2", "--quiet"]) == 0
    record = record_in(out)
    assert provenance_of(record, "inference.polish")[0] == ("auto", "default")  # of the training
    used = record["reconstruction"]
    assert provenance_of(used, "inference.polish") == [(2, "--polish (argument 6)"), ("auto", "default")]
    assert provenance_of(used, "model.options.stages")[0] == (2, f"checkpoint {run}")
    assert used["config"]["inference"]["polish"] == 2

    words = ["infer", str(run), str(small_scan), "-o", str(out), "--force", "--quiet"]
    assert main([*words, "--preset", "quick"]) == 2
    assert "the preset quick has no effect when a trained run is used" in capsys.readouterr().err
    assert main([*words, "--set", "model.options.stages=3"]) == 2
    assert f"checkpoint {run} fixes it to 2" in capsys.readouterr().err
