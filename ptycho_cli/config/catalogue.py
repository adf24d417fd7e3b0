"""The names that plugins offer, handed to the resolver as data so that it stays pure."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Offer:
    """One scheduler or callback that a user may choose.

    Attributes:
        name: As typed by the user; compared without regard to case.
        options: Frozen pydantic model of its options.
        distribution: Who offers it, such as ``ptycho-cli``; ``dist:Name`` picks it where names clash.
        version: Version of that distribution.
        summary: One sentence.
        staged: Its schedule moves the loss through stages, so it needs a loss that has them.
    """

    name: str
    options: type[BaseModel]
    distribution: str
    version: str
    summary: str = ""
    staged: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything on offer. ``broken`` has one line for each plugin that was left out, naming it and why."""

    schedulers: tuple[Offer, ...] = ()
    callbacks: tuple[Offer, ...] = ()
    broken: tuple[str, ...] = ()
