"""A stack of frames by mrcfile: ``pip install mrcfile``."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import small_scan as scan

if __name__ == "__main__":
    frames = scan.counts().reshape(-1, scan.SIZE, scan.SIZE).astype("int16")
    mrcfile.write(Path(__file__).with_name("mrcfile.mrc"), frames, overwrite=True)
