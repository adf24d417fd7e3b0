"""The page on a run: complete, self-contained, and safe with whatever files hold."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.data.write import write_reconstruction
from ptycho_cli.errors import CheckpointError, OutputError
from ptycho_cli.reporting.report_source import read_source
from ptycho_cli.reporting.run_page import run_page, write_report

MakeRun = Callable[..., Path]
VOID = {"meta", "link", "br", "img", "hr", "input"}
HOSTILE = "<script>alert(1)</script> [red]&amp;\"' {{ 7 * 7 }} $x_{$"


class Page(HTMLParser):
    """Elements, texts and references of a page; fails where elements do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.elements if "id" in attrs]


def page_of(folder: Path) -> Page:
    return Page(run_page(read_source(folder)))


@pytest.fixture(scope="module")
def whole(whole_run: Path) -> str:
    """The page on a run with everything."""
    return run_page(read_source(whole_run))


def test_the_page_of_a_run_has_every_part_and_the_verdict_first(whole: str) -> None:
    page = Page(whole)

    for part in ("verdict", "object", "training", "frames", "uncertainty", "data", "settings", "repeat", "methods"):
        assert part in page.ids()
    sentence = page.text.index("The model explains the frames (1.2 times photon noise)")
    assert sentence < page.text.index("Object and probe")
    for text in (
        "measured beside modelled", "Position shifts", "Ring correlation", "Coverage", "auto resolved to cpu", "ab12",
        "photon noise alone, 0.5", "transition", "Poisson likelihood", "optimizer step", "Frame 3 is blank.",
        "--set data.a=1 --set data.b=2", "physics.alpha", "overrides", "doi = {10.1038/s41598-023-48351-7}",
    ):  # fmt: skip
        assert text in page.text, text


@pytest.mark.parametrize(
    ("auto", "said"),
    [
        ({}, "one probe mode, refined with the network"),
        ({"physics.refine_probe": False, "physics.probe_warmup": 0}, "one probe mode, which was kept fixed"),
        ({"physics.refine_probe": False, "physics.probe_warmup": 10}, "one probe mode, refined by PIE steps"),
    ],
)
def test_the_methods_say_what_became_of_the_probe(auto: dict[str, Any], said: str, make_run: MakeRun) -> None:
    assert said in page_of(make_run(auto=auto)).text


def test_nothing_on_the_page_comes_from_elsewhere(whole: str) -> None:
    """Images are data, and the only other references lead to places on the page itself."""
    for tag, attrs in Page(whole).elements:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/png")), (tag, attrs)
    assert re.findall(r"url\((?!#)|@import", whole) == []
    assert "default-src 'none'" in whole


def test_ids_are_unique_so_that_no_figure_borrows_from_another(whole: str) -> None:
    marks = [id for id in Page(whole).ids() if re.fullmatch(r"[mp][0-9a-f]{10}", id)]

    assert len(marks) > 5
    assert len(marks) == len(set(marks))


def test_whatever_files_hold_is_shown_as_text(make_run: MakeRun) -> None:
    """Names of folders and scans, messages, origins, versions and plugins."""
    plugin = {"distribution": HOSTILE, "version": HOSTILE, "status": HOSTILE, "schedulers": [HOSTILE]}
    finding = {"id": HOSTILE, "severity": "warning", "message": HOSTILE, "setting": HOSTILE}
    verdict = {
        "explained": False, "deviance": 2.0, "expected_deviance": 0.5, "ratio": 4.0, "reasons": [HOSTILE],
        "findings": [finding], "worst_frames": [4], "worst_pixels": [],
    }  # fmt: skip
    folder = make_run(
        "<b>star [red] {{ x }} $a_{$", scan=HOSTILE.replace("/", "|"), plugins=[plugin], versions={HOSTILE: HOSTILE},
        verdict=verdict, effective={HOSTILE: HOSTILE}, init_from=HOSTILE,
    )  # fmt: skip
    page = page_of(folder)

    assert [tag for tag, _ in page.elements].count("script") == 1
    assert "b" not in page.open
    assert HOSTILE in page.text
    assert page.text.count("alert(1)") > 8
    assert "<b>star [red] {{ x }} $a_{$" in page.text


