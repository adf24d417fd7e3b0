"""Scans that are written, converted, selected and merged come back as they were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptycho_cli.cli.app import main
from ptycho_cli.data.count_blocks import count_blocks
from ptycho_cli.data.merge_scans import merge_scans
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.scan_formats import SCAN_WRITERS
from ptycho_cli.data.select_frames import select_frames
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan
from ptycho_cli.errors import DataError

AS_STORED = ReadOptions(reject_bad_frames="never", mask_bad_pixels=False)
SUFFIXES = [".h5", ".cxi", ".npz"]


@st.composite
def scans(draw: st.DrawFn) -> Scan:
    """Tiny scans with and without all that a file may lack."""
    n_frames, n_pixels = draw(st.integers(4, 9)), draw(st.sampled_from([8, 10, 16]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    mask = rng.random((n_pixels, n_pixels)) > draw(st.sampled_from([0.0, 0.1]))
    counts = rng.poisson(draw(st.sampled_from([3.0, 9e4])), (n_frames, n_pixels, n_pixels)).astype(np.float32)
    if draw(st.booleans()):
        counts *= np.float32(0.37)
    modes = draw(st.integers(0, 3))
    probe = (rng.standard_normal((modes, n_pixels, n_pixels)) + 1j).astype(np.complex64)
    return Scan(
        source="made",
        counts=counts * mask,
        positions_px=rng.uniform(-6, 6, (n_frames, 2)) + draw(st.sampled_from([0.0, 1e5])),
        mask=mask,
        probe=probe if modes else None,
        object_pixel_m=draw(st.sampled_from([2e-11, 1e-8, 3.7e-7])),
        wavelength_m=draw(st.sampled_from([2.5e-12, 1e-10, 2.2e-9])),
        distance_m=draw(st.sampled_from([None, 0.3, 7.0])),
        radiation=draw(st.sampled_from([None, "xray", "electron"])),
        truth=np.ones((40, 41), np.complex64) if draw(st.booleans()) else None,
        truth_origin_px=(-20.0, -20.5),
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(scan=scans())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_scan_is_the_same_after_writing_and_reading(tmp_path: Path, suffix: str, scan: Scan) -> None:
    path = tmp_path / f"scan{suffix}"
    SCAN_WRITERS[suffix](path, scan, force=True)
    back = read_scan(path, AS_STORED)

    for name in ("counts", "mask", "probe", "truth"):
        stored, found = getattr(scan, name), getattr(back, name)
        assert (found is None) == (stored is None)
        if stored is not None:
            np.testing.assert_array_equal(np.asarray(found), stored, err_msg=name)
    np.testing.assert_allclose(back.positions_px, scan.positions_px, rtol=1e-12, atol=1e-9)
    for name in ("object_pixel_m", "wavelength_m", "distance_m", "radiation"):
        assert getattr(back, name) == getattr(scan, name), name
    assert back.assumptions == ()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_convert_chooses_the_format_by_the_suffix_and_reads_as_the_scan_did(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = replace(simulate(n_frames=40, n_pixels=16, seed=2), wavelength_m=1e-10)
    write_scan(tmp_path / "scan.h5", scan)
    out = tmp_path / f"out{suffix}"

    assert main(["data", "convert", str(tmp_path / "scan.h5"), "-o", str(out)]) == 0
    assert f"wrote     {out}" in "".join(capsys.readouterr().out)
    assert main(["data", "check", str(out), "--quick", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)

    assert report["assumptions"] == []
    np.testing.assert_array_equal(read_scan(out).counts, read_scan(tmp_path / "scan.h5").counts)
    assert main(["data", "convert", str(tmp_path / "scan.h5"), "-o", str(out)]) == 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_cxi_states_geometry_and_radiation_for_other_programs(tmp_path: Path) -> None:
    scan = replace(simulate(n_frames=9, n_pixels=16), wavelength_m=2e-12, radiation="electron", distance_m=0.5)
    scan.mask[2, 3] = False
    SCAN_WRITERS[".cxi"](tmp_path / "scan.cxi", scan)

    with h5py.File(tmp_path / "scan.cxi", "r+") as file:
        detector, source = file["entry_1/instrument_1/detector_1"], file["entry_1/instrument_1/source_1"]
        pixel = detector["x_pixel_size"][()]
        assert source["wavelength"][()] * detector["distance"][()] / (16 * pixel) == pytest.approx(scan.object_pixel_m)
        assert source["probe"].asstr()[()] == "electron"
        assert source["energy"][()] == pytest.approx(9.93223e-14, rel=1e-5)  # of a photon of this wavelength
        assert np.argwhere(detector["mask"][()]).tolist() == [[2, 3]]
        del file["entry_1/ptycho_cli"]  # as another program would write it
    back = read_scan(tmp_path / "scan.cxi", AS_STORED)
    assert back.radiation == "electron"
    assert back.object_pixel_m == pytest.approx(scan.object_pixel_m)
    np.testing.assert_allclose(back.positions_px, scan.positions_px, atol=1e-9)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["convert", "SCAN", "-o", "OUT.tif"], "expected a name that ends in .h5, .hdf5, .cxi, .npz."),
        (["convert", "BARE", "-o", "OUT.cxi"], "the wavelength must be known for a CXI file"),
        (["convert", "SCAN", "-o", "OUT.h5", "--select", "3-"], "--select: '3-' is not a frame number or a range."),
        (["convert", "SCAN", "-o", "OUT.h5", "--select", "90"], "--select names 90, but the scan has frames 0 to 15."),
        (["convert", "SCAN", "-o", "OUT.h5", "--region", "1,2"], "--region is 1,2, expected Y0:Y1,X0:X1"),
        (["convert", "SCAN", "-o", "OUT.h5", "--region", "500:600,0:1"], "no frame is selected; positions reach from"),
        (["merge", "SCAN", "-o", "OUT.h5"], "expected two scans or more, found 1."),
        (["merge", "SCAN", "COARSE", "-o", "OUT.h5"], "the object pixel is 2e-08 m, but in"),
        (["merge", "SCAN", "COPY", "-o", "OUT.h5"], "its first frame and position are those of"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    scan = simulate(n_frames=16, n_pixels=16)
    files = {"SCAN": scan, "COPY": scan, "COARSE": replace(scan, object_pixel_m=2e-8)}
    files["BARE"] = replace(scan, wavelength_m=None)
    for name, content in files.items():
        write_scan(tmp_path / f"{name}.h5", content)
    places = {name: str(tmp_path / f"{name}.h5") for name in files}
    typed = [places.get(word, word.replace("OUT", str(tmp_path / "out"))) for word in words]

    assert main(["data", *typed]) == 2

    assert line in " ".join(capsys.readouterr().err.split())
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(files)


def test_frames_are_selected_by_number_and_by_region(tmp_path: Path) -> None:
    scan = simulate(n_frames=30, n_pixels=16)
    write_scan(tmp_path / "scan.h5", scan)
    words = ["data", "convert", str(tmp_path / "scan.h5"), "-o", str(tmp_path / "part.h5"), "--quiet"]

    assert main([*words, "--select", "0-19,25", "--region", "-1e3:1e3,0:1e3"]) == 0
    with h5py.File(tmp_path / "part.h5") as file:
        kept = file["stored_frames"][()]
    expected = [number for number in [*range(20), 25] if scan.positions_px[number, 1] >= 0]
    assert kept.tolist() == expected
    np.testing.assert_array_equal(read_scan(tmp_path / "part.h5", AS_STORED).counts, scan.counts[expected])


def test_a_selection_of_a_selection_keeps_the_numbers_of_the_file() -> None:
    scan = simulate(n_frames=12, n_pixels=16)
    found = select_frames(select_frames(scan, numbers="4-9"), numbers="6-7")
    assert found.frame_numbers.tolist() == [6, 7]


def halves() -> tuple[Scan, Scan, Scan]:
    scan = replace(simulate(n_frames=24, n_pixels=16), wavelength_m=1e-10)
    return scan, scan.select(np.arange(10)), scan.select(np.arange(10, 24))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_halves_of_a_scan_merge_to_the_whole(tmp_path: Path, suffix: str) -> None:
    scan, first, second = halves()
    for name, half in (("first", first), ("second", second)):
        write_scan(tmp_path / f"{name}.h5", half)
    paths, out = [str(tmp_path / f"{name}.h5") for name in ("first", "second")], tmp_path / f"both{suffix}"

    assert main(["data", "merge", *paths, "-o", str(out), "--quiet"]) == 0

    both = read_scan(out, AS_STORED)
    np.testing.assert_array_equal(both.counts, scan.counts)
    np.testing.assert_allclose(both.positions_px, scan.positions_px, atol=1e-9)
    np.testing.assert_allclose(both.probe, scan.probe, rtol=1e-6)
    np.testing.assert_array_equal(both.truth, scan.truth)


def test_a_pixel_that_is_masked_in_one_scan_is_masked_in_all_and_it_is_reported() -> None:
    _, first, second = halves()
    masked = replace(second, mask=second.mask.copy())
    masked.mask[4, 5] = False

    both = merge_scans([first, masked])

    assert np.argwhere(~both.mask).tolist() == [[4, 5]]
    blocks = list(count_blocks(both, np.dtype(np.float32)))
    assert [(rows.start, rows.stop) for rows, _ in blocks] == [(0, 10), (10, 24)]
    assert not any(counts[:, 4, 5].any() for _, counts in blocks)
    assert both.assumptions == ("detector pixels that are masked in one scan are masked in all.",)


def test_the_probe_of_a_merge_has_the_mean_photons_whatever_the_exposure_of_each() -> None:
    scan, first, second = halves()
    assert second.probe is not None
    bright = replace(second, probe=second.probe * np.complex64(2j), counts=second.counts * 4)

    both = merge_scans([first, bright])

    assert both.probe is not None
    power = float(np.sum(np.abs(scan.probe) ** 2))  # type: ignore[arg-type]
    assert np.sum(np.abs(both.probe) ** 2) == pytest.approx(power * (10 + 4 * 14) / 24, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"wavelength_m": 1.1e-10}, "the wavelength is 1.1e-10 m, but in .* it is 1e-10 m"),
        ({"object_pixel_m": None}, "the object pixel is unknown"),
        ({"radiation": "electron"}, "the radiation is electron"),
        ({"probe": np.ones((1, 16, 16), np.complex64)}, "the probe is"),
        ({"counts": np.ones((14, 8, 8), np.float32), "mask": np.ones((8, 8), bool)}, "the size of frames is 8 px"),
    ],
)
def test_scans_of_different_instruments_do_not_merge(change: dict[str, Any], line: str) -> None:
    _, first, second = halves()
    with pytest.raises(DataError, match=line):
        merge_scans([first, replace(second, **change)])


def test_a_file_of_this_program_without_its_frames_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "scan.npz", format="ptycho_cli scan 1", positions_px=np.zeros((4, 2)))

    assert main(["data", "check", str(tmp_path / "scan.npz")]) == 2
    assert "a scan of this program without 'counts'." in capsys.readouterr().err
