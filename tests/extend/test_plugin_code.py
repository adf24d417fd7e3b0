"""Whatever code of a plugin does, the command ends with one line that names its distribution."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.extend.import_check import import_cost
from ptycho_cli.plugin_code import PluginFaultError, own_code, plugin_code

MakePlugin = Callable[..., Path]
PLUGIN = """
import os
import time

from pydantic import Field, field_validator, model_validator

from ptycho_cli.extend import Options, Schedule, SchedulerEntry, closed_form, hookimpl

ptycho_plugin_api = 1


class Stop(BaseException):
    pass


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Odd:
    def __str__(self):
        LIST


def endless():
    while True:
        try:
            time.sleep(60)
        except Exception:
            pass


IMPORT


class MineOptions(Options):
    height: float = Field(1.0, description="Height.")

    @field_validator("height")
    @classmethod
    def check(cls, height):
        if height != 1.0:
            VALIDATE
        return height

    @model_validator(mode="after")
    def check_all(self):
        if self.height != 1.0:
            MODEL
        return self


def build(optimizer, span, options):
    BUILD
    return Schedule(closed_form(optimizer, lambda step: options.height))


@hookimpl
def ptycho_schedulers():
    HOOK
    return [SchedulerEntry("Mine", "A constant.", MineOptions, build)]
