"""Make the weights that come with the program again: ``python docs/make_weights.py refiner unrolled``.

Each is trained on simulated scans, as the settings files in docs/recipes say: ``unrolled`` on objects of one material,
then, from the weights so found, on scans half of which have independent amplitude and phase, and ``refiner`` on these
alone, then on more with wide gaps. That takes 56 minutes of CPU for ``refiner`` and 20 for ``unrolled``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
RECIPES = Path("docs/recipes")
TRAININGS = {  # settings of one after the other, each from the weights of the one before
    "refiner": ("refiner", "refiner_again"),
    "unrolled": ("unrolled", "unrolled_again"),
}


def make(network: str, output: Path) -> None:
    """Train the weights of a network and write them to a file."""
    with TemporaryDirectory(prefix="ptycho-weights-") as folder:
        start: tuple[str, ...] = ()
        for settings in TRAININGS[network]:
            run, found = Path(folder) / settings, Path(folder) / f"{settings}.safetensors"
            recipe = str(RECIPES / f"{settings}.yaml")
            _ptycho("train", "-c", recipe, "-o", str(run), "--no-report", *start)
            trained_on = f"simulated scans, as {recipe} sets them"
            _ptycho("weights", "export", str(run), "-o", str(found), "--trained-on", trained_on)
            start = "--weights", str(found)
        output.write_bytes(found.read_bytes())


def _ptycho(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "ptycho_cli", *words], cwd=ROOT, check=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or TRAININGS:
        make(name, ROOT / "ptycho_cli" / "shipped_weights" / f"{name}.safetensors")
