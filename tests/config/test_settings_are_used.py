"""Every setting of the schema is read by the code that it is meant for, not only defined, listed and printed."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import ptycho_cli
from ptycho_cli.config.data_settings import DataSettings, ProbeSettings
from ptycho_cli.config.keys import keys
from ptycho_cli.config.schema import Config
from ptycho_cli.data.read_options import ApertureOptions, ReadOptions

PACKAGE = Path(ptycho_cli.__file__).parent
# Rooms that only define, print or pass on settings.
WITHOUT_USE = {"config", "render", "cli"}
# A dataclass -> the group of settings that it is filled from, field by field of the same name.
FILLED_BY_NAME: dict[type, type] = {ReadOptions: DataSettings, ApertureOptions: ProbeSettings}
# Packages that hold no settings are skipped, so that mypy takes seconds and not half a minute.
MYPY_SETTINGS = """
[mypy]
check_untyped_defs = True
[mypy-torch.*,lightning.*,numpy.*,h5py.*,scipy.*,skimage.*,matplotlib.*,rich.*,typer.*,yaml.*,safetensors.*,pluggy.*]
follow_imports = skip
ignore_missing_imports = True
"""
GROUPS: dict[str, type] = {
    name: info.annotation for name, info in Config.model_fields.items() if hasattr(info.annotation, "model_fields")
}  # type: ignore[misc]


def with_fields_renamed(path: Path, classes: set[str]) -> str:
    """The source of a module in which no field of some classes has its name, so that mypy refuses every read of one.

    A field that holds another of the classes keeps its name, for its fields would go unseen.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name in classes:
            for field in node.body:
                if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                    continue
                if ast.unparse(field.annotation) not in classes:
                    field.target.id = f"renamed_{field.target.id}"
    return ast.unparse(tree)


def reads(folder: Path) -> set[tuple[str, str, str]]:
    """Class, field and room of every read of a setting, with the types that mypy infers.

    A search for names would count ``self.mode`` of any class as a read of ``checkpoint.mode``.
    """
    classes = (*GROUPS.values(), *FILLED_BY_NAME)
    command = [sys.executable, "-m", "mypy", "-O", "json", "--cache-dir", str(folder / "cache"), str(PACKAGE)]
    for number, path in enumerate(sorted({Path(inspect.getsourcefile(item) or "") for item in classes})):
        shadow = folder / f"shadow_{number}.py"
        shadow.write_text(with_fields_renamed(path, {item.__name__ for item in classes}), encoding="utf-8")
        command += ["--shadow-file", str(path), str(shadow)]
    settings = folder / "mypy.ini"
    settings.write_text(MYPY_SETTINGS)
    done = subprocess.run([*command, "--config-file", str(settings)], capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    found = set()
    for line in done.stdout.splitlines():
        error = json.loads(line)
        if match := re.search(r'"(\w+)"(?: of "[^"]+")? has no attribute "(\w+)"', error["message"]):
            file = Path(error["file"]).resolve()
            found.add((match[1], match[2], file.relative_to(PACKAGE.resolve()).parts[0]))
    return found


def test_every_setting_is_read_where_something_is_computed(tmp_path: Path) -> None:
    found = reads(tmp_path)
    assert ("OptimizerSettings", "learning_rate", "training") in found, "mypy's messages have another form"
    used = {(name, field) for name, field, room in found if room not in WITHOUT_USE}
    for copy, group in FILLED_BY_NAME.items():
        used |= {(group.__name__, field) for name, field in used if name == copy.__name__}

    unused = [key.name for key in keys().values() if (GROUPS[key.group].__name__, key.field) not in used]

    assert not unused, (
        f"nothing reads {', '.join(unused)}: use it in the code, or remove it from config/schema.py"
        f" (config/, render/ and cli/ do not count, for they only define, show and pass on settings)"
    )
