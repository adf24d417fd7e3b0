"""The names that plugins offer, handed to the resolver as data so that it stays pure."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Offer:
    """One scheduler, network or callback that a user may choose.

    Attributes:
        kind: ``scheduler``, ``network``, ``callback``, or another kind that has a hook.
        name: As typed by the user; compared without regard to case.
        options: Frozen pydantic model of its options.
        distribution: Who offers it, such as ``ptycho-cli``; ``dist:Name`` picks it where names clash.
        version: Version of that distribution.
        summary: One sentence.
        staged: Its schedule moves the loss through stages, so it needs a loss that has them.
    """

    kind: str
    name: str
    options: type[BaseModel]
    distribution: str
    version: str
    summary: str = ""
    staged: bool = False

    @property
    def origin(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything on offer, and who is missing.

    Attributes:
        offers: Whatever users may choose, of every kind.
        broken: One line for each plugin that was left out, naming it and why.
        blocked: Title of each plugin that the user did not want.
    """

    offers: tuple[Offer, ...] = ()
    broken: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    def of(self, kind: str) -> tuple[Offer, ...]:
        """The offers of one kind, such as ``scheduler``."""
        return tuple(offer for offer in self.offers if offer.kind == kind)
