"""``ptycho reconstruct``: a picture without training, by weights or by physics, whichever explains more."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import ptycho_cli
from ptycho_cli.api import TrainedRun
from ptycho_cli.assembly.network_weights import read_network_weights, shipped_path, write_network_weights
from ptycho_cli.cli.app import main
from ptycho_cli.config.schema import ModelSettings
from ptycho_cli.data.write import read_reconstruction
from ptycho_cli.errors import CheckpointError, ConfigError
from ptycho_cli.networks.entries import UnrolledOptions
from ptycho_cli.networks.unrolled import UnrolledNetwork
from ptycho_cli.physics.object_update import ObjectUpdate

STAGES = 3
OPTIONS = UnrolledOptions(stages=STAGES, width=4)


def network(spoilt: float = 0.0, alpha: float = 0.5) -> UnrolledNetwork:
    torch.manual_seed(2)
    made = UnrolledNetwork(stages=STAGES, subsets=1, width=4, update=ObjectUpdate(alpha))
    if spoilt:
        torch.nn.init.normal_(made.blocks[-1].layers[-1].weight, std=spoilt)  # type: ignore[index, union-attr, arg-type]
    return made


def weights_file(path: Path, spoilt: float) -> Path:
    model = ModelSettings(name="unrolled", options=OPTIONS)
    write_network_weights(network(spoilt), path, model, {"made_by": "a test", "trained_on": "nothing"})
    return path


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["reconstruct", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


SMALL = ("--network-option", f"stages={STAGES}", "--network-option", "width=4")


def test_a_scan_becomes_a_picture_without_training(
    small_scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "object.h5"
    found = printed(capsys, str(small_scan), "-o", str(out))

    assert found["complex_snr_db"] > 25
    assert found["verdict"]["explained"]
    assert found["polish"] in (8, 16, 32)
    assert out.with_suffix(".png").exists()
    record = read_reconstruction(out).run_record
    assert record is not None
    assert record["weights"] is None or record["weights"]["source"] == "shipped"
    assert record["config"]["data"]["paths"] == [str(small_scan)]


@pytest.mark.parametrize(("spoilt", "chosen"), [(0.3, "physics alone"), (1e-9, "weights")])
def test_bad_weights_lose_against_physics(
    scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoilt: float, chosen: str
) -> None:
    weights, out = weights_file(tmp_path / "w.safetensors", spoilt), tmp_path / "object.h5"
    words = (str(scan_file), "-o", str(out), "--weights", str(weights), *SMALL, "--polish", "0")
    found = printed(capsys, *words)

    (note,) = (line for line in found["notes"] if line.startswith("Reconstructed with"))
    assert note.startswith(f"Reconstructed with {chosen}") or (chosen == "weights" and str(weights) in note)
    record = read_reconstruction(out).run_record
    assert record is not None
    if spoilt > 0.1:
        assert record["weights"] is None
        physics = printed(
            capsys, str(scan_file), "-o", str(out), "--weights", "none", *SMALL, "--polish", "0", "--force"
        )
        assert physics["complex_snr_db"] == pytest.approx(found["complex_snr_db"], abs=1e-6)


def test_weights_adapt_to_the_dose_of_the_scan(tmp_path: Path) -> None:
    """An exported network has its alphas relative to the initial one, so that another dose scales them."""
    trained, path = network(alpha=0.5), tmp_path / "w.safetensors"
    with torch.no_grad():
        trained.log_alpha += torch.tensor([0.0, 0.5, 1.0])
    write_network_weights(trained, path, ModelSettings(name="unrolled", options=OPTIONS), {})
    other = network(alpha=2.0)
    read_network_weights(path).load_into(other)

    torch.testing.assert_close(other.log_alpha.exp(), 2.0 * torch.tensor([0.0, 0.5, 1.0]).exp())
    assert float(other.first_log_alpha.exp()) == pytest.approx(2.0)


def still(scan: Path, folder: Path, **settings: Any) -> TrainedRun:
    """A run of one step at no learning rate."""
    rates = {"learning_rate": 1e-12, "optimizer.probe_learning_rate": 0.0, "polish": 0, "physics.probe_warmup": 0}
    return ptycho_cli.train(scan, output_dir=str(folder), epochs=1, n_groups=1, report=False, **rates, **settings)


def assert_starts_from(run: TrainedRun, weights: Path, out: Path) -> None:
    assert main(["weights", "export", str(run.folder), "-o", str(out), "--trained-on", "a test"]) == 0
    before, after = read_network_weights(weights), read_network_weights(out)
    for name, value in before.tensors.items():
        torch.testing.assert_close(after.tensors[name], value, rtol=0, atol=1e-6)
    assert after.about["trained_on"] == "a test"


def test_a_training_starts_from_the_weights_of_a_file_or_of_a_run(scan_file: Path, tmp_path: Path) -> None:
    weights, options = weights_file(tmp_path / "w.safetensors", 0.05), {"stages": STAGES, "width": 4}
    run = still(scan_file, tmp_path / "run", weights=str(weights), network_options=options)
    again = still(scan_file, tmp_path / "again", weights=str(run.folder), network_options=options)

    for number, made in enumerate((run, again)):
        assert_starts_from(made, weights, tmp_path / f"{number}.safetensors")
    assert run.record["weights"]["sha256"] == read_network_weights(weights).sha256
    assert again.record["weights"]["source"] == str(run.folder)
    with pytest.raises(CheckpointError, match=r"do not fit: they have stages=3, but model\.options\.stages is 8"):
        still(scan_file, tmp_path / "no", weights=str(run.folder))


def test_a_training_starts_from_the_shipped_weights_by_default(scan_file: Path, tmp_path: Path) -> None:
    run = still(scan_file, tmp_path / "run")
    none = still(scan_file, tmp_path / "none", weights="none")

    assert_starts_from(run, shipped_path("unrolled"), tmp_path / "out.safetensors")
    assert run.record["weights"]["source"] == "shipped"
    assert "weights" not in none.record


def test_weights_that_do_not_fit_are_refused(
    small_scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = weights_file(tmp_path / "w.safetensors", 0.0)
    words = ["reconstruct", str(small_scan), "-o", str(tmp_path / "o.h5"), "--weights"]

    assert main([*words, str(weights)]) == 2
    assert "do not fit: they have stages=3, but model.options.stages is 8" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "none.safetensors")]) == 2
    assert "no such file, expected weights of a network" in capsys.readouterr().err
    assert main([*words, "shipped", "--network", "autoencoder"]) == 2
    assert "no weights of the network autoencoder are shipped" in capsys.readouterr().err
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="checksum"):
        read_network_weights(weights)
    assert not (tmp_path / "o.h5").exists()


def test_settings_of_a_training_have_no_effect(small_scan: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="epochs has no effect when nothing is trained"):
        ptycho_cli.reconstruct(small_scan, epochs=3)


def test_python_gives_what_the_command_writes(
    scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.h5"
    printed(capsys, str(scan_file), "-o", str(out), "--polish", "2")
    found = ptycho_cli.reconstruct(scan_file, polish=2).result.reconstruction

    assert (read_reconstruction(out).object == found.object).all()


def test_no_lightning_is_loaded_without_a_training(scan_file: Path, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom ptycho_cli.cli.app import main\ncode = main(sys.argv[1:])\n"
        "print(*sorted(name for name in sys.modules if name.startswith('lightning')))\nsys.exit(code)"
    )
    words = ["reconstruct", str(scan_file), "-o", str(tmp_path / "o.h5"), "--quiet", "--polish", "1"]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=120)

    assert (done.returncode, done.stdout.strip()) == (0, "")
