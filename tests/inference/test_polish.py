"""Without a flag, physics alone follows the network where it finds more of the object, not where light is scarce."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import h5py
import numpy as np
import pytest

import ptycho_cli
from ptycho_cli.api import TrainedRun
from ptycho_cli.assembly.polish_rule import Polish
from ptycho_cli.calibration import auto_rules
from ptycho_cli.cli.app import main
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan
from ptycho_cli.inference import inference_run, polish_choice
from ptycho_cli.inference.reconstruct import reconstruct
from ptycho_cli.metrics import snr_db
from ptycho_cli.registration import align

SHORT = {
    "epochs": 1, "n_groups": 4, "physics.probe_warmup": 0, "weights": "none", "report": False,
    "physics.background": 0.0, "physics.refine_intensity": "never",
}  # fmt: skip
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(small_scan: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return ptycho_cli.train(small_scan, output_dir=tmp_path_factory.mktemp("runs") / "run", **SHORT)


def picture(run: TrainedRun, data: Path, **settings: Any) -> Any:
    return ptycho_cli.infer(run, data, **settings).result.reconstruction.object


def reconstructed(capsys: Capture, run: TrainedRun, data: Path, out: Path, *words: str) -> tuple[dict[str, Any], Any]:
    """What ``infer`` prints, and how its file says that it was made."""
    capsys.readouterr()
    assert main(["infer", str(run.folder), str(data), "-o", str(out), "--force", "--json", *words]) == 0
    with h5py.File(out) as file:
        record = json.loads(file["ptycho_cli/run_record"].asstr()[()])
    return json.loads(capsys.readouterr().out), record["reconstruction"]


def test_infer_without_flags_is_6_db_nearer_to_the_object_than_the_network_alone(
    run: TrainedRun, small_scan: Path, tmp_path: Path, capsys: Capture
) -> None:
    found, record = reconstructed(capsys, run, small_scan, tmp_path / "out.h5")
    alone, bare = reconstructed(capsys, run, small_scan, tmp_path / "out.h5", "--polish", "0")

    assert found["complex_snr_db"] > alone["complex_snr_db"] + 6
    assert record["auto"]["inference.polish"] == found["polish"]
    assert f"{found['polish']} iterations of the physics alone" in found["notes"][0]
    assert (alone["polish"], alone["notes"], bare["auto"]) == (0, [], {})


def test_a_training_writes_the_polished_object_and_scores_the_network_beside_it(
    run: TrainedRun, small_scan: Path
) -> None:
    assert run.folder is not None
    record = json.loads((run.folder / "run.json").read_text())
    with h5py.File(run.folder / "reconstruction.h5") as file:
        kept = json.loads(file["ptycho_cli/run_record"].asstr()[()])
        np.testing.assert_allclose(file["object"][0], picture(run, small_scan), atol=1e-4)

    assert record["auto"]["inference.polish"] == kept["auto"]["inference.polish"] == run.scores["polish"]
    assert set(run.scores) == {"trained", "polish", "trained_polished"}
    for which, chosen in (("trained", 0), ("trained_polished", "auto")):
        found = ptycho_cli.infer(run, small_scan, polish=chosen).result
        assert run.scores[which]["r_factor"] == pytest.approx(found.r_factor, rel=1e-3)


def test_a_training_reconstructs_the_whole_scan_once(
    scan_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And by physics alone only where that was asked for."""
    made: list[bool] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        made.append(options["physics_only"])
        return reconstruct(*arguments, **options)

    monkeypatch.setattr(inference_run, "reconstruct", counted)

    ptycho_cli.train(scan_file, output_dir=tmp_path / "run", group_size=12, **SHORT | {"report": True})

    assert made == [False]


@pytest.mark.parametrize(("frames", "iterations"), [(10_000, 32), (1_500, 15), (500, 8)])
def test_fewer_iterations_where_frames_are_many(
    run: TrainedRun, small_scan: Path, monkeypatch: pytest.MonkeyPatch, frames: int, iterations: int
) -> None:
    """Of 100 frames, as of as many more as iterations may go through."""
    monkeypatch.setattr(auto_rules, "MAX_POLISH_FRAMES", frames)
    np.testing.assert_array_equal(picture(run, small_scan), picture(run, small_scan, polish=iterations))


def test_frames_held_out_decide_against_a_polish_that_fits_noise(tmp_path: Path, capsys: Capture) -> None:
    """A weak object trained for long: the network alone is nearer to it, though photons are many."""
    data = tmp_path / "scan.h5"
    write_scan(data, simulate(n_frames=100, n_pixels=32, photons=3e5, object_kind="weak", seed=3))
    settings = {"physics.probe_warmup": 0, "inference.tv_weight": 0, "report": False}
    run = ptycho_cli.train(data, output_dir=tmp_path / "run", weights="none", epochs=4, **settings)

    found, _ = reconstructed(capsys, run, data, tmp_path / "out.h5")
    longer, _ = reconstructed(capsys, run, data, tmp_path / "out.h5", "--polish", "8")
    smooth, _ = reconstructed(
        capsys, run, data, tmp_path / "out.h5", "--polish", "32", "--set", "inference.tv_weight=0.12"
    )

    assert run.record["auto"]["inference.polish"] == found["polish"] == 0
    assert found["complex_snr_db"] > longer["complex_snr_db"] + 1
    assert smooth["complex_snr_db"] > found["complex_snr_db"] + 1
    assert set(run.scores) == {"trained"}
    assert "held-out frames were explained worse with it" in found["notes"][0]


