"""The search of metadata files finds the same plugins as ``importlib.metadata``."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ptycho_cli.installed_plugins import InstalledPlugin, find_installed, normalized_name

MakePlugin = Callable[..., Path]


def test_the_search_agrees_with_importlib(make_plugin: MakePlugin) -> None:
    make_plugin("ptycho-one", entry_points="# a remark\na = ptycho_one\nb=ptycho_one:thing [extra]")
    make_plugin("ptycho-two", version="2.0b1")

    found = {(plugin.distribution, plugin.version, plugin.entry_point) for plugin in find_installed()}
    expected = {
        (point.dist.name, point.dist.version, point.name) for point in entry_points(group="ptycho_cli") if point.dist
    }

    assert found == expected
    assert ("ptycho-two", "2.0b1", "mine") in found


def test_archives_on_the_path_are_searched_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "plugins.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("ptycho_zip-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: ptycho-zip\nVersion: 1.5\n")
        file.writestr("ptycho_zip-1.5.dist-info/entry_points.txt", "[ptycho_cli]\nzip = ptycho_zip\n")
    monkeypatch.syspath_prepend(archive)

    assert InstalledPlugin("ptycho-zip", "1.5", "zip", "ptycho_zip") in find_installed()


def test_the_first_copy_on_the_path_counts(make_plugin: MakePlugin, tmp_path: Path) -> None:
    make_plugin("ptycho-one", version="2.0")
    shadowed = tmp_path / "later" / "Ptycho_One-1.0.dist-info"
    shadowed.mkdir(parents=True)
    (shadowed / "entry_points.txt").write_text("[ptycho_cli]\nmine = ptycho_one\n")
    sys.path.append(str(shadowed.parent))
    try:
        versions = [
            plugin.version for plugin in find_installed() if normalized_name(plugin.distribution) == "ptycho-one"
        ]
    finally:
        sys.path.remove(str(shadowed.parent))

    assert versions == ["2.0"]


def test_loading_all_plugins_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from ptycho_cli.extend.host import load_plugins; load_plugins().catalogue();"
        "print([name for name in ('torch', 'lightning', 'numpy', 'h5py', 'rich', 'matplotlib') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
