"""Make the weights that come with the program again: ``python docs/make_weights.py refiner unrolled``.

Each is trained twice on simulated scans, as the settings files in docs/recipes say: on objects of one material, and
then, from the weights so found, on scans half of which have independent amplitude and phase. That takes 20 minutes
of CPU for each network.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
RECIPES = Path("docs/recipes")
NETWORKS = {"refiner": "low_dose", "unrolled": "high_dose"}


def make(network: str, output: Path) -> None:
    """Train the weights of a network and write them to a file."""
    with TemporaryDirectory(prefix="ptycho-weights-") as folder:
        first = Path(folder) / "first.safetensors"
        _train(network, Path(folder) / "first", first, ())
        _train(f"{network}_again", Path(folder) / "again", output, ("--weights", str(first)))


def _train(settings: str, run: Path, output: Path, words: tuple[str, ...]) -> None:
    trained_on = f"simulated scans, as {RECIPES / settings}.yaml sets them"
    _ptycho("train", "-c", str(RECIPES / f"{settings}.yaml"), "-o", str(run), "--no-report", *words)
    _ptycho("weights", "export", str(run), "-o", str(output), "--trained-on", trained_on, "--force")


def _ptycho(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "ptycho_cli", *words], cwd=ROOT, check=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or NETWORKS:
        make(name, ROOT / "ptycho_cli" / "shipped_weights" / f"{name}.safetensors")