"""
PLACES = ("IMPORT", "HOOK", "VALIDATE", "MODEL", "BUILD", "LIST")


def plugin(**code: str) -> str:
    text = PLUGIN
    for place in PLACES:
        text = text.replace(place, code.get(place.lower(), "pass"))
    return text


FAULTS = {
    "raise Stop('halt')": "Stop: halt",
    "raise Unprintable": "Unprintable",
    "raise SystemExit(7)": "SystemExit: 7",
    "os._exit(7)": "it called os._exit(7)",
    "endless()": "it did not end within 1 s ($PTYCHO_PLUGIN_TIME_LIMIT sets another limit)",
    "print(1 / 0)": "ZeroDivisionError: division by zero",
}


@pytest.fixture(autouse=True)
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTYCHO_PLUGIN_TIME_LIMIT", "1")


@pytest.mark.parametrize("code", FAULTS)
@pytest.mark.parametrize(("place", "action"), [("import", "importing it"), ("hook", "its hook 'ptycho_schedulers'")])
def test_a_plugin_that_cannot_be_loaded_is_left_out_with_one_line(
    make_plugin: MakePlugin, capsys: pytest.CaptureFixture[str], code: str, place: str, action: str
) -> None:
    make_plugin("ptycho-mine", plugin(**{place: code}), version="2.5")

    assert main(["schedulers", "list", "--json"]) == 0

    out, err = capsys.readouterr()
    assert err == f"warning: plugin ptycho-mine 2.5 (mine) was left out: {action} failed: {FAULTS[code]}.\n"
    assert {entry["distribution"] for entry in json.loads(out)} == {"ptycho-cli"}


@pytest.mark.parametrize("code", FAULTS)
@pytest.mark.parametrize("place", ["validate", "model"])
def test_a_validator_that_fails_is_a_problem_of_its_option(
    make_plugin: MakePlugin, capsys: pytest.CaptureFixture[str], code: str, place: str
) -> None:
    make_plugin("ptycho-mine", plugin(**{place: code}), version="2.5")

    assert main(["inspect-config", "--scheduler", "Mine", "--scheduler-option", "height=2", "--quiet"]) == 2

    err = capsys.readouterr().err
    assert f"cannot be checked: a validator of ptycho-mine 2.5 failed: {FAULTS[code]}." in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("code", [code for code in FAULTS if "Unprintable" not in code])
def test_a_scheduler_that_cannot_be_built_is_named(
    make_plugin: MakePlugin, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    make_plugin("ptycho-mine", plugin(build=code), version="2.5")

    assert main(["schedulers", "show", "Mine", "--json"]) == 2

    out, err = capsys.readouterr()
    assert err.startswith(f"error: scheduler 'Mine' (ptycho-mine 2.5) failed in build: {FAULTS[code]}.\nhint: ")
    assert (out, err.count("\n")) == ("", 2)


@pytest.mark.parametrize("code", ["raise Stop('halt')", "return 1 / 0"])
def test_what_nobody_expected_is_attributed_to_the_plugin_on_the_stack(
    make_plugin: MakePlugin, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    """A value that cannot be shown, in a table."""
    odd = (
        plugin(list=code).replace("height: float = Field(1.0", "height: object = Field(Odd()").replace("!= 1.0", "== 7")
    )
    make_plugin("ptycho-mine", odd, version="2.5")

    assert main(["schedulers", "list"]) == 2

    err = capsys.readouterr().err
    assert err.startswith("error: plugin ptycho-mine 2.5 failed at ptycho_mine.py:23: ")
    assert "hint: Leave it out with --no-plugin ptycho-mine" in err
    assert err.count("\n") == 2


def test_json_stands_alone_on_standard_output(make_plugin: MakePlugin) -> None:
    """Whatever a plugin prints, also by a child process, goes to standard error."""
    path = make_plugin("ptycho-mine", plugin(validate="print('printed'); os.system('echo echoed')"))
    line = ["inspect-config", "--json", "--scheduler", "Mine", "--scheduler-option", "height=2"]
    environment = {**os.environ, "PYTHONPATH": str(path.parent), "PTYCHO_PLUGIN_TIME_LIMIT": "60"}

    done = subprocess.run(
        [sys.executable, "-m", "ptycho_cli", *line], capture_output=True, text=True, check=True, env=environment
    )

    assert json.loads(done.stdout)["config"]["scheduler"]["options"] == {"height": 2.0}
    assert {"printed", "echoed"} <= set(done.stderr.split())


def test_plugins_check_names_a_slow_import_and_what_takes_the_time(
    make_plugin: MakePlugin, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PTYCHO_PLUGIN_TIME_LIMIT")
    path = make_plugin("ptycho-mine", f"import slow_part\n{plugin()}", version="2.5")
    path.with_name("slow_part.py").write_text("import time\ntime.sleep(0.4)\n")

    assert main(["plugins", "check"]) == 2

    line = capsys.readouterr().out
    assert line.startswith("ptycho-mine 2.5 (mine): its import takes 0.")
    assert line.endswith("s, mostly for slow_part, which slows every command. Import inside functions.\n")
    sys.modules.pop("slow_part")


def test_a_module_of_the_program_is_quick_to_import() -> None:
    assert import_cost("ptycho_cli.extend.closed_form").problems() == []


def test_time_in_the_programs_own_code_does_not_count() -> None:
    """A callback may reconstruct the scan, which takes as long as it takes."""

    def callback(then_s: float) -> None:
        with plugin_code():
            with own_code():
                time.sleep(1.1)
            time.sleep(then_s)

    callback(0.0)
    with pytest.raises(PluginFaultError, match=r"did not end within 1 s"):
        callback(60.0)


def test_child_processes_may_leave_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """multiprocessing ends a forked process with os._exit."""
    monkeypatch.setenv("PTYCHO_PLUGIN_TIME_LIMIT", "60")
    with plugin_code():
        if (child := os.fork()) == 0:
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3


def test_outside_the_main_thread_code_of_plugins_runs_without_a_limit() -> None:
    seen: list[str] = []

    def run() -> None:
        with plugin_code(0.01):
            threading.Event().wait(0.05)
            seen.append("done")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == ["done"]


def test_the_working_directory_is_the_same_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with plugin_code():
        os.chdir("/")

    assert Path.cwd() == tmp_path


def test_a_keyboard_interrupt_of_a_plugin_is_its_fault_and_that_of_a_user_is_not() -> None:
    def interrupted() -> None:
        with plugin_code():
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        with pytest.raises(PluginFaultError, match="KeyboardInterrupt"):
            interrupted()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        signal.signal(signal.SIGINT, previous)
