"""Imports point down the floors of the house, also inside functions, and modules stay small."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ptycho_cli

PACKAGE = "ptycho_cli"
ROOT = Path(ptycho_cli.__file__).parent
LONGEST = 320

# Room -> floor. A module may import its own room, and rooms of lower floors.
FLOORS = {
    "errors": 0,
    "finding_ids": 0,
    "progress_callback": 0,
    "plugin_code": 0,
    "shell_line": 0,
    "installed_plugins": 0,
    "config": 1,
    "geometry": 1,
    "whole_file": 1,
    "physics": 2,
    "networks": 2,
    "extend": 2,
    "schedulers": 2,
    "built_in": 4,
    "data": 3,
    "calibration": 3,
    "metrics": 3,
    "registration": 3,
    "render": 3,
    "assembly": 4,
    "training": 5,
    "inference": 5,
    "reporting": 6,
    "system_check": 6,
    "throughput": 6,
    "run_weights": 6,
    "workflows": 6,
    "inference_workflows": 6,
    "api": 6,
    "cli": 7,
}
SCIENCE = {"geometry", "physics", "networks", "data", "calibration", "metrics", "registration"}
# Room -> rooms that it may use although they are on its own floor.
BESIDE = {
    "installed_plugins": {"errors"},  # its variable may hold a word that is neither on nor off
    "networks": {"physics", "extend"},  # a stage of the network is a physics step; an entry is a plugin's
    "calibration": {"data"},
    "schedulers": {"extend"},
    "metrics": {"registration"},
    "throughput": {"workflows"},
    "workflows": {"reporting", "run_weights"},
    "inference_workflows": {"workflows", "reporting", "run_weights"},
    "api": {"workflows", "inference_workflows", "reporting"},
}
# Imported by plugin authors' tests only, never by the program.
APART = {f"ptycho_cli.extend.{name}" for name in ("conformance", "network_conformance", "reader_conformance")}
# Room -> outside packages that it knows nothing of.
UNKNOWN = {
    "errors": {"pydantic", "yaml", "numpy", "torch", "lightning", "rich", "typer"},
    "whole_file": {"pydantic", "yaml", "numpy", "torch", "lightning", "rich", "typer"},
    "shell_line": {"pydantic", "yaml", "numpy", "torch", "lightning", "rich", "typer"},
    "finding_ids": {"pydantic", "yaml", "numpy", "torch", "lightning", "rich", "typer"},
    "plugin_code": {"pydantic", "yaml", "numpy", "torch", "lightning", "rich", "typer"},
    "installed_plugins": {"pydantic", "yaml", "numpy", "torch", "lightning", "rich", "typer", "pluggy"},
    "progress_callback": {"pydantic", "yaml", "numpy", "torch", "lightning", "rich", "typer"},
    "config": {"numpy", "torch", "lightning", "h5py", "rich", "typer", "pluggy"},
    "geometry": {"torch", "lightning", "rich", "typer"},
    "physics": {"lightning", "h5py", "rich", "typer"},
    "networks": {"lightning", "h5py", "rich", "typer"},
    "extend": {"lightning", "rich", "typer"},
    "schedulers": {"lightning", "rich", "typer"},
    "built_in": {"torch", "lightning", "numpy", "rich", "typer"},
    "data": {"lightning", "rich", "typer"},
    "calibration": {"lightning", "rich", "typer"},
    "metrics": {"lightning", "rich", "typer"},
    "registration": {"lightning", "rich", "typer"},
    "render": {"torch", "lightning", "typer"},
    "assembly": {"rich", "typer"},
    "training": {"rich", "typer"},
    "inference": {"rich", "typer"},
    "cli": {"torch", "lightning", "numpy", "h5py"},
    "reporting": {"torch", "lightning", "rich", "typer"},
    "system_check": {"torch", "lightning", "rich", "typer"},
    "throughput": {"rich", "typer"},
    "run_weights": {"rich", "typer"},
    "workflows": {"rich", "typer"},
    "inference_workflows": {"rich", "typer"},
    "api": {"rich", "typer"},
}
MODULES = sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    """Dotted name of a module."""
    parts = (PACKAGE, *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(part for part in parts if part != "__init__")


def room_of(module: str) -> str | None:
    """The part after the package's name; None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def imports_of(path: Path) -> Iterator[str]:
    """Modules that a file imports when it runs, wherever in it; what only type checkers see is left out."""
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            known = (ROOT.parent / Path(*base.split("."))).is_dir()
            yield from ((f"{base}.{alias.name}" for alias in node.names) if known else (base,))
        pending += ast.iter_child_nodes(node)


def rooms_used(path: Path) -> set[str]:
    """Rooms of this package that a file imports."""
    found = {room_of(name) for name in imports_of(path) if name.split(".")[0] == PACKAGE}
    return {room for room in found if room is not None}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_keeps_to_its_floor(path: Path) -> None:
    module = name_of(path)
    room, used = room_of(module), rooms_used(path)
    if room in ("physics", "networks"):
        assert not used & {"cli", "config"}, f"{module} knows of {used & {'cli', 'config'}}"
    if room is None or room == "__main__":
        return
    assert room in FLOORS, f"{module} is in a room without a floor"
    if room in SCIENCE:
        assert "config" not in used, f"{module} reads settings; only assembly turns them into objects"
    if module in APART:
        return
    for other in used - {room} - BESIDE.get(room, set()):
        if other in FLOORS:
            assert FLOORS[other] < FLOORS[room], (
                f"{module} on floor {FLOORS[room]} imports {other} on floor {FLOORS[other]}"
            )
    outside = {name.split(".")[0] for name in imports_of(path)}
    assert not outside & UNKNOWN[room], f"{module} imports {outside & UNKNOWN[room]}"


def test_the_page_for_contributors_shows_every_room_on_its_floor() -> None:
    page = (ROOT.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| (\d) \| ([^|]+) \|", page)

    shown = {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)(?:/|\.py)`", rooms)}

    assert shown == FLOORS


def test_no_two_modules_bear_one_name() -> None:
    """A name says its subject without its folder; that of a room counts too."""
    packages = [path.parent.name for path in MODULES if path.name == "__init__.py"]
    names = [*packages, *(path.stem for path in MODULES if not path.stem.startswith("__"))]

    assert sorted({name for name in names if names.count(name) > 1}) == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_the_settings_wing_imports_no_science_even_in_functions() -> None:
    for path in MODULES:
        if room_of(name_of(path)) in ("config", "extend", "schedulers") and name_of(path) not in APART:
            assert not rooms_used(path) & (SCIENCE | {"assembly", "training", "inference", "render", "cli"}), path


def test_torch_stays_inside_functions_of_the_settings_wing() -> None:
    for path in MODULES:
        if room_of(name_of(path)) in ("extend", "schedulers") or name_of(path) == "ptycho_cli.networks.entries":
            if name_of(path) in APART:
                continue
            top = ast.parse(path.read_text(encoding="utf-8")).body
            for node in top:
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    assert "torch" not in ast.unparse(node), path