@pytest.mark.parametrize("network", ["refiner", "unrolled"])
def test_at_low_dose_and_without_a_prior_the_network_has_the_last_word(tmp_path: Path, network: str) -> None:
    data = tmp_path / "scan.h5"
    write_scan(data, simulate(n_frames=30, n_pixels=16, photons=500, seed=1))
    run = ptycho_cli.train(data, output_dir=tmp_path / "run", network=network, **SHORT, **{"inference.tv_weight": 0})

    assert run.record["auto"]["inference.polish"] == 0
    assert set(run.scores) == {"trained"}
    np.testing.assert_array_equal(picture(run, data), picture(run, data, polish=0))


def test_where_masked_gaps_take_light_a_run_chooses_a_smooth_polish_and_infer_makes_the_same(tmp_path: Path) -> None:
    good = simulate(n_frames=64, n_pixels=24, photons=1e6, object_kind="siemens", seed=6)
    counts = np.array(good.counts, dtype=np.uint32)
    counts[:, 4:7], counts[:, :, 4:7] = 2**32 - 1, 2**32 - 1
    data = tmp_path / "gaps.npz"
    np.savez(data, diffraction=counts, scan_yx_px=good.positions_px, probe=good.probe)

    run = ptycho_cli.train(data, output_dir=tmp_path / "run", **SHORT)
    found = ptycho_cli.infer(run, data)

    assert run.folder is not None
    chosen = json.loads((run.folder / "run.json").read_text())["auto"]
    assert chosen["inference.tv_weight"] > 0
    assert found.polish.auto == {name: chosen[name] for name in ("inference.polish", "inference.tv_weight")}
    with h5py.File(run.folder / "reconstruction.h5") as file:
        np.testing.assert_allclose(file["object"][0], found.result.reconstruction.object, atol=1e-4)
    rough = ptycho_cli.infer(run, data, **{"inference.tv_weight": 0.0}).result.reconstruction.object
    smooth, coverage = found.result.reconstruction.object, found.result.reconstruction.coverage
    assert np.abs(np.diff(rough)).sum() > 1.02 * np.abs(np.diff(smooth)).sum()
    assert good.truth is not None
    near, far = (snr_db(align(obj, good.truth, coverage=coverage)) for obj in (smooth, rough))
    assert near > far + 0.1


def test_at_low_dose_a_smooth_polish_is_2_db_nearer_to_the_object_than_without_a_prior(
    tmp_path: Path, capsys: Capture
) -> None:
    data = tmp_path / "scan.h5"
    write_scan(data, simulate(n_frames=100, n_pixels=32, photons=1e5, object_kind="siemens", seed=41))

    def snr(*words: str) -> float:
        out = str(tmp_path / "out.h5")
        assert main(["reconstruct", str(data), "-o", out, "--force", "--quiet", *words]) == 0
        capsys.readouterr()
        assert main(["evaluate", out, "--truth", str(data), "--json"]) == 0
        return float(json.loads(capsys.readouterr().out)["complex_snr_db"])

    assert snr() > snr("--set", "inference.tv_weight=0") + 2


@pytest.mark.parametrize(
    ("by_dose", "gained", "kept"),
    [
        (0, [0.3, 0.2, 0.1], True),
        (0, [0.3, -0.2, 0.1], False),
        (0, [0.3], False),
        (32, [0.3, -0.2, 0.1], True),
    ],
    ids=["surely better", "within the error", "one frame", "many photons"],
)
def test_a_polish_that_only_the_prior_makes_possible_must_surely_be_better(
    monkeypatch: pytest.MonkeyPatch, by_dose: int, gained: list[float], kept: bool
) -> None:
    without, smooth = Polish(0), Polish(32, tv_weight=0.1)
    rule = SimpleNamespace(choose=lambda: Polish(by_dose))
    monkeypatch.setattr(polish_choice, "polish_rule", lambda *arguments: rule)
    monkeypatch.setattr(polish_choice, "choose_iterations", lambda *arguments: without)
    monkeypatch.setattr(polish_choice, "choose_prior", lambda *arguments: smooth)
    deviances = {without: np.ones(len(gained)), smooth: 1.0 - np.array(gained)}
    trial = cast(Any, SimpleNamespace(frame_deviances=deviances.__getitem__))

    assert polish_choice.choose_polish(cast(Any, None), cast(Any, None), cast(Any, None), trial) == (
        smooth if kept else without
    )


@pytest.mark.parametrize(
    ("best", "chosen"), [(0.072, 0.072), (0.13, 0.13), (0.01, 0.06), (1.0, 0.33), (None, 0.0), (float("nan"), 0.0)]
)
def test_the_weight_of_the_prior_is_found_between_those_that_are_tried(best: float | None, chosen: float) -> None:
    """Deviances are a parabola over the logarithm; none is chosen where all are worse or not numbers."""

    def deviance(polish: Polish) -> float:
        if not polish.tv_weight:
            return 1.0
        return 2.0 if best is None else 0.5 + 0.01 * float(np.log(polish.tv_weight / best)) ** 2

    rule = SimpleNamespace(tv_weight=None, iterations=None, choose=lambda tv_weight: Polish(32, tv_weight=tv_weight))
    trial = SimpleNamespace(unseen=True, deviance=deviance)

    found = polish_choice.choose_prior(cast(Any, rule), Polish(32), cast(Any, trial))

    assert found.tv_weight == chosen
