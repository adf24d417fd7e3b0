"""Numbered series of TIFF files, and the folders that hold them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ptycho_cli.errors import DataError

_SUFFIXES = (".tif", ".tiff")
_SHOWN = 4  # names in a message


class Series(NamedTuple):
    """Files whose names differ in one number.

    Attributes:
        name: Their name with ``*`` in place of the number.
        files: The files, in the order of their numbers.
        numbers: The numbers.
    """

    name: str
    files: list[Path]
    numbers: list[int]

    def missing(self) -> str:
        """Numbers between the first and the last that no file has, for messages; empty if there are none."""
        numbers = sorted(set(range(self.numbers[0], self.numbers[-1] + 1)) - set(self.numbers)) if self.numbers else []
        return ", ".join(map(str, numbers[:_SHOWN])) + (", ..." if len(numbers) > _SHOWN else "")


def series_of(path: Path) -> Series:
    """The largest series in a folder that a file belongs to; the file alone if it belongs to none."""
    names = [item.name for item in path.parent.iterdir()]
    found = [_series(path, number, names) for number in re.finditer(r"\d+", path.stem)]
    return max(
        found,
        key=lambda series: len(series.files),
        default=Series(path.name, [path], []),
    )


def _series(path: Path, number: re.Match[str], names: list[str]) -> Series:
    """The files beside one that have another number in one place of its name."""
    before, after = path.name[: number.start()], path.name[number.end() :]
    pattern = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    found = sorted((int(match[1]), match[0]) for name in names if (match := pattern.fullmatch(name)) is not None)
    return Series(
        f"{before}*{after}",
        [path.with_name(name) for _, name in found],
        [place for place, _ in found],
    )


def holds_images(folder: Path) -> bool:
    """True for a folder with TIFF files in it."""
    return folder.is_dir() and any(item.suffix.casefold() in _SUFFIXES for item in folder.iterdir())


def first_in_folder(folder: Path) -> Path:
    """The first file of the one series of TIFF files in a folder.

    Raises:
        DataError: If there is more than one.
    """
    files = sorted(item for item in folder.iterdir() if item.suffix.casefold() in _SUFFIXES)
    first, names = files[0], list[str]()
    while files:
        series = series_of(files[0])
        names.append(series.name if len(series.files) > 1 else files[0].name)
        files = sorted({*files} - {*series.files} - {files[0]})
    if len(names) == 1:
        return series_of(first).files[0]
    held = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    raise DataError(
        f"{folder}: a folder with {held}, expected one numbered series of TIFF files.",
        hint="Name the first file of the scan.",
    )


def refuse_parts_of_one_scan(paths: Sequence[Path]) -> None:
    """Refuse images of one series where each file should be a scan.

    Raises:
        DataError: If two files of one image each belong to the same series.
    """
    images = [path for path in paths if path.suffix.casefold() in _SUFFIXES and path.is_file()]
    for first, path in pairwise(images):
        if path != first and path in series_of(first).files and not _has_pages(first):
            raise DataError(
                f"{first} and {path.name} are images of one scan, expected a file or a folder for each scan.",
                hint="Name the first image of the scan, or the folder.",
            )


def _has_pages(path: Path) -> bool:
    with opened_tiff(path) as images:
        return len(images.shape) > 2


class _Errors(logging.Handler):
    """Collects errors that tifffile logs where it goes on with what it understands of a file."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def open_tiff(path: Path) -> Any:
    """The images of a file as a series of tifffile, the largest in it; ``parent`` is the open file.

    Raises:
        DataError: If it is damaged, or no stack of grey images.
    """
    import tifffile

    errors, logger = _Errors(), logging.getLogger("tifffile")
    logger.addHandler(errors)
    file = None
    try:
        file = tifffile.TiffFile(path)
        series = max(file.series, key=lambda item: item.size)
        if errors.messages:
            raise ValueError(errors.messages[0])
    except Exception as problem:  # of many kinds, where a file is damaged
        if file is not None:
            file.close()
        raise damaged_tiff(path, problem) from None
    finally:
        logger.removeHandler(errors)
    if series.axes[-2:] != "YX" or len(series.shape) > 4:
        file.close()
        raise DataError(
            f"{path}: images of shape {tuple(series.shape)} with axes {series.axes}, expected grey images.",
            hint="Store the counts of the detector, one number for each pixel.",
        )
    return series


@contextmanager
def opened_tiff(path: Path) -> Iterator[Any]:
    """Open the images of a file for a block, as ``open_tiff`` does.

    Raises:
        DataError: As there; also if an image cannot be read in the block.
    """
    images = open_tiff(path)
    try:
        yield images
    except DataError:
        raise
    except Exception as problem:  # of many kinds as well
        raise damaged_tiff(path, problem) from None
    finally:
        images.parent.close()


def damaged_tiff(path: Path, problem: Exception) -> DataError:
    """The error for a file that tifffile cannot read."""
    text = (str(problem).strip() or type(problem).__name__).splitlines()[0]
    hint = "pip install imagecodecs" if "imagecodecs" in text else "Copy the file again."
    return DataError(f"{path}: damaged, or a TIFF file of an unknown kind ({text}).", hint=hint)
