"""At low dose with the default network, one line names the preset that is made for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.data.simulate import simulate
from ptycho_cli.data.write import write_scan


@pytest.mark.parametrize(
    ("photons", "words", "told"),
    [
        (500.0, (), True),
        (1e6, (), False),
        (500.0, ("--preset", "low-dose"), False),
        (500.0, ("--network", "autoencoder", "--group-size", "4"), False),
    ],
)
def test_few_photons_and_the_default_network_call_for_the_preset(
    photons: float, words: tuple[str, ...], told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scan(tmp_path / "scan.h5", simulate(n_frames=40, n_pixels=16, photons=photons, seed=1))
    typed = ["train", str(tmp_path / "scan.h5"), "-o", str(tmp_path / "run"), "--dry-run", *words]

    assert main([*typed, "--set", "physics.probe_warmup=0"]) == 0

    notes = [line for line in capsys.readouterr().err.splitlines() if "low-dose" in line]
    assert len(notes) == told
    assert all("photons in a bright pixel: --preset low-dose is made for such scans" in line for line in notes)
