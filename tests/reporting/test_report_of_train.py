"""What `ptycho train` leaves for a report, and the report itself."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.data.write import read_reconstruction
from ptycho_cli.reporting import training_outputs


@pytest.mark.parametrize("report", [True, False])
def test_train_writes_a_report_unless_it_should_not(
    scan_file: Path, tmp_path: Path, report: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has the frames that the reconstruction kept."""
    spent = []

    def timed(*arguments: Path) -> object:
        start = time.process_time()
        found = write_report(*arguments)
        spent.append(time.process_time() - start)
        return found

    write_report = training_outputs.write_report
    monkeypatch.setattr(training_outputs, "write_report", timed)
    run, flags = tmp_path / "run", ["--n-groups", "2", "--epochs", "1", "--json"]

    assert main(["train", str(scan_file), "-o", str(run), *flags, *([] if report else ["--no-report"])]) == 0

    assert (run / "report.html").exists() == report
    assert json.loads(capsys.readouterr().out).get("report") == (str(run / "report.html") if report else None)
    examples = read_reconstruction(run / "reconstruction.h5").examples
    assert examples is not None
    assert (examples.measured.shape, set(examples.roles)) == ((3, 16, 16), {"worst", "typical"})
    if report:
        page = (run / "report.html").read_text(encoding="utf-8")
        assert f"frame {examples.numbers[0]}, worst" in page
        assert spent[0] < 6.0  # seconds: twice the promise, for machines that are busy
