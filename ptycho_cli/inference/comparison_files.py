"""What a comparison leaves behind: a table with all figures, and a picture of all objects on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.object_files import LoadedObject
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.comparison import Entry
from ptycho_cli.registration import align
from ptycho_cli.render.comparison_figure import save_comparison_png
from ptycho_cli.render.comparison_table import write_csv

Image = NDArray[np.complex128]


def common_images(entries: Sequence[Entry], scan: Scan) -> tuple[dict[str, Image], NDArray[np.bool_]]:
    """All objects on one grid: that of the known object, or else of the trained and polished one.

    Returns:
        Objects by name, aligned, ``(y, x)``, the known object first where there is one; and the area that all cover.
    """
    if scan.truth is not None:
        ground = LoadedObject("known object", scan.truth, scan.truth_origin_px)
        images = {ground.name: np.asarray(scan.truth, dtype=np.complex128)}
    else:
        ground, images = next(entry.image for entry in reversed(entries) if entry.name.startswith("trained")), {}
    area = np.ones(ground.object.shape, dtype=np.bool_)
    for entry in entries:
        image = entry.image
        offset = image.offset_on(ground)
        aligned = align(image.object, ground.object, coverage=image.coverage, offset_px=offset)
        placed, covered = np.ones_like(area, dtype=np.complex128), np.zeros_like(area)
        placed[aligned.window], covered[aligned.window] = aligned.object, aligned.covered
        images[entry.name], area = placed, area & covered
    return images, area


def write_comparison(entries: Sequence[Entry], scan: Scan, folder: Path) -> tuple[list[dict[str, Any]], Path]:
    """Write ``compare.csv`` and ``compare.png`` into a folder, which is made.

    Returns:
        The rows of the table, and the path of the picture.

    Raises:
        OutputError: If they cannot be written.
    """
    rows = [_row(entry) for entry in entries]
    if (flat := entries[0].figures.get("flat_object")) is not None:
        rows.append({"name": "flat object", **flat})
    images, area = common_images(entries, scan)
    picture = folder / "compare.png"
    save_comparison_png(picture, images, area, pixel_m=scan.object_pixel_m, title=Path(scan.source).name)
    write_csv(folder / "compare.csv", rows)
    return rows, picture


def _row(entry: Entry) -> dict[str, Any]:
    facts = {
        "name": entry.name, "physics": entry.physics, "stages": entry.stages, "alpha": entry.alpha,
        "polish": entry.polish, "beaten": entry.beaten,
    }  # fmt: skip
    figures = {name: value for name, value in entry.figures.items() if name != "flat_object"}
    return {**facts, "cpu_s": entry.cpu_s, **figures}
