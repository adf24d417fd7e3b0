"""``Preview`` draws a picture every few epochs and does not change the training."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from ptycho_preview import PREVIEW, flat_phase, save_picture, title

from ptycho_cli.extend import CallbackContext
from ptycho_cli.extend.conformance import CallbackConformance
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.extend.learning_rates import span_of


class TestPreview(CallbackConformance):
    entry = PREVIEW
    options = ({}, {"every": 1, "dpi": 60})


class Tiny(LightningModule):
    """One weight that is trained towards random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        return ((self.weight - torch.rand(1)) ** 2).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def reconstruct() -> tuple[Any, Any]:
    y, x = np.mgrid[:40, :60]
    coverage = np.exp(-(((y - 20) / 12) ** 2) - ((x - 30) / 18) ** 2).astype(np.float32)
    torch.rand(3)  # a reconstruction may use random numbers
    return np.exp(0.05j * x + 0.5j * (y > 20)).astype(np.complex64), coverage


def train(folder: Path, epochs: int, callbacks: list[Callback]) -> float:
    torch.manual_seed(0)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module = Tiny()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*", category=FutureWarning)
        switched_off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        options: dict[str, Any] = {"default_root_dir": folder, **dict.fromkeys(switched_off, False)}
        trainer = Trainer(max_epochs=epochs, accelerator="cpu", callbacks=callbacks, **options)
        trainer.fit(module, torch.utils.data.DataLoader(torch.zeros(2, 1)))
    return float(module.weight.detach())


def preview(folder: Path, epochs: int, **options: Any) -> Callback:
    nothing: Any = None
    context = CallbackContext(folder, nothing, span_of(2, epochs, 1), None, reconstruct)
    return PREVIEW.build(context, PREVIEW.options(**options))


def test_a_picture_every_k_epochs_and_after_the_last(tmp_path: Path) -> None:
    train(tmp_path, 5, [preview(tmp_path, 5, every=2, dpi=50)])

    names = sorted(path.name for path in (tmp_path / "preview").iterdir())
    assert names == ["epoch_0002.png", "epoch_0004.png", "epoch_0005.png", "latest.png"]
    newest, latest = (matplotlib.image.imread(tmp_path / "preview" / name) for name in names[-2:])
    np.testing.assert_array_equal(newest, latest)


def test_the_weights_are_those_of_a_training_without_previews(tmp_path: Path) -> None:
    assert train(tmp_path, 3, [preview(tmp_path, 3, every=1, dpi=50)]) == train(tmp_path, 3, [])


def test_a_folder_that_cannot_be_written_costs_a_warning_and_not_the_training(tmp_path: Path) -> None:
    (tmp_path / "preview").write_text("a file where the folder should be")

    with pytest.warns(RuntimeWarning, match="preview: .*preview cannot be written"):
        train(tmp_path, 1, [preview(tmp_path, 1)])


def test_the_phase_has_no_slope_and_no_offset() -> None:
    y, x = np.mgrid[:30, :40]
    steps = 0.3 * (x > 20)

    phase = flat_phase(np.exp(1j * (0.4 * y - 0.7 * x + 2.0 + steps)), np.ones((30, 40), bool))

    assert abs(phase.mean()) < 0.02
    assert abs(np.diff(phase, axis=0)).max() < 1e-6
    assert np.ptp(phase) < 0.5  # the step is left, and 27 radians of slope are gone


def test_pixels_without_coverage_are_cropped_or_blank(tmp_path: Path) -> None:
    """The picture of a small covered area has its shape; a hole in it shows the background."""
    field, coverage = np.ones((100, 100), np.complex64), np.zeros((100, 100), np.float32)
    coverage[40:60, 20:80] = 1.0
    coverage[48:52, 45:55] = 0.0
    field[:40] = np.nan
    save_picture(tmp_path / "a.png", field, coverage, "epoch 1", 50)

    image = matplotlib.image.imread(tmp_path / "a.png")[..., :3]
    background = np.abs(image - np.array([0xDB, 0xE4, 0xEE]) / 255).max(axis=-1) < 0.01
    assert image.shape[1] / image.shape[0] > 1.5
    assert 0.005 < background.mean() < 0.1


def test_the_title_shows_the_epoch_and_the_loss() -> None:
    assert title(5, 20, {"val_loss": torch.tensor(0.56789)}) == "epoch 5 of 20, held-out loss 0.5679"
    assert title(5, 20, {}) == "epoch 5 of 20"


def test_an_object_without_coverage_can_be_drawn(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", np.ones((8, 8), np.complex64), np.zeros((8, 8), np.float32), "epoch 1", 50)

    assert (tmp_path / "a.png").stat().st_size > 0


def test_the_installed_distribution_offers_it() -> None:
    (record,) = [item for item in load_plugins().plugins if item.distribution == "ptycho-preview"]

    assert (record.status, record.names()["callbacks"]) == ("loaded", ["Preview"])
