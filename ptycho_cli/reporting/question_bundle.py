"""A small archive for a question to colleagues: some frames, settings, findings and versions; no paths and names."""

from __future__ import annotations

import getpass
import os
import re
import socket
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.config.keys import keys
from ptycho_cli.config.serialize import json_text
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import recorded_options
from ptycho_cli.data.readers.registry import PluginReaders
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.write import write_scan
from ptycho_cli.errors import DataError, OutputError
from ptycho_cli.reporting.recorded_settings import commands_of
from ptycho_cli.reporting.report_source import ReportSource
from ptycho_cli.shell_line import shell_line
from ptycho_cli.training.run_folder import METRICS
from ptycho_cli.whole_file import new_output

N_FRAMES, SCAN = 64, "scan.h5"
# Kept of a record; the rest names people, machines or places.
_KEPT = (
    *("config", "decisions", "requested", "effective", "reasons", "auto", "scores", "verdict", "versions", "plugins"),
    *("data", "status", "ended_by", "weights_from", "applied_steps", "losses", "reconstruction", "weights"),
)
_ABSOLUTE = re.compile(r"(?:(?<![\w.])~?/|\b[A-Za-z]:[\\/])[^\s'\",;()]+")
_OFFERED = ("schedulers", "callbacks", "networks", "readers", "commands", "weights")  # of a plugin, in run.json
_SHORTEST = 3  # letters of a name that is looked for in texts
_README = """A question about a ptychographic reconstruction, made by `ptycho report --bundle`.

scan.h5        {frames} of {all} frames, with positions, mask and probe, as the program read them
question.json  settings and where they came from, findings of the data check, verdict, versions
metrics.csv    loss and learning rate of each optimizer step, if there was a training
command.txt    commands that repeat it on scan.h5, which needs no settings of how to read it

Paths and names of files, people and machines were replaced by words such as scan.h5 and RUN.
Look at the files before you send them: frames and messages may still tell what the sample is.
"""


def write_bundle(
    source: ReportSource, path: Path, *, data: Path | None = None, readers: PluginReaders = (), force: bool = False
) -> int:
    """Write the archive.

    Args:
        source: The run or the reconstruction.
        path: The archive, a ZIP file.
        data: The scan; by default where the record says it was.
        readers: Readers of installed plugins.
        force: Replace an existing file.

    Returns:
        Number of frames in it.

    Raises:
        DataError: If the scan cannot be read.
        OutputError: If the file exists, or cannot be written.
    """
    if path.exists() and not force:
        raise OutputError(f"{path}: the file exists.", hint="Choose another name, or --force.")
    scan = _scan(source, data, readers)
    part = _some_frames(scan, (source.verdict or {}).get("worst_frames") or ())
    private = _private_words(source, scan.source)
    record = scrubbed({key: source.record[key] for key in _KEPT if key in source.record}, private)
    commands = "\n".join(shell_line(scrubbed(words, private)) for words in commands_of(source, as_read=True))
    with new_output(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", _README.format(frames=part.n_frames, all=scan.n_frames))
        archive.writestr("question.json", json_text(record))
        archive.writestr("command.txt", commands + "\n")
        if source.path.is_dir() and (source.path / METRICS).exists():
            archive.write(source.path / METRICS, METRICS)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".ptycho-bundle-") as folder:
            file = Path(folder) / SCAN
            write_scan(file, part)
            archive.write(file, SCAN)
    return part.n_frames


def _scan(source: ReportSource, data: Path | None, readers: PluginReaders) -> Scan:
    """The scan, read with the settings of the run."""
    path = _recorded_path(source) if data is None else str(data)
    if not path or not Path(path).exists():
        place = f"{path}: no such file" if path else f"{source.path}: its record names no scan"
        raise DataError(f"{place}, expected the scan that was reconstructed.", hint="Name it: --data SCAN")
    return read_scan(path, recorded_options(_config_of(source)), readers)


def _config_of(source: ReportSource) -> Mapping[str, Any]:
    config: Mapping[str, Any] = source.own_record.get("config") or source.record.get("config", {})
    return config


