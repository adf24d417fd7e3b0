"""A failing plugin is reported with distribution and version, and everything else works."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ptycho_cli.errors import PluginError
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.extend.specs import SchedulerEntry

MakePlugin = Callable[..., Path]
BUILT_IN = ["Default", "Exponential", "MultiStage", "Adaptive", "WarmupCosine", "ReduceLROnPlateau"]
HEAD = """
from ptycho_cli.extend import CallbackEntry, Options, Schedule, SchedulerEntry, closed_form, hookimpl

ptycho_plugin_api = 1


class MineOptions(Options):
    height: float = 1.0


def build(optimizer, span, options):
    return Schedule(closed_form(optimizer, lambda step: options.height))
"""
ENTRY = 'SchedulerEntry("Mine", "A constant.", MineOptions, build)'


def altered(old: str, new: str) -> str:
    return ENTRY.replace(old, new)


def named(name: str) -> str:
    return altered('"Mine"', f'"{name}"')


def hook(body: str, name: str = "ptycho_schedulers") -> str:
    return f"{HEAD}\n\n@hookimpl\ndef {name}():\n    {body}\n"


def with_change(old: str, new: str) -> str:
    """A valid plugin with one change."""
    code = hook(f"return [{ENTRY}]")
    assert code.count(old) == 1
    return code.replace(old, new)


BROKEN = {
    "raises at import": ("raise RuntimeError('no licence')", "importing it failed: RuntimeError: no licence"),
    "exits at import": ("import sys; sys.exit(7)", "importing it failed: SystemExit: 7"),
    "syntax": ("def (:", "importing it failed: SyntaxError"),
    "raises in the hook": (hook("raise KeyError('gamma')"), "its hook 'ptycho_schedulers' failed: KeyError: 'gamma'"),
    "raises while the hook is drained": (
        hook(f"yield {ENTRY}; raise OSError('disc')"),
        "its hook 'ptycho_schedulers' failed: OSError: disc",
    ),
    "returns nothing": (hook("pass"), "its hook 'ptycho_schedulers' returned NoneType None, expected a list of"),
    "returns text": (hook("return 'Mine'"), "returned str 'Mine', expected a list of SchedulerEntry"),
    "offers a class": (hook("return [MineOptions]"), "expected a SchedulerEntry"),
    "offers a scheduler as a callback": (hook(f"return [{ENTRY}]", "ptycho_callbacks"), "expected a CallbackEntry"),
    "offers a name twice": (
        hook(f"return [{ENTRY}, {named('mine')}]"),
        "its hook 'ptycho_schedulers' offers 'mine' twice",
    ),
    "offers a name with a dot": (hook(f"return [{named('a.b')}]"), "it offers the name 'a.b'"),
    "no summary": (hook(f"return [{altered('A constant.', '')}]"), "Mine: its summary must be one line of text"),
    "build is no function": (hook(f"return [{altered('build', '3')}]"), "Mine: its 'build' is int 3"),
    "options are a dict": (hook(f"return [{altered('MineOptions', '{}')}]"), "Mine: its options are dict {}"),
    "options are not frozen": (
        with_change("    height: float", "    model_config = {'frozen': False}\n    height: float"),
        "Mine: MineOptions is not frozen",
    ),
    "options accept anything": (
        with_change("    height: float", "    model_config = {'extra': 'allow'}\n    height: float"),
        "Mine: MineOptions is not frozen or accepts unknown names",
    ),
    "an option is a list": (
        with_change("height: float = 1.0", "heights: list[float] = [1.0]"),
        "Mine: option 'heights' of MineOptions is a list, which can be changed",
    ),
    "a default that its bounds refuse": (
        with_change("height: float = 1.0", "height: float = 'tall'"),
        "Mine: the default of option 'height' is refused",
    ),
    "misspelt hook": (hook(f"return [{ENTRY}]", "ptycho_scheduler"), "the unknown hook 'ptycho_scheduler'"),
    "hook with an argument": (
        with_change("ptycho_schedulers()", "ptycho_schedulers(optimizer)"),
        "a hook does not fit its specification",
    ),
    "hook without its mark": (
        with_change("@hookimpl\n", ""),
        "its 'ptycho_schedulers' is not marked as a hook",
    ),
    "raises wherever one looks": (
        "def __getattr__(name):\n    raise RuntimeError(f'do not touch {name}')",
        "loading it failed: RuntimeError: do not touch ptycho_plugin_api",
    ),
    "no hook": (HEAD, "it implements no hook"),
    "no api": (
        with_change("ptycho_plugin_api = 1", ""),
        "it does not state 'ptycho_plugin_api'. Write 'ptycho_plugin_api = 1' in its module.",
    ),
    "newer api": (
        with_change("api = 1", "api = 2"),
        "it was written for plugin API 2, this program has 1. Upgrade ptycho-cli.",
    ),
    "older api": (
        with_change("api = 1", "api = 0"),
        "it was written for plugin API 0, this program has 1. Upgrade the plugin.",
    ),
    "newer api, which import already trips over": (
        "from ptycho_cli.extend import NetworkEntry\nptycho_plugin_api = 2\n",
        "it was written for plugin API 2, this program has 1. Upgrade ptycho-cli.",
    ),
    "api is text": (
        with_change("api = 1", "api = '1'"),
        "its 'ptycho_plugin_api' is '1', expected the whole number 1",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_gets_one_line_with_its_name_and_all_else_works(make_plugin: MakePlugin, fault: str) -> None:
    code, reason = BROKEN[fault]
    make_plugin("ptycho-broken", code, version="3.1", entry_points="broken = ptycho_broken")
    make_plugin("ptycho-sound", offers="Sound")

    catalogue = load_plugins().catalogue()

    assert [entry.name for entry in catalogue.of("scheduler")] == [*BUILT_IN, "Sound"]
    assert catalogue.of("callback") == ()
    (line,) = catalogue.broken
    assert line.startswith("plugin ptycho-broken 3.1 (broken) was left out: ")
    assert reason in line
    assert "\n" not in line


def hint_for(name: str, *blocked: str) -> str:
    with pytest.raises(PluginError) as caught:
        load_plugins(blocked).find(SchedulerEntry, name)
    assert caught.value.message == f"there is no scheduler '{name}'."
    return str(caught.value.hint)


def test_an_unknown_scheduler_lists_the_plugins_that_were_left_out(make_plugin: MakePlugin) -> None:
    make_plugin("ptycho-broken", "raise RuntimeError('no licence')")

    left_out = "Plugin ptycho-broken 1.0 (mine) was left out: importing it failed: RuntimeError: no licence."
    listed = f"There are {', '.join(BUILT_IN)} (from ptycho-cli)."
    assert hint_for("Mine") == f"{left_out} {listed}"
    assert hint_for("Exponentail") == f"Did you mean Exponential (from ptycho-cli)? {left_out}"
    assert hint_for("Mine", "ptycho-broken") == f"Blocked: ptycho-broken 1.0 (mine). {listed}"


def test_two_plugins_with_one_name_are_both_named_and_a_qualified_name_chooses(make_plugin: MakePlugin) -> None:
    make_plugin("ptycho-one", version="1.2")
    make_plugin("ptycho-two", version="0.9")
    host = load_plugins()

    with pytest.raises(PluginError, match=r"ptycho-one 1\.2 and ptycho-two 0\.9 both offer the scheduler Mine"):
        host.find(SchedulerEntry, "mine")

    assert host.find(SchedulerEntry, "ptycho-two:Mine").entry.options.__module__ == "ptycho_two"
    assert host.find(SchedulerEntry, "Ptycho-One:mine").info.version == "1.2"
    assert host.catalogue().broken == ()


def test_two_entry_points_of_one_name_are_both_loaded(make_plugin: MakePlugin) -> None:
    """pluggy alone would keep the first and silently ignore the second."""
    make_plugin("ptycho-one", offers="First", entry_points="same = ptycho_one")
    make_plugin("ptycho-two", offers="Second", entry_points="same = ptycho_two")

    names = [entry.name for entry in load_plugins().catalogue().of("scheduler")]

    assert names == [*BUILT_IN, "First", "Second"]


def test_a_module_that_two_entry_points_load_is_taken_once_and_the_second_is_named(make_plugin: MakePlugin) -> None:
    make_plugin("ptycho-one", entry_points="a = ptycho_one\nb = ptycho_one")

    host = load_plugins()

    assert [record.status for record in host.plugins] == ["loaded", "loaded", "failed"]
    assert host.plugins[2].error == "another entry point has already loaded ptycho_one"
    assert host.find(SchedulerEntry, "Mine").entry.name == "Mine"


def test_a_plugin_replaces_a_built_in_only_on_request(make_plugin: MakePlugin) -> None:
    make_plugin("ptycho-mine", offers="Exponential")
    host = load_plugins()

    assert host.find(SchedulerEntry, "Exponential").info.distribution == "ptycho-cli"
    assert host.find(SchedulerEntry, "ptycho-mine:exponential").entry.options.__module__ == "ptycho_mine"


@pytest.mark.parametrize("typed", ["ptycho-mine", "Ptycho_Mine", "handle"])
def test_a_blocked_plugin_is_listed_but_never_imported(make_plugin: MakePlugin, typed: str) -> None:
    make_plugin("ptycho-mine", "raise RuntimeError('imported')", entry_points="handle = ptycho_mine")

    host = load_plugins([typed])

    assert "ptycho_mine" not in sys.modules
    assert [(record.distribution, record.status) for record in host.plugins[1:]] == [("ptycho-mine", "blocked")]
    assert host.catalogue().broken == ()
    assert host.warnings == ()


def test_the_environment_blocks_all_but_the_built_ins(make_plugin: MakePlugin) -> None:
    make_plugin("ptycho-mine")

    host = load_plugins(environment={"PTYCHO_NO_PLUGINS": "1"})

    assert "ptycho_mine" not in sys.modules
    assert [entry.name for entry in host.catalogue().of("scheduler")] == BUILT_IN
    assert load_plugins(environment={"PTYCHO_NO_PLUGINS": "0"}).find(SchedulerEntry, "Mine").entry.name == "Mine"


def test_blocking_an_unknown_plugin_warns_and_blocking_the_built_ins_is_refused() -> None:
    assert load_plugins(["ptycho-wdd"]).warnings == ("--no-plugin ptycho-wdd: no installed plugin has that name.",)
    with pytest.raises(PluginError, match="built-ins cannot be blocked"):
        load_plugins(["ptycho_cli"])
    with pytest.raises(PluginError, match=r"\$PTYCHO_NO_PLUGINS is 'maybe', expected 1 or 0"):
        load_plugins(environment={"PTYCHO_NO_PLUGINS": "maybe"})


def test_the_output_of_a_plugin_does_not_reach_standard_output(
    make_plugin: MakePlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise ``ptycho inspect-config --json | jq`` would fail."""
    make_plugin("ptycho-loud", "print('hello')\n" + hook(f"print('again'); return [{ENTRY}]"))

    assert load_plugins().find(SchedulerEntry, "Mine").entry.name == "Mine"

    assert capsys.readouterr() == ("", "hello\nagain\n")


