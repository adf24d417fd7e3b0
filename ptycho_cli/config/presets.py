"""Presets: settings that belong together, with their purpose and their cost.

A preset overrides the defaults and is overridden by everything that is set for one run. The numbers are from
docs/benchmarks.md, which has the commands that print them. A scan can choose a preset, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
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
        name: Name for ``--preset``.
        when: When to use it.
        effect: Benefit and cost.
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
        "A quarter of the CPU time on 1024 frames. The semi-synthetic star with 1e6 photons per frame reaches a complex"
        " SNR of 39.9 dB instead of 40.0 dB.",
        (("training.epochs", 1),),
    ),
    Preset(
        "quality",
        "The final reconstruction of a scan with many photons: hundreds in a bright pixel.",
        "The learning rate falls, and 32 physics-only iterations sharpen the result of the network. The semi-synthetic"
        " star with 1e6 photons per frame reaches a complex SNR of 40.5 dB instead of 40.0 dB, for a tenth more CPU"
        " time.",
        (
            ("scheduler.name", "WarmupCosine"),
            ("scheduler.options.min_ratio", 0.05),
            ("inference.polish", 32),
        ),
    ),
    Preset(
        LOW_DOSE,
        "Few photons: below 150 in a bright pixel. Such a scan chooses this preset by default.",
        "The physics converges, then a U-Net learns from photons that are withheld from it. The semi-synthetic star"
        " with 1e4 photons per frame reaches a complex SNR of 24.5 dB instead of 17.8 dB, for more CPU time.",
        (
            ("model.name", "refiner"),
            ("data.group_size", 192),
            ("training.n_groups", 100),
            ("training.epochs", 8),
            ("optimizer.learning_rate", 5e-4),  # at higher rates, some seeds forget what the shipped weights know
            ("scheduler.name", "WarmupCosine"),
            ("scheduler.options.warmup", "5%"),  # without it, some seeds never recover from the first steps
            ("scheduler.options.min_ratio", 0.03),
        ),
    ),
    Preset(
        "large-scan",
        "Thousands of frames.",
        "An epoch has 64 groups instead of using each frame twice, so that training takes no longer than on a small"
        " scan. Not measured.",
        (("training.n_groups", 64),),
    ),
    Preset(
        "gpu",
        "A GPU is required: the program stops if there is none.",
        "Faster computation, whose results repeat up to rounding, not bit for bit: on an H200, two epochs of the"
        " semi-synthetic star take 16.6 s instead of 18.7 s, start-up included.",
        (("execution.accelerator", "gpu"), ("execution.deterministic", False)),
    ),
)


def preset_layer(name: str, origin: str, use: Use = USES["train"]) -> Layer:
    """The settings of a preset that have an effect.

    Args:
        name: Its name.
        origin: Place where it is chosen, for messages.
        use: Use of the settings; a preset without any effect there is refused.
    """
    found = _named(name)
    if found is None:
        names = [preset.name for preset in PRESETS]
        near = nearest(name, names)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(names)}; see `ptycho config presets`."
        return Layer(Source.PRESET, problems=(Problem("--preset", origin, f"there is no preset {show(name)}", hint),))
    if all(key.startswith((*use.ignored, *(use.fixed or ()))) for key, _ in found.settings):
        message = f"the preset {name} has no effect when {use.when}"
        return Layer(Source.PRESET, problems=(Problem("--preset", origin, message, "Remove it."),))
    return with_effect(Layer(Source.PRESET, tuple(_settings(found, Source.PRESET, f"preset {found.name}"))), use)


def scan_may_choose_preset(layers: Iterable[Layer]) -> bool:
    """True if no layer sets the network, and no preset sets more than execution."""
    return not any(
        _chooses_network(key) or (layer.source is Source.PRESET and not key.startswith("execution."))
        for layer in layers
        for key, _ in layer.settings
    )


def _chooses_network(key: str) -> bool:
    return key.startswith(f"{NETWORK.group}.") and key != "model.weights"


def scan_preset_layer(name: str, reason: str) -> Layer:
    """The settings of a preset that a scan chooses.

    Args:
        name: The preset.
        reason: Property of the scan that chooses it, which becomes the origin of the settings.
    """
    preset = _named(name)
    assert preset is not None
    return Layer(Source.SCAN, tuple(_settings(preset, Source.SCAN, reason)))


def with_effect(layer: Layer, use: Use) -> Layer:
    """The layer without settings that a command ignores."""
    return replace(layer, settings=tuple(item for item in layer.settings if not item[0].startswith(use.ignored)))


def _named(name: str) -> Preset | None:
    return next((preset for preset in PRESETS if preset.name == name.casefold()), None)


def _settings(preset: Preset, source: Source, origin: str) -> Iterator[tuple[str, Setting]]:
    return ((key, Setting(value, source, origin)) for key, value in preset.settings)
