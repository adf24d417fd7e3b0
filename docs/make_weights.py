"""Make the weights that come with the program again: ``python docs/make_weights.py refiner unrolled``.

Each is trained on simulated scans, as the settings files in docs/recipes say: ``unrolled`` on objects of one material,
then, from the weights so found, on scans half of which have independent amplitude and phase. ``refiner`` is trained
with one pass on these alone, then on more with wide gaps. Then a second pass is added, whose U-Net starts as a copy of
the first, and is trained alone, on scans that are used six times each; then the first pass alone on others such, and
the second one again. That takes 200 minutes of CPU for ``refiner`` and 20 for ``unrolled``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ptycho_cli.assembly.network_weights import FORMAT
from ptycho_cli.assembly.tensor_file import read_tensors, write_tensors

ROOT = Path(__file__).parents[1]
RECIPES = Path("docs/recipes")
FIRST, SECOND = "unets.0.", "unets.1."  # names of the parameters of the two passes begin so
TRAININGS = {  # settings of one after the other, each from the weights of the one before
    "refiner": ("refiner", "refiner_again", "refiner_second_pass", "refiner_first_pass", "refiner_second_pass"),
    "unrolled": ("unrolled", "unrolled_again"),
}


def make(network: str, output: Path) -> None:
    """Train the weights of a network and write them to a file."""
    with TemporaryDirectory(prefix="ptycho-weights-") as folder:
        start: tuple[str, ...] = ()
        found, second = Path(folder) / "weights.safetensors", None
        for number, settings in enumerate(TRAININGS[network]):
            if settings == "refiner_second_pass":
                add_pass(found, second)
            elif settings == "refiner_first_pass":
                second = take_pass(found)
            run = Path(folder) / f"{number}_{settings}"
            recipe = str(RECIPES / f"{settings}.yaml")
            _ptycho("train", "-c", recipe, "-o", str(run), "--no-report", *start)
            trained_on = f"simulated scans, as {recipe} sets them"
            _ptycho("weights", "export", str(run), "-o", str(found), "--trained-on", trained_on, "--force")
            start = "--weights", str(found)
        output.write_bytes(found.read_bytes())


def add_pass(path: Path, second: dict[str, torch.Tensor] | None) -> None:
    """Give weights of ``refiner`` with one pass a second one; by default its U-Net is a copy of the first.

    It takes two inputs more, which a copy disregards as yet.
    """
    first, about = _read(path)
    if second is None:
        second = {name.replace(FIRST, SECOND): value.clone() for name, value in first.items()}
        entrance = second[f"{SECOND}down.0.0.weight"]
        second[f"{SECOND}down.0.0.weight"] = torch.cat((entrance, torch.zeros_like(entrance[:, :2])), 1)
    _write(path, {**first, **second}, about, passes=2)


def take_pass(path: Path) -> dict[str, torch.Tensor]:
    """Take the second pass out of weights of ``refiner``, and return what belongs to it."""
    both, about = _read(path)
    second = {name: value.clone() for name, value in both.items() if name.startswith(SECOND)}
    _write(path, {name: value for name, value in both.items() if name not in second}, about, passes=1)
    return second


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors, about = read_tensors(path, FORMAT, expected="weights", missing_hint="", hint="")
    del about["sha256"]
    return tensors, about


def _write(path: Path, tensors: dict[str, torch.Tensor], about: dict[str, Any], *, passes: int) -> None:
    write_tensors(path, tensors, {**about, "options": {**about["options"], "passes": passes}})


def _ptycho(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "ptycho_cli", *words], cwd=ROOT, check=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or TRAININGS:
        make(name, ROOT / "ptycho_cli" / "shipped_weights" / f"{name}.safetensors")
