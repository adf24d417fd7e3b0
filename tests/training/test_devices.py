"""Several devices: two processes train like one with batches twice as large, only rank 0 prints, all stop together."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import ptycho_cli
from ptycho_cli.assembly.build import build
from ptycho_cli.assembly.device import oversubscription, refuse_too_many_devices, torch_device
from ptycho_cli.assembly.group_loaders import build_groups, build_loaders
from ptycho_cli.cli.app import main
from ptycho_cli.cli.local_ranks import other_ranks
from ptycho_cli.config.schema import Config, ExecutionSettings
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan
from ptycho_cli.errors import ConfigError, TrainingError
from ptycho_cli.networks.entries import UNROLLED, UnrolledOptions
from ptycho_cli.training.distributed import ProcessInfo, first_host, process_info

# Five groups: with two ranks and two in a window, the last one has one group, and rank 1 a surplus one.
SMALL = ("--n-groups", "5", "--group-size", "6", "--network-option", "stages=1", "--network-option", "subsets=1")
VALIDATION = ("--set", "data.validation_fraction=0.3")  # several groups, so that each rank has some
QUICK = (
    "--network-option",
    "width=4",
    "--set",
    "physics.probe_warmup=4",
    *VALIDATION,
    "--accelerator",
    "cpu",
    "--no-report",
)
DOUBLE = ("--precision", "64-true")


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("devices") / "scan.h5"
    write_scan(path, simulate(n_frames=24, n_pixels=16, photons=1e5, seed=1))
    return path


def arguments(scan: Path, folder: Path, *more: str) -> list[str]:
    return ["train", str(scan), "-o", str(folder), *SMALL, *QUICK, *DOUBLE, *more]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def same_training(one: Path, two: Path) -> None:
    """Compare weights to 1e-6, and metrics up to rounding, with one row for each optimizer step."""
    states = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in (one, two)]
    for name, expected in states[0].items():
        torch.testing.assert_close(states[1][name], expected, rtol=1e-6, atol=1e-12)
    assert [int(row["step"]) for row in rows(two)] == list(range(1, len(rows(one)) + 1))
    for row, expected in zip(rows(two), rows(one), strict=True):
        for key, value in expected.items():
            assert bool(row[key]) == bool(value)
            assert float(row[key] or 0) == pytest.approx(float(value or 0), rel=1e-9)


@pytest.mark.long
def test_interrupted_on_two_devices_and_resumed_by_torchrun_is_one_device_with_twice_the_batch(
    scan: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """``--devices 2``, Ctrl-C, then ``--resume`` in two processes of a launcher; and a run with accumulation 1."""
    flags = ("--epochs", "60", "--scheduler", "Exponential")
    one, two, each = tmp_path / "one", tmp_path / "two", tmp_path / "each"
    interrupted = [*arguments(scan, two, "--accumulate-grad-batches", "2", "--devices", "2", "--quiet", *flags)]
    command = subprocess.Popen(
        [sys.executable, "-m", "ptycho_cli", *interrupted], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _wait_for(lambda: '"total_steps": 120' in _text(two / "run.json"), command)
    command.send_signal(signal.SIGINT)  # to rank 0 alone, which stops the other
    output, errors = command.communicate(timeout=120)
    assert command.returncode == 130, errors
    assert output == ""
    assert errors.splitlines()[0] == "Stopping after this step; press Ctrl-C again to quit at once."
    assert errors.splitlines()[-1] == f"Resume it with: ptycho train --resume {two}"
    done = int(torch.load(two / "checkpoints" / "last.ckpt", weights_only=True)["ptycho"]["applied_steps"])
    assert 0 < done < 120

    short = ("--quiet", "--devices", "2", "--epochs", "2")
    lines_of_rank_0 = _on_two_ranks(
        ["train", "--resume", str(two), "--quiet"],
        arguments(scan, each, *short),
        broken=arguments(scan, tmp_path / "broken", *short),
    )
    errors_of_rank_0 = [line for line in lines_of_rank_0 if line.startswith("error: ")]
    assert errors_of_rank_0 == ["error: optimizer step 1 of 6: the loss is nan, expected a finite number."]
    assert sum("does not explain the frames" in line for line in lines_of_rank_0) <= 2  # once for each training

    assert main(arguments(scan, one, "--accumulate-grad-batches", "2", "--batch-size", "2", "--quiet", *flags)) == 0
    same_training(one, two)
    assert main(arguments(scan, tmp_path / "large", "--batch-size", "2", "--quiet", "--epochs", "2")) == 0
    same_training(tmp_path / "large", each)
    effective = json.loads((each / "run.json").read_text())["effective"]
    assert (effective["devices"], effective["world_size"], effective["effective_batch"]) == (2, 2, 2)
    assert effective["steps_per_epoch"] == 3
    assert not any(path.name.endswith(".part") for path in tmp_path.rglob("*"))


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _wait_for(there: Callable[[], bool], command: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not there() and time.monotonic() < end and command.poll() is None:
        time.sleep(0.01)
    assert there(), command.communicate()


# A third training, in which the loss is NaN on rank 1 alone.
BREAK = """
if os.environ["RANK"] == "1":
    Objective._misfit = lambda self, counts, rate, weight: rate * float("nan")
