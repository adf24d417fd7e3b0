"""Runs and results in notebooks: short texts, cards, reports, and scans that are arrays in memory."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ptycho_cli
from ptycho_cli import api
from ptycho_cli.config.provenance import Resolved
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import ConfigError

MakeRun = Callable[..., Path]


def test_a_loaded_run_has_arrays_scores_and_curves(whole_run: Path) -> None:
    run = ptycho_cli.load(whole_run)

    assert run.reconstruction is not None
    assert run.reconstruction.object.shape == (40, 40)
    assert run.scores["R-factor"] == 0.03
    assert run.curves is not None
    assert run.curves.steps == [1, 2, 3, 4, 5, 6]
    assert repr(run) == f"<run {whole_run}: The model explains the frames (1.2 times photon noise).>"


def test_a_card_has_verdict_scores_and_pictures_and_escapes_names(make_run: MakeRun) -> None:
    card = ptycho_cli.load(make_run("<script>", result={}))._repr_html_()

    assert "&lt;script&gt;" in card
    assert "<script" not in card
    assert card.count("<svg") == 2
    assert "The model explains the frames" in card


def test_show_opens_a_page_in_a_browser_and_in_a_notebook_below_the_cell(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, opened, displayed = ptycho_cli.load(make_run()), [], []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    run.show()
    assert Path(opened[0].removeprefix("file://")).read_text(encoding="utf-8").startswith("<!doctype html>")

    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    module: Any = SimpleNamespace(HTML=str, display=displayed.append)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    run.show()
    assert displayed[0].startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert len(opened) == 1


def test_a_training_reads_arrays_and_scans_like_files(
    scan_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the training gets is the scan of the file, in both ways; nothing is left on the disk."""
    scan, seen = read_scan(scan_file), []
    monkeypatch.setattr(api, "train_resolved", lambda resolved, *others: seen.append(read_scans_of(resolved)))

    ptycho_cli.train(scan, output_dir=tmp_path / "run")
    ptycho_cli.train(counts=scan.counts, positions_px=scan.positions_px, probe=scan.probe, output_dir=tmp_path / "run")
    for path, found in seen:
        np.testing.assert_array_equal(found.counts, scan.counts)
        np.testing.assert_allclose(found.positions_px, scan.positions_px)
        assert not Path(path).exists()


def read_scans_of(resolved: Resolved) -> tuple[str, Scan]:
    (path,) = resolved.config.data.paths
    return path, read_scan(path)


def test_a_result_in_memory_has_a_card_and_a_short_text(whole_run: Path) -> None:
    from ptycho_cli.assembly.polish_rule import Polish
    from ptycho_cli.inference.inference_run import Inferred
    from ptycho_cli.inference.results import Result
    from ptycho_cli.reporting.shown_inference import shown

    run = ptycho_cli.load(whole_run)
    assert run.reconstruction is not None
    result = Result(run.reconstruction, r_factor=0.25, deviance=0.6)
    found = shown(Inferred(result, 1.0, 1.0, Polish(0)), {**run.record, "reconstruction": {}}, "<b>.h5")

    assert repr(found) == "<reconstruction of <b>.h5, 40 x 40 px: no verdict, status trained>"
    assert "&lt;b&gt;.h5" in found._repr_html_()
    assert "R-factor: <b>0.25</b>" in found._repr_html_()
    assert found.reconstruction is run.reconstruction


def test_half_of_the_arrays_and_other_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="positions_px: missing"):
        ptycho_cli.train(counts=np.ones((4, 8, 8)), output_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match="found a ndarray, expected the path of a scan file"):
        ptycho_cli.train(np.ones((4, 8, 8)), output_dir=tmp_path / "run")
