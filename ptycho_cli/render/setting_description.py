"""Description of one setting in lines, for ``config explain`` and ``inspect-config --explain``."""

from __future__ import annotations

from ptycho_cli.config.catalogue import Catalogue, EntryInfo, entry_named
from ptycho_cli.config.combinations import NO_EFFECT
from ptycho_cli.config.command_line import OLD_NAMES
from ptycho_cli.config.earlier_run import USES
from ptycho_cli.config.keys import CALLBACKS_PREFIX, CHOICES, Key, choice_of, env_name, find_key
from ptycho_cli.config.presets import PRESETS
from ptycho_cli.config.values import option_expects, show
from ptycho_cli.render.settings_table import with_unit


def describe(name: str, catalogue: Catalogue) -> list[str]:
    """Describe a core setting or an option of a plugin, in lines; none if there is none of that name."""
    known = find_key(name)
    if known is not None:
        return _describe_key(known)
    return [line for entry in entries_with_option(name, catalogue) for line in _describe_option(name, entry)]


def entries_with_option(name: str, catalogue: Catalogue) -> list[EntryInfo]:
    """Find the schedulers, networks or callback that have the option ``scheduler.options.gamma`` or the like."""
    choice, option = choice_of(name), name.rpartition(".")[2]
    if choice is not None:
        return [entry for entry in catalogue.of(choice.kind) if option in entry.options.model_fields]
    callback = name.removeprefix(CALLBACKS_PREFIX).rpartition(".")[0]
    entry = entry_named(catalogue.of("callback"), callback) if name.startswith(CALLBACKS_PREFIX) and callback else None
    return [entry] if entry is not None and option in entry.options.model_fields else []


def _in_a_file(key: Key) -> str:
    """A setting as it stands in a file: ``data: {findings: {pixels-hot: VALUE}}``."""
    text = "VALUE"
    for part in reversed(key.field.split(".")):
        text = f"{{{part}: {text}}}"
    return f"{key.group}: {text}"


def _describe_key(key: Key) -> list[str]:
    flags = ", ".join((*key.flags, *key.negative_flags)) or ("DATA, plain arguments" if key.positional else "none")
    lines = [
        key.help,
        f"Expected:     {key.expects}{f', in {key.unit}' if key.unit else ''}.",
        f"Default:      {with_unit(key.name, key.default)}",
        f"Flag:         {flags}{'; or' if flags != 'none' else ';'} --set {key.name}=VALUE",
        f"Environment:  ${key.env}",
        f"In a file:    {_in_a_file(key)}",
    ]
    old = [item.flag for item in OLD_NAMES if item.key == key.name]
    lines += [f"Old name:     {', '.join(old)}"] if old else []
    sets = [
        f"{item.name} ({show(dict(item.settings)[key.name])})" for item in PRESETS if key.name in dict(item.settings)
    ]
    lines += [f"Presets:      {', '.join(sets)}"] if sets else []
    lines += [f"No effect:    where {item.reason} ({item.cause})" for item in NO_EFFECT if item.key == key.name]
    fixed = [command for command, use in USES.items() if use.fixes(key.name) and use.takes_over(key.name)]
    words = " and ".join(
        {
            "infer": "by the run that infer uses",
            "init-from": "by the run that --init-from starts from",
            "train": "by the run that --resume continues",
        }[c]
        for c in fixed
    )
    return [*lines, f"Fixed:        {words}"] if fixed else lines


def _describe_option(name: str, entry: EntryInfo) -> list[str]:
    option = name.rpartition(".")[2]
    info = entry.options.model_fields[option]
    kind = next((choice for choice in CHOICES if name.startswith(choice.prefix)), None)
    flag = f"--callback-option {name.removeprefix(CALLBACKS_PREFIX)}" if kind is None else f"{kind.flag} {option}"
    default = "none, it must be given" if info.is_required() else show(info.get_default(call_default_factory=True))
    what = "callback" if kind is None else kind.kind
    return [
        f"Option of the {what} {entry.name} ({entry.origin}). {info.description or ''}".rstrip(),
        f"Expected:     {option_expects(info)}.",
        f"Default:      {default}",
        f"Flag:         {flag}=VALUE; or --set {name}=VALUE",
        f"Environment:  ${env_name(name)}",
    ]