"""


def _on_two_ranks(*commands: list[str], broken: list[str]) -> list[str]:
    """Run each command in two processes, with the variables that torchrun sets; returns the lines printed by rank 0."""
    code = "import os\nfrom ptycho_cli.assembly.objective import Objective\nfrom ptycho_cli.cli.app import main\n"
    code += f"codes = [main(arguments) for arguments in {commands!r}]{BREAK}print([*codes, main({broken!r})])\n"
    code += "import torch\nassert not torch.distributed.is_initialized()"  # its threads could kill the process
    with other_ranks(ProcessInfo(world_size=2, launched=False), 1, ()) as process:
        shared = {
            "WORLD_SIZE": "2",
            "MASTER_ADDR": process.main_address,
            "MASTER_PORT": str(process.main_port),
            "GROUP_RANK": "0",
        }
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    printed = [rank.communicate(timeout=240)[0].splitlines() for rank in ranks]
    assert printed[1] == [f"{[*(0 for _ in commands), 3]}"], printed
    assert printed[0][-1] == printed[1][0]
    return printed[0][:-1]


def test_a_surplus_group_adds_no_loss_and_no_gradient(scan: Path) -> None:
    config = Config.model_validate(
        {
            "data": {"group_size": 6},
            "model": {"options": UnrolledOptions(stages=1, subsets=1, width=4)},
            "physics": {"probe_warmup": 0},
            "training": {"n_groups": 5},
        }
    )
    read = read_scan(scan)
    objective = build(config, (read,), network=UNROLLED).objective
    groups = build_groups(config.data, config.training, (read,), (), withheld=0.0, dtype=torch.float32)
    training, validation = build_loaders(config.training, groups, workers=0)
    assert validation is not None
    for loader in (training, validation):
        loader.share(1, 2)
        surplus = list(loader)[-1]  # of 5 groups, and of 1
        assert not surplus.scored.any()
        losses = objective(surplus, None)
        assert losses.tolist() == [0.0]
        losses.sum().backward()
        assert all(not parameter.grad.any() for parameter in objective.parameters())
        # a batch of a real group and a surplus one is the real group
        real = next(iter(loader)) if loader is training else replace(surplus, scored=~surplus.scored)
        both = replace(real, **{f: torch.cat([getattr(real, f), getattr(surplus, f)]) for f in surplus.__slots__})
        torch.testing.assert_close(objective(both, None)[0], objective(real, None)[0])


TORCHRUN = {"RANK": "3", "LOCAL_RANK": "1", "GROUP_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "a"}
SRUN = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "0", "SLURM_NODEID": "1"}


def test_the_rank_of_a_process_is_that_of_its_launcher() -> None:
    four = ExecutionSettings(devices=2, num_nodes=2)

    assert process_info(four, {**TORCHRUN, "MASTER_PORT": "9"}) == ProcessInfo(
        3, 4, 1, 1, main_address="a", main_port=9
    )
    srun = {**SRUN, "SLURM_STEP_NODELIST": "gpu[07-09],login", "SLURM_JOB_ID": "1234567"}
    assert process_info(four, srun) == ProcessInfo(2, 4, 0, 1, main_address="gpu07", main_port=15000 + 4567)
    by_hand = {"NODE_RANK": "1", "MASTER_ADDR": "b", "MASTER_PORT": "8"}
    assert process_info(four, by_hand) == ProcessInfo(2, 4, 0, 1, launched=False, main_address="b", main_port=8)
    assert process_info(ExecutionSettings(devices=2), {}) == ProcessInfo(0, 2, launched=False)
    # separate trainings in one cluster job stay separate, whatever their task numbers
    assert process_info(ExecutionSettings(), {**TORCHRUN, **srun}) == ProcessInfo()


@pytest.mark.parametrize(
    ("hosts", "first"), [("n1", "n1"), ("n[003-7,9],m", "n003"), ("a,b[1-2]", "a"), ("x[1,2]-ib", "x1-ib")]
)
def test_rank_0_is_on_the_first_host(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({**TORCHRUN, "MASTER_PORT": "9"}, "torchrun started 4 processes, but .* is 2"),
        (SRUN, "srun started 4 processes, but .* is 2"),
        ({"RANK": "0"}, r"\$WORLD_SIZE is not set"),
        ({"RANK": "x", **dict.fromkeys(("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"), "2")}, r"\$RANK is 'x'"),
    ],
)
def test_another_number_of_processes_than_devices_is_refused(environment: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        process_info(ExecutionSettings(devices=2), environment)


def test_several_nodes_without_the_address_of_rank_0_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\$NODE_RANK is not set"):
        process_info(ExecutionSettings(num_nodes=2), {})
    with pytest.raises(ConfigError, match=r"MASTER_ADDR and .*MASTER_PORT not set"):
        process_info(ExecutionSettings(num_nodes=2), {"NODE_RANK": "0"})


def test_missing_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)

    with pytest.raises(ConfigError, match=r"execution.devices is 4, but torch finds 3 here of the kind gpu"):
        torch_device(ExecutionSettings(accelerator="gpu", devices=4))


def test_more_workers_than_cores_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)

    assert oversubscription(ExecutionSettings(accelerator="cpu", num_workers=2)) == []
    assert oversubscription(ExecutionSettings(accelerator="cpu", num_workers=3)) == [
        "execution.num_workers is 3, but there are 2 cores: the processes share them."
    ]


@pytest.mark.parametrize(("cores", "most"), [(1, 2), (2, 2), (8, 8)])
def test_more_devices_than_cores_are_refused_on_a_cpu(cores: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)

    refuse_too_many_devices(ExecutionSettings(accelerator="cpu", devices=most))
    with pytest.raises(ConfigError, match=f"devices is {most + 1}, but this machine has {cores} CPU cores"):
        refuse_too_many_devices(ExecutionSettings(accelerator="cpu", devices=most + 1))


def test_too_many_devices_are_refused_before_processes_start(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("ptycho_cli.cli.local_ranks._start", None)

    assert main(arguments(scan, tmp_path / "run", "--devices", "64")) == 2

    assert "error: execution.devices is 64, but this machine has 2 CPU cores" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_python_caller_learns_how_to_train_on_several_devices(scan: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs one process per device") as caught:
        ptycho_cli.train(scan, output_dir=tmp_path / "run", devices=2)

    assert "ptycho train" in (caught.value.hint or "")
    assert not (tmp_path / "run").exists()


def test_the_error_names_the_rank_that_failed_first() -> None:
    """Its end breaks the connection of rank 0, whose own error does not help."""
    with pytest.raises(TrainingError, match=r"rank 1: .*nowhere.h5: no such file"):  # noqa: SIM117
        with other_ranks(
            ProcessInfo(world_size=2, launched=False), 2, ["train", "nowhere.h5", "-o", "x", "--devices", "2"]
        ):
            raise RuntimeError("Connection closed by peer")


def test_rank_0_ends_when_another_rank_is_gone() -> None:
    """No exception can reach code inside torch, so the whole program ends."""
    code = (
        "import time\nfrom ptycho_cli.cli import local_ranks as local\n"
        "from ptycho_cli.training.distributed import ProcessInfo\n"
        "local.GRACE_S = 0\n"
        "with local.other_ranks(ProcessInfo(world_size=2, launched=False), 2, ['train', '--zzzzzz']): time.sleep(60)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[0] == "error: rank 1: No such option: --zzzzzz."


def test_another_rank_ends_with_rank_0() -> None:
    """If rank 0 is killed, the pipe to the others closes; a rank that crashes would end with a message."""
    code = (
        "import threading, time\nfrom ptycho_cli.cli import local_ranks\n"
        "threading.Thread(target=local_ranks._end_with_rank_0, daemon=True).start()\n"
        "print('computing', flush=True); time.sleep(60)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    other = subprocess.Popen([sys.executable, "-c", code], text=True, **pipes)
    assert other.stdout is not None
    assert other.stdout.readline() == "computing\n"
    with pytest.raises(subprocess.TimeoutExpired):
        other.wait(timeout=0.5)

    errors = other.communicate(timeout=30)[1]  # closes its standard input

    assert (other.returncode, errors) == (1, "")
