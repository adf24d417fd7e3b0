"""Presets: a few settings that belong together, each with when to use it and what it costs.

A preset beats the defaults and loses to everything that is said for one run. The figures are those
of docs/benchmarks.md, with the commands that print them. A scan can ask for the settings of one, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ptycho_cli.config.earlier_run import USES, Use
from ptycho_cli.config.keys import NETWORK
from ptycho_cli.config.nearest import nearest
from ptycho_cli.config.provenance import Layer, Problem, Setting, Source
from ptycho_cli.config.values import show

LOW_DOSE = "low-dose"


class Preset(NamedTuple):
    """Settings under one name.

    Attributes:
        name: What is typed after ``--preset``.
        when: When to use it, one sentence.
        effect: What it costs and brings, measured or argued.
        settings: Keys and values.
    """

    name: str
    when: str
    effect: str
    settings: tuple[tuple[str, Any], ...]


PRESETS: tuple[Preset, ...] = (
    Preset(
        "quick",
        "A first look: is the scan usable, are the positions right?",
        "A quarter of the CPU time on 1024 frames; the star at 1e6 photons reaches 39.9 dB, not 40.0.",
        (("training.epochs", 1),),
    ),
    Preset(
        "quality",
        "The picture to keep, where photons are many: hundreds in a bright pixel.",
        "The rate falls, and 32 iterations of the physics alone sharpen what the network found: the star at 1e6 photons"
        " reaches 40.5 dB, not 40.0, for a tenth more CPU time.",
        (
            ("scheduler.name", "WarmupCosine"),
            ("scheduler.options.min_ratio", 0.05),
            ("inference.polish", 32),
        ),
    ),
    Preset(
        LOW_DOSE,
        "Few photons, below 150 in a bright pixel; such a scan chooses it without being asked.",
        "The physics settles, then a U-Net learns from photons withheld from it: the star at 1e4 photons reaches"
        " 24.6 dB, not 17.8, for three times the CPU time.",
        (
            ("model.name", "refiner"),
            ("data.group_size", 192),
            ("training.n_groups", 100),
            ("training.epochs", 16),
            ("scheduler.name", "WarmupCosine"),
            ("scheduler.options.warmup", "5%"),  # at the full rate from the first step, some seeds never recover
            ("scheduler.options.min_ratio", 0.03),
        ),
    ),
    Preset(
        "large-scan",
        "Thousands of frames.",
        "An epoch sees 64 groups instead of each frame twice, so that training takes no longer than on a small scan."
        " Not measured.",
        (("training.n_groups", 64),),
    ),
    Preset(
        "gpu",
        "A GPU must be used: stop if there is none.",
        "Faster kernels are allowed that repeat results to rounding only, not bit for bit: on an H200, two epochs of"
        " the star took 16.6 s and not 18.7, start-up included.",
        (("execution.accelerator", "gpu"), ("execution.deterministic", False)),
    ),
)


def preset_layer(name: str, origin: str, use: Use = USES["train"]) -> Layer:
    """The settings of a preset.

    Args:
        name: Its name.
        origin: Where it was asked for, for the message if there is none of that name.
        use: What the settings are for; a preset of which nothing has an effect there is refused.
    """
    found = _named(name)
    if found is None:
        names = [preset.name for preset in PRESETS]
        near = nearest(name, names)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(names)}; see `ptycho config presets`."
        return Layer(Source.PRESET, problems=(Problem("--preset", origin, f"there is no preset {show(name)}", hint),))
    if all(key.startswith((*use.ignored, *(use.fixed or ()))) for key, _ in found.settings):
        message = f"the preset {name} has no effect when a trained run is used"
        return Layer(Source.PRESET, problems=(Problem("--preset", origin, message, "Remove it."),))
    return Layer(Source.PRESET, tuple(_settings(found, Source.PRESET, f"preset {found.name}")))


def leaves_it_to_the_scan(layers: Iterable[Layer]) -> bool:
    """Whether nobody says how to train: no layer speaks of the network, and no preset of more than execution."""
    return not any(
        key.startswith(f"{NETWORK.group}.") or (layer.source is Source.PRESET and not key.startswith("execution."))
        for layer in layers
        for key, _ in layer.settings
    )


def scan_layer(name: str, why: str) -> Layer:
    """The settings of a preset that a scan asks for.

    Args:
        name: The preset.
        why: The scan, and what in it asks.
    """
    preset = _named(name)
    assert preset is not None
    return Layer(Source.SCAN, tuple(_settings(preset, Source.SCAN, why)))


def _named(name: str) -> Preset | None:
    return next((preset for preset in PRESETS if preset.name == name.casefold()), None)


def _settings(preset: Preset, source: Source, origin: str) -> Iterator[tuple[str, Setting]]:
    return ((key, Setting(value, source, origin)) for key, value in preset.settings)
