"""The program ``ptycho``: dispatch to its commands, error messages and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ptycho_cli import __version__
from ptycho_cli.cli.commands import COMMANDS, load_command, plugin_commands
from ptycho_cli.cli.typer_command import Group
from ptycho_cli.errors import FullDiskError, PtychoError, TrainingError, is_out_of_memory
from ptycho_cli.installed_plugins import find_installed

INTERRUPTED = 130
BROKEN_PIPE = 1  # as typer says
_OF_PLUGINS = "Commands of plugins"
_EXPECTED = {
    **{"int_parsing": "a whole number", "int_from_float": "a whole number", "float_parsing": "a number"},
    "path_type": "a name in UTF-8",
}


class LazyGroup(Group):
    """Group of all commands, which imports a command only when it is called; those of plugins come last."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name, short_help=summary, help=summary))

    def list_commands(self, ctx: Any) -> list[str]:
        """All commands; no plugin is imported."""
        for name, summary in plugin_commands().items():
            self.add_command(TyperCommand(name, short_help=summary, help=summary, rich_help_panel=_OF_PLUGINS))
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load the command that is called."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and find_installed():
            from ptycho_cli.cli.plugin_subcommands import plugin_command

            if (command := plugin_command(args[0])) is not None:
                return args[0], command, args[1:]
            self.list_commands(ctx)  # adds those of plugins, of which one may be the nearest
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed if name is None else load_command(name), rest


