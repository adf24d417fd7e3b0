"""A run with several probe modes, from the command line to its file: trained, resumed, reconstructed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from ptycho_cli.cli.app import main
from ptycho_cli.data.write import read_reconstruction

SMALL = ("--n-groups", "5", "--group-size", "6", "--network-option", "stages=1", "--network-option", "width=4")
QUICK = ("--epochs", "1", "--set", "physics.probe_warmup=10", "--accelerator", "cpu", "--no-report", "--quiet")


@pytest.fixture(scope="module")
def run(scan_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modes") / "run"
    assert main(["train", str(scan_file), "-o", str(folder), "--probe-modes", "3", *SMALL, *QUICK]) == 0
    return folder


def weights(run: Path) -> np.ndarray:
    pairs = load_file(run / "weights.safetensors")["probe_pairs"]
    return np.asarray(pairs[..., 0] + 1j * pairs[..., 1])


@pytest.mark.long
def test_all_modes_are_trained_and_the_file_has_them_orthogonal_and_sorted(run: Path, scan_file: Path) -> None:
    start = load_file(run / "weights.safetensors")["initial_probe_pairs"]
    assert all(np.abs(load_file(run / "weights.safetensors")["probe_pairs"] - start).max(axis=(1, 2, 3)) > 1e-4)
    out = run.parent / "out.h5"

    assert main(["infer", str(run), str(scan_file), "-o", str(out), "--accelerator", "cpu", "--quiet"]) == 0

    probe = read_reconstruction(out).probe
    flat = probe.reshape(3, -1)
    gram = np.abs(flat @ flat.conj().T)
    assert np.all(np.diff(gram.diagonal()) <= 0)
    assert (gram - np.diag(gram.diagonal())).max() < 1e-5 * gram[0, 0]
    light = np.sum(np.abs(weights(run)) ** 2, axis=0)
    np.testing.assert_allclose(
        np.sum(np.abs(probe) ** 2, axis=0) / np.sum(np.abs(probe) ** 2), light / light.sum(), atol=1e-6
    )


def test_a_run_with_modes_goes_on(run: Path) -> None:
    before = weights(run)

    assert main(["train", "--resume", str(run), "--epochs", "2", "--resume-schedule", "config", "--quiet"]) == 0

    assert weights(run).shape == before.shape


@pytest.mark.parametrize("count", ["0", "17", "two"])
def test_impossible_numbers_of_modes_are_refused(
    count: str, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(scan_file), "-o", str(tmp_path / "run"), "--probe-modes", count]) == 2

    assert "probe_modes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