def _recorded_path(source: ReportSource) -> str:
    """Where the record says that the scan was; empty if it names none."""
    recorded = [str(item.get("path")) for item in source.record.get("data", ())]
    return next(map(str, _config_of(source).get("data", {}).get("paths") or recorded), "")


def _some_frames(scan: Scan, worst: Iterable[int]) -> Scan:
    """Neighbouring frames around the one that is explained worst, or around the middle; without the known object."""
    rows = [row for number in worst for row in np.flatnonzero(scan.frame_numbers == number)]
    positions = scan.positions_px
    middle = positions[rows[0]] if rows else np.median(positions, axis=0)
    near: NDArray[np.int64] = np.sort(np.argsort(((positions - middle) ** 2).sum(1), kind="stable")[:N_FRAMES])
    part = scan.select(near)
    return replace(part, truth=None, truth_origin_px=None, stored_frames=scan.frame_numbers[near], left_out=None)


def _private_words(source: ReportSource, scan: str) -> dict[str, str]:
    """Name -> the word that takes its place: files, folders, the user and the machine; no words of the program."""
    record = source.record
    words = dict.fromkeys(_spellings(scan), SCAN)
    configs = (record.get("config", {}), source.own_record.get("config", {}))
    scans = [_recorded_path(source), *(str(item.get("path")) for item in record.get("data", ()))]
    for config in configs:
        scans += [str(path) for key in ("paths", "validation_paths") for path in config.get("data", {}).get(key) or ()]
    for number, path in enumerate(dict.fromkeys(scans), start=1):
        words |= dict.fromkeys(_spellings(path), SCAN if number == 1 else f"scan_{number}.h5")
    runs = [str(source.path), *(str(config.get("training", {}).get("output_dir") or "") for config in configs)]
    for path in dict.fromkeys([*runs, str(record.get("init_from") or "")]):
        words |= dict.fromkeys(_spellings(path), "RUN")
    words |= {socket.gethostname(): "MACHINE", str((record.get("process") or {}).get("host", "")): "MACHINE"}
    words |= {str(Path.home()): "HOME", _user(): "USER"}
    own = {"ptycho", "train", "infer", "reconstruct", *_keys_in(record), *_plugin_words(record)}
    own |= {word for key in keys().values() for word in (*key.name.split("."), *_choices(key.annotation))}
    return {word: name for word, name in words.items() if len(word) >= _SHORTEST and word not in own}


def _plugin_words(record: Mapping[str, Any]) -> set[str]:
    """Words of the names of plugins and of what they offer: without them nobody could install the same."""
    names = [plugin.get("distribution") for plugin in record.get("plugins", ())]
    names += [name for plugin in record.get("plugins", ()) for kind in _OFFERED for name in plugin.get(kind, ())]
    return {word for name in names for word in (str(name), *re.findall(r"\w+", str(name)))}


def _keys_in(value: Any) -> Iterator[str]:
    """Keys of nested values: a file may have the name of one."""
    if isinstance(value, Mapping):
        yield from map(str, value)
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ():
        yield from _keys_in(item)


def _choices(annotation: Any) -> Iterator[str]:
    """Words that a setting of this type accepts."""
    for item in get_args(annotation):
        yield from [item] if isinstance(item, str) else _choices(item)


def _spellings(path: str) -> list[str]:
    """Ways in which texts may name a path: whole, resolved, its name and its name without suffix."""
    if not path:
        return []
    return [path, os.path.realpath(path), Path(path).name, Path(path).stem, str(Path(path).parent).rstrip("./")]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a process without a user
        return ""


def scrubbed(value: Any, private: Mapping[str, str]) -> Any:
    """Plain values with private words replaced, also in keys, and absolute paths by ``PATH``."""
    if isinstance(value, Mapping):
        return {scrubbed(str(key), private): scrubbed(item, private) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrubbed(item, private) for item in value]
    if not isinstance(value, str):
        return value
    for word in sorted(private, key=len, reverse=True):
        value = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", private[word], value)
    return _ABSOLUTE.sub("PATH", value)
