"""``ptycho data check --save-config``: the settings with which a scan file was read, for ``-c``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptycho_cli.config.provenance import Decision, Resolved
    from ptycho_cli.data.readers.raw_scan import RawScan


def save_config(output: Path, resolved: Resolved, decided: Iterable[Decision], raw: RawScan, *, force: bool) -> None:
    """Write the settings that were given, and names of the frames and positions that were found.

    Args:
        output: The settings file.
        resolved: All settings.
        decided: Those of them that change how the file is read.
        raw: The scan as it was read.
        force: Whether the file may be overwritten.
    """
    from ptycho_cli.config.provenance import Decision, Setting, Source
    from ptycho_cli.config.serialize import to_yaml
    from ptycho_cli.whole_file import new_output

    given = {item.key: item for item in decided}
    found = {key: Decision(key, Setting(path, Source.DEFAULT, "the file")) for key, path in raw.found.items()}
    text = to_yaml(replace(resolved, decisions=tuple((found | given).values())), everything=True)
    with new_output(output) as temporary:
        temporary.write_text(f"# How {Path(raw.source).name} is read ({raw.layout}).\n{text}", encoding="utf-8")
