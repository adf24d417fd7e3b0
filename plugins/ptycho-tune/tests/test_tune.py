"""``ptycho tune`` finds better settings, prunes, continues a study, and refuses what would not compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ptycho_tune import TUNE
from ptycho_tune import study as studies
from ptycho_tune.search_space import Searched

from ptycho_cli.cli.app import main
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan
from ptycho_cli.errors import TrainingError
from ptycho_cli.training.run_lock import RunLock
from ptycho_cli.training.stop_request import StopRequest

QUICK = (
    *("--epochs", "2", "--n-groups", "4", "--group-size", "12", "--set", "physics.probe_warmup=0"),
    *("--network-option", "stages=1", "--network-option", "width=4", "--accelerator", "cpu", "--no-plugin", "none"),
)
RATE = "optimizer.learning_rate"


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    write_scan(path, simulate(n_frames=36, n_pixels=16, photons=1e5, seed=1))
    return str(path)


def tune(scan: str, folder: Path, *words: str) -> int:
    return main(["tune", scan, "-o", str(folder), *QUICK[:-2], *words])


def report_of(text: str) -> Any:
    return json.loads(text)


class Fake:
    """A training whose held-out deviance is a function of the learning rate, so that a study takes no time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, epochs: int = 3) -> None:
        self.rates: list[float] = []
        self.epochs = epochs
        monkeypatch.setattr(studies, "_train", self)

    def loss(self, rate: float, epoch: int) -> float:
        return abs(rate - 0.003) + 0.1 / (epoch + 1)

    def __call__(self, trial: Any, plan: studies.Plan, lock: Any, progress: Any) -> tuple[list[float], bool]:
        rate = plan.searches[0].suggest(trial)
        self.rates.append(rate)
        watch = studies.Watch(trial, stop := StopRequest(), progress)
        for epoch in range(self.epochs):
            watch._epochs = self.epochs
            watch.epoch(epoch, {"val_loss": self.loss(rate, epoch)})
            if stop.ended_by:
                break
        return watch.losses, watch.pruned


