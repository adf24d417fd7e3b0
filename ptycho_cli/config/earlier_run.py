"""Settings of an earlier run: what a command takes over, what it may change, and how two runs differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ptycho_cli.config.keys import CALLBACKS_PREFIX, FINDINGS_PREFIX, choice_of, groups
from ptycho_cli.config.provenance import Decision, Layer, Problem, Resolved, Setting, Source
from ptycho_cli.config.values import jsonable

# Settings of the training alone. `infer` must not need them: plugins of a scheduler or a callback may be missing.
_OF_TRAINING = ("optimizer.", "scheduler.", "callbacks.", "training.", "checkpoint.")
# The learning-rate schedule: where it differs from the run's, a resumed run asks which of the two to follow.
SCHEDULE_KEYS = ("optimizer.", "scheduler.", "training.epochs")
# A resumed run may change these; when data files are read, their bytes are compared with those of the run.
_FREE_ON_RESUME = (
    *("data.paths", "data.validation_paths", "training.output_dir", "training.gradient_clip_val"),
    *("training.report", "training.compare_untrained", "training.stop"),
    *("data.memory_budget_gib", "callbacks.", "execution.", "checkpoint.", "inference.", "pictures."),
)
_OF_ONE_RUN = (
    *("data.paths", "data.validation_paths", "data.simulate", "data.max_frames", "data.exclude_frames"),
    *("data.scan_shape", "data.memory_budget_gib", "execution.", "inference.", "pictures.", *_OF_TRAINING),
)

# Settings of processes, loaders and logs, which only a training has.
_ONE_NODE = (
    *("execution.num_nodes", "execution.num_workers"),
    *("execution.deterministic", "execution.logger"),
    *("execution.live", "execution.picture_every"),
)
_NO_DEVICES = ("execution.devices", *_ONE_NODE)

INIT_FROM = "init-from"
# Commands that train, for which all settings have an effect.
TRAINING = ("train", INIT_FROM)


class Use(NamedTuple):
    """Use of an earlier run by a command. Each entry is a key, or a group such as ``model.``.

    Attributes:
        left_out: Keys that are not taken over.
        kept: Keys that are taken over all the same.
        fixed: Keys that cannot be changed; None: all but ``free``.
        free: Keys that can be changed.
        ignored: Keys without effect in this command; they may stand in a settings file, but are refused as flags.
        when: The command in messages, after "has no effect when".
    """

    left_out: tuple[str, ...]
    fixed: tuple[str, ...] | None = None
    free: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    when: str = "a trained run is used"
    kept: tuple[str, ...] = ()

    def takes_over(self, key: str) -> bool:
        """True if a run's value of a key is taken over."""
        return key in self.kept or not key.startswith(self.left_out)

    def fixes(self, key: str) -> bool:
        """True if the run's value of a key cannot be changed."""
        if self.fixed is not None:
            return key.startswith(self.fixed)
        return not key.startswith((*self.free, *self.left_out))


USES = {
    "infer": Use(
        left_out=_OF_ONE_RUN,
        kept=("training.seed",),  # decides which frames the training held out
        fixed=("model.", "physics.", "training.seed"),
        ignored=(
            *("data.validation_paths", "data.validation_fraction", "data.group_size", "data.simulate", "loss."),
            *_OF_TRAINING,
            *_ONE_NODE,
        ),
    ),
    # `ptycho reconstruct` uses no earlier run, and trains nothing.
    "reconstruct": Use(
        left_out=tuple(f"{group}." for group in groups()),
        fixed=(),
        ignored=(
            *("data.validation_paths", "data.group_size", "data.simulate", "loss.", "inference.probe"),
            *("optimizer.", "scheduler.", "callbacks.", "checkpoint."),
            *("training.output_dir", "training.epochs", "training.batch_size", "training.n_groups"),
            *("training.accumulate_grad_batches", "training.gradient_clip_val"),
            *_NO_DEVICES,
        ),
        when="nothing is trained",
    ),
    # `ptycho data` reads a scan, and uses no earlier run.
    "data": Use(
        left_out=tuple(f"{group}." for group in groups()),
        fixed=(),
        ignored=(
            *("data.validation_paths", "data.validation_fraction", "data.group_size", "data.simulate"),
            *("model.", "physics.", "loss."),
            *("execution.", "inference.", "pictures.", *_OF_TRAINING),
        ),
        when="a scan is only read",
    ),
    # A new training that starts from the weights of a run; how these were trained does not matter for it.
    INIT_FROM: Use(left_out=_OF_ONE_RUN, fixed=("model.",)),
    "train": Use(left_out=(), free=(*_FREE_ON_RESUME, *SCHEDULE_KEYS)),
}


