"""Make the pictures of the tutorials: ``python docs/pictures.py [PAGE...]`` runs the commands of their pages.

The blocks of a page are run in order in an empty folder, as a reader would type them, until its pictures are there, and
these are copied to ``docs/images``. The measured scan is looked for in ``$PTYCHO_TEST_DATA``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
MEASURED = "siemens-star-small.npz.bz2"
# Page: picture in the folder where its commands ran -> its name in docs/images.
PICTURES = {
    "demo": {"ptycho-demo/run/reconstruction.png": "demo_star.png", "ptycho-demo/other-object.png": "demo_texture.png"},
    "measured_scan": {"star.png": "measured_star.png"},
    "low_dose": {"weak_physics.png": "weak_physics.png", "runs/weak/reconstruction.png": "weak_network.png"},
    "no_probe": {"object.png": "no_probe.png"},
    "electrons": {"object.png": "electrons.png"},
    "bad_reconstruction": {"bad_object.png": "bad_swapped.png", "mended.png": "bad_mended.png"},
}
WIDTH_PX, COLOURS = 990, 256  # of a palette; the pictures then have a third of their size


def main(names: list[str]) -> None:
    """Make the pictures of the named pages, or of all."""
    for name in names or PICTURES:
        _make(name)


def _make(name: str) -> None:
    text = (DOCS / "tutorials" / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```$", text)
    data = Path(os.environ.get("PTYCHO_TEST_DATA", DOCS.parents[1] / "shared" / "data"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        pictures = {Path(folder) / made: DOCS / "images" / image for made, image in PICTURES[name].items()}
        if MEASURED in text:
            shutil.copy(data / "siemens_star" / MEASURED, folder)
        for block in blocks:
            if not all(made.exists() for made in pictures):
                subprocess.run(["bash", "-e", "-c", block], cwd=folder, env={**os.environ, "PATH": path}, check=True)
        for made, image in pictures.items():
            _shrink(made, image)


def _shrink(made: Path, image: Path) -> None:
    from PIL import Image

    with Image.open(made) as picture:
        size = (WIDTH_PX, round(picture.height * WIDTH_PX / picture.width))
        small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        small.quantize(COLOURS, dither=Image.Dither.FLOYDSTEINBERG).save(image, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