def test_a_study_trains_and_writes_settings_that_train_as_its_best_trial(
    scan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With real trainings: a rate of zero learns nothing, so the other is the best, and its file repeats it."""
    folder = tmp_path / "study"

    assert tune(scan, folder, "--search", f"{RATE}=0.01,1e-6", "--trials", "2", "--no-pruning", "--json") == 0
    report = report_of(capsys.readouterr().out)

    losses = {trial["settings"][RATE]: trial["val_loss"] for trial in report["trials"]}
    assert report["best"]["settings"] == {RATE: min(losses, key=losses.__getitem__)}
    assert {trial["state"] for trial in report["trials"]} == {"complete"}
    assert yaml.safe_load((folder / "best.yaml").read_text())["training"]["epochs"] == 2
    assert main(["train", scan, "-c", str(folder / "best.yaml"), "-o", str(tmp_path / "run"), "--quiet"]) == 0
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    names = rows[0].split(",")
    values = [dict(zip(names, row.split(","), strict=True))["val_loss"] for row in rows[1:]]
    assert min(float(value) for value in values if value) == pytest.approx(report["best"]["val_loss"], rel=1e-5)


def test_a_search_gets_near_the_best_rate_and_begins_with_the_settings_as_given(
    scan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake(monkeypatch)

    assert tune(scan, tmp_path / "study", "--search", f"{RATE}=1e-5..1e-1:log", "--trials", "25", "--no-pruning") == 0

    assert fake.rates[0] == 0.002  # the default
    assert min(abs(rate - 0.003) for rate in fake.rates) < 0.001
    assert all(1e-5 <= rate <= 1e-1 for rate in fake.rates)
    printed = capsys.readouterr().out
    assert "best: trial" in printed
    assert "(the settings as given: 0.034333)" in printed
    assert f"Train with them: ptycho train {scan} -c" in printed


def test_bad_trials_are_pruned_and_a_study_continues_where_it_was(
    scan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake(monkeypatch, epochs=4)
    words = ("--search", f"{RATE}=1e-5..1e-1", "--json")

    assert tune(scan, tmp_path / "study", *words, "--trials", "8") == 0
    assert len(fake.rates) == 8
    assert tune(scan, tmp_path / "study", *words, "--trials", "12") == 0
    assert len(fake.rates) == 12
    assert len(set(fake.rates)) == 12
    assert tune(scan, tmp_path / "study", *words, "--trials", "12") == 0
    assert len(fake.rates) == 12
    report = report_of(capsys.readouterr().out.rsplit("\n{\n", 1)[-1].join(("{\n", "")))
    pruned = [trial for trial in report["trials"] if trial["state"] == "pruned"]
    assert pruned
    assert all(trial["epochs"] < 4 for trial in pruned)
    assert min(trial["val_loss"] for trial in pruned) > report["best"]["val_loss"]


def test_a_training_is_ended_by_pruning_after_its_epoch(scan: str, tmp_path: Path) -> None:
    """A real one: the run ends well, before its last epoch."""
    watched: list[studies.Watch] = []

    class Pruned(studies.Watch):
        def __init__(self, trial: Any, stop: StopRequest, progress: Any) -> None:
            trial.should_prune = lambda: True
            super().__init__(trial, stop, progress)
            watched.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "Watch", Pruned)
        patch.setattr(studies, "FINISHED", (studies.TrialState.PRUNED,))
        assert tune(scan, tmp_path / "study", "--search", f"{RATE}=0.01,0.001", "--trials", "1", "--quiet") == 0

    assert len(watched[0].losses) == 1
    record = json.loads((tmp_path / "study" / "trial_0000" / "run.json").read_text())
    assert "pruned by ptycho tune" in record["ended_by"]


def test_failed_trials_are_passed_over_and_many_in_a_row_end_the_study(
    scan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any) -> Any:
        raise TrainingError("the loss is not finite.")

    monkeypatch.setattr(studies, "_train", fails)

    assert tune(scan, tmp_path / "study", "--search", f"{RATE}=1..2") == 3
    said = capsys.readouterr()
    assert said.out.count("failed: the loss is not finite.") == studies.MOST_FAILURES - 1
    assert "error: the loss is not finite." in said.err


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("optimizer.learning_rat=1e-4..1e-2", "Did you mean optimizer.learning_rate?"),
        (f"{RATE}=1e-2..1e-4", "expected a lower and a higher end"),
        (f"{RATE}=0..1:log", "expected a lower and a higher end, above 0 for ':log'"),
        (f"{RATE}=-1..1", "expected"),
        (f"{RATE}=3", "one value is no search"),
        (f"{RATE}", "expected KEY=LOW..HIGH or KEY=A,B,C"),
        ("loss.name=poisson,poison", "poison"),
        ("model.options.depth=1,2", "unrolled has no option 'depth'"),
        ("data.validation_fraction=0.1..0.2", "cannot be searched"),
        ("execution.num_workers=0,1", "cannot be searched"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_anything_is_written(
    search: str, words: str, scan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune(scan, tmp_path / "study", "--search", search) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "study").exists()


def test_processes_share_a_study_and_a_trial_of_one_that_died_counts_no_more(
    scan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another process trains the second trial: this one counts it, and draws no value of it."""
    other: list[Any] = []

    class Beside(Fake):
        def __call__(self, trial: Any, plan: studies.Plan, lock: Any, progress: Any) -> tuple[list[float], bool]:
            if not other:
                held = RunLock()
                other.extend((held, studies._begin(studies.open_study(plan), plan, held)))
            return super().__call__(trial, plan, lock, progress)

    fake = Beside(monkeypatch)
    words = ("--search", f"{RATE}=1e-5..1e-1", "--trials", "4", "--json")

    assert tune(scan, tmp_path / "study", *words) == 0
    states = [trial["state"] for trial in report_of(capsys.readouterr().out)["trials"]]
    assert states == ["complete", "running", "complete", "complete"]
    other[0].__exit__(None, None, None)
    assert tune(scan, tmp_path / "study", *words) == 0
    states = [trial["state"] for trial in report_of(capsys.readouterr().out)["trials"]]
    assert states == ["complete", "fail", "complete", "complete", "complete"]
    assert len({*fake.rates, other[1].params[RATE]}) == 5


@pytest.mark.long
def test_jobs_train_several_trials_at_a_time(scan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "study"
    words = ("--search", f"{RATE}=1e-5..1e-1:log", "--trials", "4", "--jobs", "2", "--no-pruning")

    assert tune(scan, folder, *words) == 0

    printed = capsys.readouterr().out
    assert "best: trial" in printed
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("trial_*/run.json"))]
    assert len({record["process"]["pid"] for record in records}) == 2
    assert len({record["config"]["optimizer"]["learning_rate"] for record in records}) == 4
    assert (folder / "best.yaml").exists()


def test_a_process_that_cannot_train_ends_the_command_with_its_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scan.h5").write_text("no scan")

    assert tune(str(tmp_path / "scan.h5"), tmp_path / "study", "--search", f"{RATE}=1e-5..1e-1", "--jobs", "2") == 2
    error = capsys.readouterr().err
    assert f"error: {tmp_path / 'scan.h5'}: " in error
    assert "Traceback" not in error


def test_other_settings_and_another_search_do_not_join_a_study(
    scan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Fake(monkeypatch)
    folder = tmp_path / "study"
    assert tune(scan, folder, "--search", f"{RATE}=1e-4..1e-2", "--trials", "1") == 0

    assert tune(scan, folder, "--search", f"{RATE}=1e-4..1e-1", "--trials", "2") == 2
    assert "this study searches optimizer.learning_rate=0.0001..0.01" in " ".join(capsys.readouterr().err.split())
    assert tune(scan, folder, "--search", f"{RATE}=1e-4..1e-2", "--loss", "amplitude", "--trials", "2") == 2
    assert "other settings of loss" in " ".join(capsys.readouterr().err.split())


def test_whole_numbers_are_searched_as_such() -> None:
    class Asked:
        def suggest_int(self, *words: Any, **more: Any) -> tuple[Any, ...]:
            return ("int", *words)

        def suggest_float(self, *words: Any, **more: Any) -> tuple[Any, ...]:
            return ("float", *words)

    assert Searched("model.options.stages", low=2, high=8).suggest(Asked()) == ("int", "model.options.stages", 2, 8)
    assert Searched(RATE, low=1e-4, high=1).suggest(Asked())[0] == "float"


def test_the_program_knows_the_command_and_loads_optuna_only_when_it_runs() -> None:
    import subprocess
    import sys

    script = (
        "import sys\nfrom ptycho_cli.cli.app import main\nmain(['--help'])\n"
        "print('optuna' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)

    assert TUNE.summary.split()[0] in done.stdout
    assert done.stdout.splitlines()[-1] == "False False"
