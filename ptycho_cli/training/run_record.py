"""The record of a run, ``run.json``: requested and effective settings, plugins, versions and data."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_cli import __version__
from ptycho_cli.config.catalogue import CORE_DISTRIBUTION, EntryInfo
from ptycho_cli.config.provenance import Resolved
from ptycho_cli.config.serialize import config_to_record, json_text, resolved_to_json, with_names
from ptycho_cli.config.values import printable
from ptycho_cli.data.scan_checks import refuse_pixel
from ptycho_cli.errors import CheckpointError
from ptycho_cli.installed_plugins import normalized_name
from ptycho_cli.training.record_parts import problem_of_record
from ptycho_cli.whole_file import replacing

if TYPE_CHECKING:
    from ptycho_cli.config.schema import Config
    from ptycho_cli.data.scan import Scan
    from ptycho_cli.extend.host import Host

RECORD, WEIGHTS = "run.json", "weights.safetensors"
_LARGEST = 2**26  # bytes; a record has some tens of KiB
_HINT = "Restore the file from a copy, or train the run again."
_PACKAGES = ("torch", "lightning", "numpy", "scipy", "h5py", "pydantic", "safetensors")


def new_record(resolved: Resolved, host: Host, scans: Sequence[Scan]) -> dict[str, Any]:
    """The record of a run before anything is built."""
    return {
        **resolved_to_json(resolved),
        "config": config_to_record(resolved.config, host.catalogue()),
        "requested": {},
        "effective": {},
        "plugins": [plugin.as_json() for plugin in host.plugins],
        "versions": versions(),
        "data": [scan_summary(scan) for scan in scans],
    }


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``run.json`` atomically."""
    with replacing(folder / RECORD) as temporary:
        temporary.write_text(json_text(record) + "\n", encoding="utf-8")


def read_record(folder: Path) -> dict[str, Any]:
    """Read the ``run.json`` of a run folder.

    Raises:
        CheckpointError: If there is none, or it is damaged.
    """
    path = folder / RECORD
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"larger than {_LARGEST >> 20} MiB")
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        found = f"no readable {RECORD} in it ({error.strerror})"
        if not os.path.isdir(folder):  # pathlib raises for names that are too long
            found = "a file" if os.path.exists(folder) else "no such folder"
        raise CheckpointError(
            f"{folder}: {found}, expected the folder of a run.",
            hint="Name the output folder of a training.",
        ) from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged, not a run record ({error}).", hint=_HINT) from None
    if (problem := problem_of_record(record)) is not None:
        raise CheckpointError(f"{path}: damaged, not a run record ({printable(problem)}).", hint=_HINT)
    return {**record, "config": with_names(record["config"], partial(_with_distribution, record.get("plugins", ())))}


def _with_distribution(plugins: Sequence[Mapping[str, Any]], kind: str, name: str) -> str:
    """A name with the distribution that offered it to this run, which earlier versions did not record with it."""
    offered = [str(plugin["distribution"]) for plugin in plugins if name in plugin.get(f"{kind}s", ())]
    if len(offered) != 1 or offered[0] == CORE_DISTRIBUTION:
        return name
    return f"{offered[0]}:{name}"


def changed_plugins(record: Mapping[str, Any], entries: Iterable[EntryInfo]) -> tuple[str, ...]:
    """One line for each entry that a run uses and that another version of its plugin offers now."""
    was = {normalized_name(plugin["distribution"]): str(plugin["version"]) for plugin in record.get("plugins", ())}
    lines = []
    for entry in entries:
        version = was.get(normalized_name(entry.distribution), entry.version)
        if version != entry.version and entry.distribution != CORE_DISTRIBUTION:
            made = f"the run was made with {entry.distribution} {version}, and {entry.version} is installed"
            lines.append(f"{entry.kind} {entry.name}: {made}.")
    return tuple(lines)


def versions() -> dict[str, str]:
    """Versions of Python, this program and the packages that it computes with."""
    found = {"ptycho-cli": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def scan_summary(scan: Scan) -> dict[str, Any]:
    """Describe a scan in plain values; the hash is that of the file's bytes."""
    return {
        "path": str(scan.source),
        "sha256": file_hash(Path(scan.source)),
        "layout": scan.layout,
        "n_frames": scan.n_frames,
        "n_pixels": scan.n_pixels,
        "left_out_frames": [] if scan.left_out is None else scan.left_out.frames.tolist(),
        "object_pixel_m": scan.object_pixel_m,
        "assumptions": list(scan.assumptions),
        "findings": [finding.as_json() for finding in scan.findings],
    }


def file_hash(path: Path) -> str | None:
    """SHA-256 of a file; None if the scan was not read from a file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_object_pixel(scan: Scan, folder: Path) -> None:
    """Refuse a scan whose object pixel differs from that of the scans that a run was trained on.

    Raises:
        DataError: If both pixel sizes are known and differ.
    """
    trained = [data.get("object_pixel_m") for data in read_record(folder).get("data", [])]
    refuse_pixel(scan, next((pixel for pixel in trained if pixel is not None), None), f"the run {folder}")


def training_scan_index(scan: Scan, folder: Path) -> int | None:
    """Index of a scan among those that a run was trained on, by its file's bytes; None if it is not among them."""
    found = file_hash(Path(scan.source))
    hashes = [data.get("sha256") for data in read_record(folder).get("data", [])]
    return hashes.index(found) if found is not None and found in hashes else None


def as_trained_on(scan: Scan, record: Mapping[str, Any], number: int) -> Scan:
    """A scan of a run without the frames that were left out of it, unless the user keeps bad frames now.

    Args:
        scan: The scan, as it was read.
        record: What ``run.json`` holds.
        number: Its number among the scans that the run was trained on.
    """
    data = record.get("data", [])
    if number >= len(data) or scan.read_as.options.reject_bad_frames == "never":
        return scan
    return scan.leaving_out(data[number].get("left_out_frames", []))


def geometry_was_tried(record: Mapping[str, Any], config: Config) -> bool:
    """Whether a run found no other geometry of its first scan that explains it better, and reads the scan so now.

    Args:
        record: What ``run.json`` holds.
        config: The settings by which the scan was read now.
    """
    return bool((record.get("verdict") or {}).get("explained")) and _reads_alike(record, config)


def reconstructs_own_scan(record: Mapping[str, Any], config: Config, index: int | None) -> bool:
    """Whether settings ask for the network's reconstruction that a run made of its first scan, apart from the polish.

    Args:
        record: What ``run.json`` holds.
        config: The settings now.
        index: Index of the scan among those that the run was trained on; None if it is not among them.
    """
    was, now, inference = record["config"], config.model_dump(mode="json"), ("probe", "untrained")
    return (
        index == 0
        and config.inference.probe == "run"
        and _reads_alike(record, config)
        and was.get("physics") == now["physics"]
        and was.get("training", {}).get("seed") == config.training.seed
        and all(was.get("inference", {}).get(key) == now["inference"][key] for key in inference)
    )


def _reads_alike(record: Mapping[str, Any], config: Config) -> bool:
    """Whether a run read its scans by the settings of now."""
    other = {"paths": None, "findings": None}
    was, now = (data | other for data in (record["config"].get("data", {}), config.data.model_dump(mode="json")))
    return was == now
