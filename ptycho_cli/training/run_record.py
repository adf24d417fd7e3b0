"""``run.json``: what was asked for, what was built, with which plugins, versions and data."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_cli import __version__
from ptycho_cli.config.provenance import Resolved
from ptycho_cli.config.serialize import json_text, story_to_json
from ptycho_cli.data.scan_checks import refuse_pixel
from ptycho_cli.errors import CheckpointError

if TYPE_CHECKING:
    from ptycho_cli.data.scan import Scan

RECORD = "run.json"
_LOST = "Restore the file from a copy, or train the run anew."
_PACKAGES = ("torch", "lightning", "numpy", "scipy", "h5py", "pydantic", "safetensors")


def new_record(resolved: Resolved, plugins: Iterable[Mapping[str, Any]], scans: Sequence[Scan]) -> dict[str, Any]:
    """The record as it stands before anything is built."""
    return {
        **story_to_json(resolved),
        "requested": {},
        "effective": {},
        "plugins": [dict(plugin) for plugin in plugins],
        "versions": versions(),
        "data": [describe(scan) for scan in scans],
    }


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``run.json`` whole or not at all."""
    temporary = folder / f"{RECORD}.tmp"
    temporary.write_text(json_text(record) + "\n", encoding="utf-8")
    os.replace(temporary, folder / RECORD)


def read_record(folder: Path) -> dict[str, Any]:
    """Read the ``run.json`` of a run folder.

    Raises:
        CheckpointError: If there is none, or it is not a record.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        found = f"no {RECORD} in it that can be read ({error.strerror})"
        if not folder.is_dir():
            found = "a file" if folder.exists() else "no such folder"
        raise CheckpointError(
            f"{folder}: {found}, expected the folder of a run.",
            hint="Name the folder that was given to `ptycho train -o`.",
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged, not a run record ({error}).", hint=_LOST) from None
    if not isinstance(record, dict) or not _has_groups(record.get("config")):
        raise CheckpointError(f"{path}: not a run record, expected an object with a 'config' of settings.", hint=_LOST)
    return record


def _has_groups(config: Any) -> bool:
    return isinstance(config, dict) and all(isinstance(group, dict) for group in config.values())


def versions() -> dict[str, str]:
    """Versions of everything that computes."""
    found = {"ptycho-cli": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def describe(scan: Scan) -> dict[str, Any]:
    """A scan as it was read; the hash is of the file's bytes."""
    return {
        "path": str(scan.source),
        "sha256": file_hash(Path(scan.source)),
        "n_frames": scan.n_frames,
        "n_pixels": scan.n_pixels,
        "object_pixel_m": scan.object_pixel_m,
        "assumptions": list(scan.assumptions),
    }


def file_hash(path: Path) -> str | None:
    """SHA-256 of a file; None for a scan that is in no file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_other_pixel(scan: Scan, folder: Path) -> None:
    """Refuse a scan whose object pixel is not that of the scans that a run was trained on, where both are known."""
    trained = [data.get("object_pixel_m") for data in read_record(folder).get("data", [])]
    refuse_pixel(scan, next((pixel for pixel in trained if pixel is not None), None), f"the run {folder}")


def number_of(scan: Scan, folder: Path) -> int | None:
    """Which of the scans that a run was trained on this one is, by its file's bytes; None if it is none of them."""
    found = file_hash(Path(scan.source))
    hashes = [data.get("sha256") for data in read_record(folder).get("data", [])]
    return hashes.index(found) if found is not None and found in hashes else None


def polish_of(folder: Path) -> int | None:
    """Iterations of polish that a run decided on; None where they were given, and for runs that knew no decision."""
    found: int | None = read_record(folder).get("auto", {}).get("inference.polish")
    return found