def flatten(config: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Dotted keys and values of a nested config, with callbacks and options of plugins."""
    for group, fields in config.items():
        if group == CALLBACKS_PREFIX.rstrip("."):
            for name, options in fields.items():
                yield CALLBACKS_PREFIX + name, True
                yield from ((f"{CALLBACKS_PREFIX}{name}.{option}", value) for option, value in options.items())
        elif not isinstance(fields, Mapping):
            yield group, fields
        else:
            for field, value in fields.items():
                has_options = choice_of(f"{group}.{field}.") is not None or f"{group}.{field}." == FINDINGS_PREFIX
                if has_options and isinstance(value, Mapping):
                    yield from ((f"{group}.{field}.{option}", item) for option, item in value.items())
                else:
                    yield f"{group}.{field}", value


def config_layer(
    config: Mapping[str, Any],
    origin: str,
    source: Source = Source.CHECKPOINT,
    *,
    takes_over: Callable[[str], bool] = lambda key: True,
) -> Layer:
    """The layer of a nested config, such as the one in ``run.json``.

    Args:
        config: Nested settings, as ``serialize.config_to_json`` writes them.
        origin: Place of all of them, such as ``checkpoint runs/star`` or ``run runs/star``.
        source: Rank of the layer.
        takes_over: Chooses the keys.
    """
    settings = tuple(
        (key, Setting(tuple(value) if isinstance(value, list) else value, source, origin, inherited=True))
        for key, value in flatten(config)
        if takes_over(key)
    )
    return Layer(source, settings)


def checkpoint_layer(config: Mapping[str, Any], name: str, *, command: str = "train") -> Layer:
    """The settings of an earlier run that a command takes over."""
    return config_layer(config, f"checkpoint {name}", takes_over=USES[command].takes_over)


def run_layer(config: Mapping[str, Any], name: str) -> Layer:
    """All settings of an earlier run (``--from-run``) except its folder, with the rank of a run file."""
    return config_layer(config, f"run {name}", Source.RUN_FILE, takes_over=lambda key: key != "training.output_dir")


def schedule_layer(config: Mapping[str, Any]) -> Layer:
    """The learning-rate schedule of an earlier run, which ``--resume-schedule checkpoint`` ranks above all else."""
    layer = config_layer(config, "--resume-schedule checkpoint", Source.COMMAND_LINE)
    kept = tuple(item for item in layer.settings if item[0].startswith(("optimizer.", "scheduler.")))
    return Layer(Source.COMMAND_LINE, kept)


def init_from_layer(record: Mapping[str, Any], name: str) -> Layer:
    """The settings of a training that starts from an earlier run: its network and physics, a tenth of its length.

    Args:
        record: The content of the run's ``run.json``.
        name: Name of the run in messages: its folder.
    """
    layer = checkpoint_layer(record["config"], name, command=INIT_FROM)
    training = record["config"].get("training", {})
    execution = record["config"].get("execution", {})
    sizes = [training.get(part, 1) for part in ("batch_size", "accumulate_grad_batches")]
    sizes += [execution.get(part, 1) for part in ("devices", "num_nodes")]
    if not all(isinstance(size, int) for size in sizes):
        problem = Problem("training.n_groups", f"run {name}", "its run.json is damaged: batches that are no numbers.")
        return replace(layer, problems=(problem,))
    groups = record.get("applied_steps", 0) * math.prod(sizes)
    divisor = 1 if record.get("init_from") else 10  # a run that was fine-tuned itself is short already
    origin = f"as long as {name}" if divisor == 1 else f"a tenth of {name}"
    length = {"training.epochs": 1, "training.n_groups": max(1, -(-groups // divisor))}
    more = tuple((key, Setting(value, Source.CHECKPOINT, origin)) for key, value in length.items())
    return replace(layer, settings=(*layer.settings, *more))


class Side(NamedTuple):
    """The value of a setting in one of two runs, in the types of JSON, and where it comes from."""

    value: Any
    source: str
    origin: str


class Difference(NamedTuple):
    """A setting whose value differs; a side is None if it has no such setting, as an option of another scheduler."""

    key: str
    here: Side | None
    there: Side | None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        sides = {"here": self.here, "there": self.there}
        return {"key": self.key, **{name: None if side is None else side._asdict() for name, side in sides.items()}}


def differences(resolved: Resolved, record: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Compare settings with those of an earlier run, in the order of the schema, with callbacks and plugins' options.

    Args:
        resolved: The settings here.
        record: The content of the run's ``run.json``.
    """
    here = {item.key: _side_of(item) for item in resolved.decisions}
    decisions = {item["key"]: item for item in record.get("decisions", ())}
    there = {key: _side_of_record(value, decisions.get(key, {})) for key, value in flatten(record["config"])}
    order = {group: rank for rank, group in enumerate(groups())}
    keys = sorted(dict.fromkeys((*here, *there)), key=lambda key: order.get(key.partition(".")[0], len(order)))
    found = (Difference(key, here.get(key), there.get(key)) for key in keys)
    return tuple(item for item in found if _value(item.here) != _value(item.there))


def _value(side: Side | None) -> Any:
    return None if side is None else (side.value,)


def _side_of(decision: Decision) -> Side | None:
    winner = decision.winner
    if decision.key.startswith(CALLBACKS_PREFIX) and winner.value is False:  # switched off, as if it were not named
        return None
    return Side(jsonable(winner.value), winner.source.label, winner.origin)


def _side_of_record(value: Any, decision: Mapping[str, Any]) -> Side:
    return Side(value, str(decision.get("source", "")), str(decision.get("origin", "its run.json")))
