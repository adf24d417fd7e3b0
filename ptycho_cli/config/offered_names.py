"""Names of schedulers and callbacks: which offer is meant, and what there is if none is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ptycho_cli.config.catalogue import Catalogue, Offer
from ptycho_cli.config.suggestions import nearest

HOME = "ptycho-cli"  # the distribution whose names a plugin cannot take over


def canonical_name(distribution: str) -> str:
    """The one spelling of a distribution's name: lower case, with single hyphens."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def pick(offers: tuple[Offer, ...], name: str) -> list[Offer]:
    """Offers that ``name`` or ``distribution:name`` can mean; the program's own beats a plugin's."""
    distribution, _, bare = name.rpartition(":")
    matching = [
        offer
        for offer in offers
        if offer.name.casefold() == bare.casefold()
        and (not distribution or canonical_name(offer.distribution) == canonical_name(distribution))
    ]
    own = [offer for offer in matching if offer.distribution == HOME]
    return own if own and len(matching) > len(own) else matching


def canonical(offers: tuple[Offer, ...], offer: Offer) -> str:
    """The name that finds ``offer`` again: bare where that is enough, else with its distribution."""
    return offer.name if pick(offers, offer.name) == [offer] else f"{offer.distribution}:{offer.name}"


def clash(kind: str, found: Sequence[Offer]) -> tuple[str, str]:
    """Who offers one name, and the names that choose: a message and a hint."""
    sides = " and ".join(offer.origin for offer in found)
    ways = " or ".join(f"{offer.distribution}:{offer.name}" for offer in found)
    every = "both" if len(found) == 2 else "all"
    return f"{sides} {every} offer the {kind} {found[0].name}.", f"Choose {ways}."


def way_out(kind: str, name: str, catalogue: Catalogue) -> str:
    """The nearest names, or all of them, each with where it comes from; and the plugins that may have had it."""
    lines = [*catalogue.broken, *([f"blocked: {', '.join(catalogue.blocked)}"] if catalogue.blocked else [])]
    missing = " ".join(f"{line[:1].upper()}{line[1:].rstrip('.')}." for line in lines)
    sources: dict[str, list[str]] = {}
    for offer in catalogue.of(kind):
        sources.setdefault(offer.name, []).append(offer.distribution)
    if near := nearest(name.rpartition(":")[2], sources, n=3):
        return f"Did you mean {_listed(near, sources, ' or ')}? {missing}".rstrip()
    there_are = f"There are {_listed(sources, sources, ', ')}." if sources else f"No {kind} is installed."
    return f"{missing} {there_are}".lstrip()


def _listed(names: Iterable[str], sources: Mapping[str, list[str]], link: str) -> str:
    """``A, B (from ptycho-cli), C (from ptycho-wsd)``."""
    by_source: dict[str, list[str]] = {}
    for name in names:
        by_source.setdefault(" and ".join(sources[name]), []).append(name)
    return link.join(f"{link.join(items)} (from {source})" for source, items in by_source.items())


def offer_of(offers: tuple[Offer, ...], name: str) -> Offer | None:
    """The offer behind a canonical name, as stored in a config; None if it is not there or not alone."""
    found = pick(offers, name)
    return found[0] if len(found) == 1 else None