app = typer.Typer(cls=LazyGroup, name="ptycho", no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ptycho {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Reconstruct ptychographic scans with physics-informed networks.

    New here? `ptycho demo` shows everything in two minutes.
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; a mistake of the user becomes a message of one or two lines."""
    arguments = sys.argv[1:] if args is None else list(args)
    if os.environ.get("_PTYCHO_COMPLETE") == "complete_bash":
        from ptycho_cli.cli.bash_words import join_assignments

        join_assignments()
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else ""
    try:
        with _no_pydantic_plugins(), _standard_output(as_json="--json" in arguments):
            command = load_command(name) if name else typer.main.get_command(app)
            code = command.main(arguments, prog_name=f"ptycho {name}".strip(), standalone_mode=False)
        sys.stdout.flush()
    except PtychoError as error:
        from ptycho_cli.render.diagnostics import print_error

        print_error(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BaseException as error:
        # usage errors of typer, whose base class is not public
        if hasattr(error, "format_message"):
            return _print_usage_error(error)
        if not is_out_of_memory(error):
            return _print_unexpected_error(error)
        _print(f"error: out of memory ({(str(error) or type(error).__name__).splitlines()[0]}).")
        _print("hint: Use fewer or smaller frames (data.max_frames), or a machine with more memory.")
        return TrainingError.exit_code
    return code if isinstance(code, int) else 0


def _print_unexpected_error(error: BaseException) -> int:
    """Print an error that a plugin or the system raised, and return the exit code; raise any other."""
    from ptycho_cli.extend.attribution import error_of_a_plugin
    from ptycho_cli.render.diagnostics import print_error

    attributed = error_of_a_plugin(error)
    if attributed is None:
        if isinstance(error, OSError):
            return _print_system_error(error)
        raise error
    print_error(attributed)
    return attributed.exit_code


def _standard_output(*, as_json: bool) -> AbstractContextManager[None]:
    """Keep standard output for the report of a command if it is read by a program."""
    if not as_json:
        return nullcontext()
    from ptycho_cli.cli.report_stream import report_alone

    return report_alone()


@contextmanager
def _no_pydantic_plugins() -> Iterator[None]:
    """Keep pydantic from searching all installed packages for its own plugins, as typer does."""
    name = "PYDANTIC_DISABLE_PLUGINS"
    before = os.environ.get(name)
    os.environ.setdefault(name, "1")
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


def _print_system_error(error: OSError) -> int:
    """Print an error of the system about a file or folder, or about standard output; return the exit code."""
    from ptycho_cli.whole_file import FULL

    if error.errno is None:
        raise error
    if error.filename is None:  # a pipe was closed, or a file that output goes to cannot grow
        _discard_output()
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    what = "standard output or a file" if error.filename is None else os.fsdecode(error.filename)
    _print(f"error: {what}: {error.strerror}.")
    return FullDiskError.exit_code if error.errno in FULL else PtychoError.exit_code


def _print(line: str) -> None:
    """Print a line to standard error."""
    from ptycho_cli.render.console import print_text

    print_text(line, file=sys.stderr)


def _discard_output() -> None:
    """Write what is still printed to nowhere, else Python reports the error once more when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _print_usage_error(error: Any) -> int:
    """Print a usage error of typer, and where to find help; return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return 0
    _print(f"error: {_usage_message(error)}")
    if (ctx := getattr(error, "ctx", None)) is not None:
        _print(f"Try `{ctx.command_path} --help`.")
    return int(error.exit_code)


def _no_such_option(name: str, possibilities: Sequence[str], *, has_set: bool) -> str:
    """Message for an unknown flag, with the setting or the command that has it, or the nearest flag."""
    from ptycho_cli.config.command_line import OLD_NAMES
    from ptycho_cli.config.keys import keys
    from ptycho_cli.config.nearest import did_you_mean, nearest

    field = name.removeprefix("--").replace("-", "_")
    unflagged = {key.field: key.name for key in reversed(keys().values()) if not key.flags}
    if field in unflagged and has_set:
        return f"No such option: {name}. Use --set {unflagged[field]}=VALUE."
    key = next((key for key in keys().values() if name in (*key.flags, *key.negative_flags)), None)
    if key is not None:
        command = "infer" if key.group == "inference" else "train"
        return f"{name} is not an option of this command; it sets {key.name} in `ptycho {command}`."
    old = {name.flag for name in OLD_NAMES}
    near = did_you_mean(name, [flag for flag in possibilities if flag not in old], n=3)
    if 1 <= len(elsewhere := _commands_with(name)) <= 2:  # more commands are no helpful hint
        names = " and ".join(f"`{command}`" for command in elsewhere)
        near = f"{names} {'has' if len(elsewhere) == 1 else 'have'} this option."
    if near is None and has_set and (fields := nearest(field, unflagged)):
        near = f"Did you mean --set {unflagged[fields[0]]}=VALUE?"
    return f"No such option: {name}." + (f" {near}" if near else "")


def _commands_with(flag: str) -> list[str]:
    """Other commands that have an option of this name."""
    found = []
    for name in COMMANDS:
        command = load_command(name)
        parts = {f"ptycho {name} {part}": each for part, each in getattr(command, "commands", {}).items()}
        for path, each in (parts or {f"ptycho {name}": command}).items():
            if any(flag in (*item.opts, *item.secondary_opts) for item in each.params):
                found.append(path)
    return found


def _usage_message(error: Any) -> str:
    if getattr(error, "possibilities", None) is not None and hasattr(error, "option_name"):
        params = [] if error.ctx is None else error.ctx.command.params
        has_set = any("--set" in item.opts for item in params)
        return _no_such_option(error.option_name, error.possibilities, has_set=has_set)
    message = str(error.format_message())
    if message.startswith("Invalid value for ") and error.param is not None:
        where = error.param.get_error_hint().replace("'", "")
        if hasattr(error.__cause__, "errors"):
            return _bad_value(where, error.__cause__.errors()[0])
        message = f"{where}: {error.message}"
    message = message if message.endswith((".", "?")) else f"{message}."
    return message + _setting_of_command(message)


def _setting_of_command(message: str) -> str:
    """A hint on ``ptycho data crop`` and the like: no commands, but settings of every command that reads a scan."""
    from ptycho_cli.config.keys import keys

    _, missing, rest = message.partition("No such command '")
    word = rest.partition("'")[0]
    found = [
        key.name for key in keys().values() if key.group == "data" and word in (key.field, key.field.split("_")[0])
    ]
    return f" `ptycho data convert SCAN -o OUT.h5 --set {found[0]}=VALUE` does that." if missing and found else ""


def _bad_value(where: str, problem: Any) -> str:
    """Message for a value that pydantic refuses."""
    from ptycho_cli.config.keys import bounds_in_words
    from ptycho_cli.config.values import problem_of, show

    found = f"{where} is {show(problem['input'])}"
    words = problem_of(problem)
    if " is not one of " in words:
        return f"{found}, expected one of {words.partition(' is not one of ')[2]}."
    expected = _EXPECTED.get(problem["type"]) or ", ".join(bounds_in_words([SimpleNamespace(**problem.get("ctx", {}))]))
    return f"{found}, expected {expected}." if expected else f"{found}: {words}."
