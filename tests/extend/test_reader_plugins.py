"""A plugin's reader serves every command that reads a scan, and can be listed, checked and left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import ptycho_cli
from ptycho_cli.cli.app import main
from ptycho_cli.data.read import read_scan

MakePlugin = Callable[..., Path]
# The example of the page, under a name that tests choose.
PAGE = (Path(__file__).parents[2] / "docs" / "tutorials" / "reader_plugin.md").read_text()
BEAM = PAGE.partition("cat > ptycho_beam.py <<'EOF'\n")[2].partition("\nEOF\n")[0].replace('"MyBeamline"', '"NAME"')
STORE = PAGE.partition("python - <<'EOF'\n")[2].partition("\nEOF\n")[0]
QUICK = (
    "--epochs",
    "1",
    "--n-groups",
    "4",
    "--group-size",
    "12",
    "--set",
    "physics.probe_warmup=0",
    "--no-report",
    "--quiet",
)


@pytest.fixture
def beam_file(small_scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scan as the example's beamline stores it."""
    monkeypatch.chdir(tmp_path)
    exec(STORE.replace("scan.h5", str(small_scan)), {})
    return tmp_path / "run_0001.h5"


@pytest.mark.long
def test_every_command_reads_with_a_plugins_reader_and_the_run_records_it(
    make_plugin: MakePlugin, beam_file: Path, small_scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_plugin("ptycho-beam", BEAM, offers="MyBeamline")
    file, run, out, copy = str(beam_file), str(tmp_path / "run"), str(tmp_path / "out.h5"), str(tmp_path / "copy.h5")

    def report(*words: str) -> Any:
        capsys.readouterr()
        assert main([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    checked = report("data", "check", file)
    assert checked["contents"]["file"] == f"{file} (MyBeamline of ptycho-beam 1.0)"
    assert main(["data", "convert", file, "-o", copy, "--quiet"]) == 0
    np.testing.assert_array_equal(read_scan(copy).counts, read_scan(small_scan).counts)
    np.testing.assert_allclose(read_scan(copy).positions_px, read_scan(small_scan).positions_px, rtol=1e-3)

    assert main(["train", file, "-o", run, *QUICK, "--accelerator", "cpu"]) == 0
    record = json.loads((Path(run) / "run.json").read_text())
    assert record["data"][0]["layout"] == "MyBeamline of ptycho-beam 1.0"
    assert [plugin["readers"] for plugin in record["plugins"]] == [[], ["MyBeamline"]]

    inferred = report("infer", run, file, "-o", out)
    assert report("evaluate", out, "--data", file)["r_factor"] == pytest.approx(inferred["r_factor"], rel=1e-3)
    assert report("compare", run, file, "-o", str(tmp_path / "beside"), "--set", "inference.polish=0")
    assert len(ptycho_cli.infer(run, file, polish=0).result.reconstruction.positions_px) == 100


def test_without_the_plugin_the_file_is_described_and_nobody_reads_it(
    make_plugin: MakePlugin, beam_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_plugin("ptycho-beam", BEAM, offers="MyBeamline")

    assert main(["data", "check", str(beam_file), "--no-plugin", "ptycho-beam"]) == 2

    error = capsys.readouterr().err
    assert "it holds /run/camera (100, 32, 32) " in error
    assert "--frames /run/camera --positions /run/stage_um" in error
    assert "MyBeamline" not in error


def test_a_reader_that_fails_is_named_and_left_out_on_request(
    make_plugin: MakePlugin, scan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty = BEAM.replace("    return source.hdf5", "    raise OSError('no licence')\n    return source.hdf5", 1)
    make_plugin("ptycho-beam", faulty, offers="MyBeamline", version="3.1")

    assert main(["data", "check", str(scan_file)]) == 0
    passed_over = "the reader MyBeamline of ptycho-beam 3.1 failed on this file and was passed over"
    printed = " ".join(capsys.readouterr().out.split())  # folded between words
    assert f"assumed {passed_over} (OSError: no licence)." in printed

    assert main(["data", "check", str(scan_file), "--no-plugin", "ptycho-beam"]) == 0
    assert "MyBeamline" not in capsys.readouterr().out


@pytest.mark.long
def test_readers_of_one_name_are_listed_as_a_clash_and_both_named_where_they_take_one_file(
    make_plugin: MakePlugin, beam_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_plugin("ptycho-beam", BEAM, offers="MyBeamline")
    make_plugin("ptycho-other", BEAM, offers="MyBeamline", version="2.0")

    assert main(["plugins", "list"]) == 0
    assert capsys.readouterr().out.count("readers: MyBeamline") == 2

    assert main(["plugins", "check"]) == 2
    line = "ptycho-beam 1.0 (mybeamline): ptycho-other 2.0 offers the reader MyBeamline too. Leave one of them out."
    assert line in capsys.readouterr().out

    assert main(["data", "check", str(beam_file)]) == 2
    error = capsys.readouterr().err
    assert "MyBeamline of ptycho-beam 1.0 and MyBeamline of ptycho-other 2.0 both read this layout" in error
    assert main(["data", "check", str(beam_file), "--no-plugin", "ptycho-other"]) == 0


def test_the_known_object_and_the_probe_of_a_plugins_file_are_found(
    make_plugin: MakePlugin, beam_file: Path, small_scan: Path, tmp_path: Path
) -> None:
    with h5py.File(small_scan) as scan, h5py.File(beam_file, "a") as file:
        file["object_true"], file["run/probe"] = scan["object_true"][()], scan["probe"][()]
        file["run"].attrs["origin_px"] = scan.attrs["truth_origin_px"]
    more = 'raw.truth, raw.probe = source.hdf5["object_true"][()], run["probe"][()]\n'
    more += '    raw.truth_origin_px = tuple(run.attrs["origin_px"])\n'
    make_plugin("ptycho-beam", BEAM.replace("    return raw\n", f"    {more}    return raw\n"), offers="MyBeamline")
    from ptycho_cli.data.object_files import load_object
    from ptycho_cli.extend.host import load_plugins

    assert load_object(str(beam_file), load_plugins().readers).origin_px == load_object(str(small_scan)).origin_px
    words = ["simulate", "-o", str(tmp_path / "a.h5"), "--frames", "16", "--probe-from", str(beam_file), "--quiet"]
    assert main(words) == 0
