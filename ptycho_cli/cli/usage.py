"""What typer finds wrong with a command's words, told as this program tells mistakes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

_TYPES = {"int_parsing": "a whole number", "int_from_float": "a whole number", "float_parsing": "a number"}


def print_usage_error(error: Any) -> int:
    """Print what is wrong and where help is; return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 0
    print(f"error: {_usage_message(error)}", file=sys.stderr)
    if (ctx := getattr(error, "ctx", None)) is not None:
        print(f"Try `{ctx.command_path} --help`.", file=sys.stderr)
    return int(error.exit_code)


def _no_such_option(name: str, possibilities: Sequence[str]) -> str:
    """Which command has the flag, or which flag is nearest."""
    from ptycho_cli.config.command_line import OLD_NAMES
    from ptycho_cli.config.keys import keys
    from ptycho_cli.config.suggestions import did_you_mean

    key = next((key for key in keys().values() if name in (*key.flags, *key.negative_flags)), None)
    if key is not None:
        command = "infer" if key.group == "inference" else "train"
        return f"{name} is not an option of this command; it sets {key.name} in `ptycho {command}`."
    old = {name.flag for name in OLD_NAMES}
    near = did_you_mean(name, [flag for flag in possibilities if flag not in old], n=3)
    if 1 <= len(elsewhere := _commands_with(name)) <= 2:  # of one that many have, nobody has mistaken the command
        near = f"{' and '.join(f'`{command}`' for command in elsewhere)} would take it."
    return f"No such option: {name}." + (f" {near}" if near else "")


def _commands_with(flag: str) -> list[str]:
    """Other commands that have an option of this name."""
    from ptycho_cli.cli.app import COMMANDS, load_command

    found = []
    for name in COMMANDS:
        loaded = load_command(name)
        parts = {f"ptycho {name} {part}": each for part, each in getattr(loaded, "commands", {}).items()}
        found += [
            words
            for words, each in (parts or {f"ptycho {name}": loaded}).items()
            if any(flag in (*item.opts, *item.secondary_opts) for item in each.params)
        ]
    return found


def _usage_message(error: Any) -> str:
    if getattr(error, "possibilities", None) is not None and hasattr(error, "option_name"):
        return _no_such_option(error.option_name, error.possibilities)
    message = str(error.format_message())
    if message.startswith("Invalid value for ") and error.param is not None:
        where = error.param.get_error_hint().strip("'")
        if hasattr(error.__cause__, "errors"):
            return _bad_value(where, error.__cause__.errors()[0])
        message = f"{where}: {error.message}"
    return message if message.endswith((".", "?")) else f"{message}."


def _bad_value(where: str, problem: Any) -> str:
    """From pydantic's account of a value."""
    from ptycho_cli.config.keys import bound_words
    from ptycho_cli.config.values import problem_of, show

    found = f"{where} is {show(problem['input'])}"
    words = problem_of(problem)
    if " is not one of " in words:
        return f"{found}, expected one of {words.partition(' is not one of ')[2]}."
    expected = _TYPES.get(problem["type"]) or ", ".join(bound_words([SimpleNamespace(**problem.get("ctx", {}))]))
    return f"{found}, expected {expected}." if expected else f"{found}: {words}."
