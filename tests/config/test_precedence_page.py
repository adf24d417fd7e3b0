"""What docs/precedence.md shows is what the program prints."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan

PAGE = Path(__file__).parents[2] / "docs" / "precedence.md"
FILE = re.compile(r"```yaml\n(# (\S+)\n.*?)```", re.DOTALL)
SHOWN = re.compile(r"```console\n\$ (.*?)\n(.*?)```", re.DOTALL)
RUN = "scan.h5 -o runs/star --seed 5 --scheduler Exponential"


def printed(line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a line typed into a shell prints, without spaces at the ends of lines."""
    words = shlex.split(line)
    at = words.index("ptycho")
    with monkeypatch.context() as around:
        for assignment in words[:at]:
            around.setenv(*assignment.split("=", 1))
        main(words[at + 1 :])
    out, err = capsys.readouterr()
    return "".join(f"{text.rstrip()}\n" for text in (out + err).splitlines())


def test_every_example_is_what_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("PTYCHO_NO_PLUGINS", "1")
    monkeypatch.setenv("COLUMNS", "100")
    text = PAGE.read_text(encoding="utf-8")
    assert f"`ptycho train {RUN}`" in text
    write_scan(Path("scan.h5"), simulate(n_frames=4, n_pixels=16, seed=1))
    assert main(["inspect-config", *RUN.split(), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    for content, name in (json.dumps(report), "runs/star/run.json"), *FILE.findall(text):
        path = Path(name.replace("~", str(tmp_path)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    examples = SHOWN.findall(text)
    assert len(examples) == 6
    for line, shown in examples:
        assert printed(line, capsys, monkeypatch) == shown, line
