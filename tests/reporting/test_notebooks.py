"""Runs and results in notebooks: short texts, cards, reports, and scans that are arrays in memory."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ptycho_cli
from ptycho_cli import api
from ptycho_cli.config.provenance import Resolved
from ptycho_cli.data.labelled_arrays import labelled_arrays
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import ConfigError, MissingPackageError

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


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ({"counts": np.ones((4, 8, 8)), "positons_px": np.ones((4, 2))}, "positions_px"),
        ({"positons_px": None}, "positions_px"),
        ({"count": np.ones((4, 8, 8))}, "counts"),
        ({"init_form": "runs/a"}, "init_from"),
        ({"epocs": 3}, "epochs"),
        ({"sheduler": "Default"}, "scheduler"),
        ({"postion_unit": "m"}, "position_unit"),
    ],
)
def test_a_mistyped_argument_gets_the_nearest_name(arguments: dict[str, Any], meant: str, tmp_path: Path) -> None:
    """Of the arrays as well as of the settings; in a training and in a reconstruction."""
    with pytest.raises(ConfigError, match=rf"Did you mean {meant}\?"):
        ptycho_cli.train(output_dir=tmp_path / "run", **arguments)
    if meant != "init_from":
        with pytest.raises(ConfigError, match=rf"Did you mean {meant}\?"):
            ptycho_cli.reconstruct(**arguments)


def test_an_array_under_a_name_that_is_like_nothing_is_refused_with_the_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Arrays are counts, positions_px, probe, mask"):
        ptycho_cli.train(zzz=np.ones(3), output_dir=tmp_path / "run")


def test_labelled_arrays_have_the_coordinates_and_units_of_the_scan(whole_run: Path) -> None:
    """Object and positions share one origin: the pixel below a probe's centre is the nearest one to its position."""
    run = ptycho_cli.load(whole_run)
    assert run.reconstruction is not None
    pixel_m = run.reconstruction.object_pixel_m
    assert pixel_m is not None

    found = run.to_xarray()

    np.testing.assert_array_equal(found.object.values, run.reconstruction.object)
    assert found.object.dims == ("y", "x")
    assert found.probe.dims == ("mode", "probe_y", "probe_x")
    assert found.y.units == found.position_x.units == "m"
    np.testing.assert_allclose(np.diff(found.x), pixel_m)
    frame, origin = run.reconstruction.positions_px[3], run.reconstruction.object_origin_px
    nearest = found.object.sel(y=found.position_y[3], x=found.position_x[3], method="nearest")
    row, column = np.rint(frame - origin).astype(int)
    assert nearest.values == run.reconstruction.object[row, column]
    assert found.probe_y.values[found.sizes["probe_y"] // 2] == 0.0


def test_labelled_arrays_are_in_pixels_where_their_size_is_unknown(whole_run: Path) -> None:
    result = ptycho_cli.load(whole_run).reconstruction
    assert result is not None

    found = labelled_arrays(replace(result, object_pixel_m=None))

    assert found.y.units == found.position_y.units == "px"
    np.testing.assert_allclose(found.position_y, result.positions_px[:, 0])


def test_without_xarray_a_line_says_how_to_install_it(whole_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)

    with pytest.raises(MissingPackageError, match=r"xarray is not installed. pip install 'ptycho-cli\[xarray\]'"):
        ptycho_cli.load(whole_run).to_xarray()