def test_a_run_without_a_result_yet_says_so(make_run: MakeRun) -> None:
    folder = make_run(status="running", verdict=None)
    page = page_of(folder)

    assert "There is no verdict yet: the training is 'running'" in page.text
    assert "object" not in page.ids()
    assert "training" in page.ids()


def test_a_wrapped_phase_is_shown_unwrapped_as_well(make_run: MakeRun, whole: str) -> None:
    """A hill of 8 rad wraps; the small object of the other tests does not."""
    y, x = np.indices((40, 40)) - 19.5
    hill = np.exp(8j * np.exp(-(y**2 + x**2) / 120)).astype(np.complex64)

    assert "Phase, unwrapped" in page_of(make_run(result={"object": hill})).text
    assert "It does not wrap." in whole
    assert "Phase, unwrapped" not in whole


def test_the_commands_repeat_the_decisions(whole: str) -> None:
    assert "ptycho train --output-dir runs/a --epochs 3 --stop never scan.h5" in Page(whole).text


def test_a_reconstruction_has_a_page_with_both_commands(whole_run: Path, tmp_path: Path) -> None:
    """What `ptycho infer` wrote: settings of its own beside those of the run."""
    source = read_source(whole_run)
    assert source.result is not None
    own = {"key": "inference.uncertainty", "value": True, "source": "command-line", "origin": "--uncertainty"}
    record = {**source.record, "reconstruction": {"config": {}, "decisions": [{**own, "overridden": []}], "auto": {}}}
    file = tmp_path / "other.h5"
    write_reconstruction(file, replace(source.result, run_record=record))

    assert main(["report", str(file)]) == 0
    text = Page((tmp_path / "other-report.html").read_text(encoding="utf-8")).text
    assert "ptycho infer runs/a --uncertainty" in text
    assert "ptycho train --output-dir runs/a" in text


def test_an_earlier_report_is_replaced_and_another_file_is_not(make_run: MakeRun) -> None:
    run = make_run()
    page = run / "report.html"
    write_report(run, page)
    write_report(run, page)
    page.write_text("my notes")

    with pytest.raises(OutputError, match="no earlier report"):
        write_report(run, page)
    assert page.read_text() == "my notes"
    assert main(["report", str(run), "--force", "--quiet"]) == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_damaged_record_is_an_error_of_one_line(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(verdict={"explained": True})

    with pytest.raises(CheckpointError, match="its record is damaged"):
        write_report(folder, folder / "report.html")
    assert main(["report", str(folder)]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (folder / "report.html").exists()


def test_a_report_is_made_without_torch(make_run: MakeRun) -> None:
    code = "import sys; from ptycho_cli.cli.app import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "report", str(make_run())], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "False"


def test_json_names_the_page_and_has_the_verdict(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run()
    assert main(["report", str(run), "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)

    assert report["report"] == str(run / "report.html")
    assert report["verdict"]["explained"] is True


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
PROBE = """<script>
const wide = document.documentElement.scrollWidth;
document.querySelector(".zoom").click();
document.title = JSON.stringify({
  wide, room: document.documentElement.clientWidth, zoomed: document.querySelector("dialog").open,
  drawn: document.querySelectorAll("dialog svg").length,
  loaded: performance.getEntriesByType("resource").filter((item) => !item.name.startsWith("data:")).length,
});
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_enlarges_a_figure_and_no_line_is_wider_than_a_phone(whole: str, tmp_path: Path) -> None:
    """The page measures itself, enlarges a figure, and counts what it loaded from elsewhere."""
    page = tmp_path / "page.html"
    narrow = whole.replace("<main>", '<main style="width: 390px">')  # a window has at least 500 px
    page.write_text(narrow.replace("</body>", PROBE), encoding="utf-8")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [str(CHROMIUM), *flags, "--window-size=500,900", "--dump-dom", f"file://{page}"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    found = json.loads(title[1])

    assert (found["zoomed"], found["drawn"], found["loaded"]) == (True, 1, 0)
    assert found["wide"] <= found["room"]
