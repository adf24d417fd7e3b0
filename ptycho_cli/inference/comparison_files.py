"""Files of a comparison: a table with all scores, and a picture of all objects on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.object_files import LoadedObject
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.comparison import Row
from ptycho_cli.registration import align
from ptycho_cli.render.comparison_figure import save_comparison_png
from ptycho_cli.render.comparison_table import write_csv
from ptycho_cli.render.plotting import DEFAULT_STYLE, PictureStyle

Image = NDArray[np.complex128]


def common_images(rows: Sequence[Row], scan: Scan) -> tuple[dict[str, Image], NDArray[np.bool_]]:
    """Put all objects on one grid: that of the known object, or else that of the trained and polished one.

    Returns:
        Aligned objects by name, complex ``(y, x)``, the known object first where there is one; and the pixels that all
        of them cover, bool ``(y, x)``.
    """
    if scan.truth is not None:
        ground = LoadedObject("known object", scan.truth, scan.truth_origin_px)
        images = {ground.name: np.asarray(scan.truth, dtype=np.complex128)}
    else:
        ground, images = next(row.image for row in reversed(rows) if row.name.startswith("trained")), {}
    area = np.ones(ground.object.shape, dtype=np.bool_)
    for row in rows:
        image = row.image
        offset = image.offset_on(ground)
        aligned = align(image.object, ground.object, coverage=image.coverage, offset_px=offset)
        placed, covered = np.ones_like(area, dtype=np.complex128), np.zeros_like(area)
        placed[aligned.window], covered[aligned.window] = aligned.object, aligned.covered
        images[row.name], area = placed, area & covered
    return images, area


def write_comparison(
    rows: Sequence[Row], scan: Scan, folder: Path, style: PictureStyle = DEFAULT_STYLE
) -> tuple[list[dict[str, Any]], Path]:
    """Write ``compare.csv`` and ``compare.png``, or another format, into a folder, which is made if it does not exist.

    Returns:
        The rows of the table, and the path of the picture.

    Raises:
        OutputError: If they cannot be written.
    """
    table = [_cells(row) for row in rows]
    if (flat := rows[0].scores.get("flat_object")) is not None:
        table.append({"name": "flat object", **flat})
    images, area = common_images(rows, scan)
    picture = style.path(folder / "compare")
    title = Path(scan.source).name
    save_comparison_png(picture, images, area, pixel_m=scan.object_pixel_m, title=title, style=style)
    write_csv(folder / "compare.csv", table)
    return table, picture


def _cells(row: Row) -> dict[str, Any]:
    facts = {
        "name": row.name, "physics": row.physics, "stages": row.stages, "alpha": row.alpha,
        "polish": row.polish, "ranking": row.ranking,
    }  # fmt: skip
    values = {name: value for name, value in row.scores.items() if name != "flat_object"}
    return {**facts, "cpu_s": row.cpu_s, **values}