def test_an_entry_point_may_name_an_object_in_a_module(make_plugin: MakePlugin) -> None:
    method = f"    @hookimpl\n    def ptycho_schedulers(self):\n        return [{ENTRY}]\n"
    code = f"{HEAD}\n\nclass Plugin:\n{method}\n\nplugin = Plugin()\n"
    make_plugin("ptycho-mine", code, entry_points="mine = ptycho_mine:plugin\nlost = ptycho_mine:absent")

    host = load_plugins()

    assert host.find(SchedulerEntry, "Mine").entry.summary == "A constant."
    assert host.plugins[2].line == "plugin ptycho-mine 1.0 (lost) was left out: ptycho_mine has no 'absent'."


def test_invalid_entry_point_metadata_is_attributed_to_the_plugin(make_plugin: MakePlugin) -> None:
    make_plugin("ptycho-mine", entry_points="mine: ptycho mine")

    (line,) = load_plugins().catalogue().broken

    assert line == (
        "plugin ptycho-mine 1.0 (mine: ptycho mine) was left out:"
        " its entry point 'mine: ptycho mine' is not of the form 'name = module'."
    )


def test_a_record_turns_into_plain_json_values(make_plugin: MakePlugin) -> None:
    make_plugin("ptycho-mine")

    assert load_plugins().plugins[1].as_json() == {
        "distribution": "ptycho-mine",
        "version": "1.0",
        "entry_point": "mine",
        "value": "ptycho_mine",
        "status": "loaded",
        "schedulers": ["Mine"],
        "callbacks": [],
        "networks": [],
        "readers": [],
        "commands": [],
        "weights": [],
        "error": None,
        "hint": None,
    }
