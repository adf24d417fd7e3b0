"""Names of schedulers and callbacks: which offer is meant, and what there is if none is."""

from __future__ import annotations

from ptycho_cli.config.catalogue import Offer
from ptycho_cli.config.keys import nearest

HOME = "ptycho-cli"  # the distribution whose names a plugin cannot take over


def pick(offers: tuple[Offer, ...], name: str) -> list[Offer]:
    """Offers that ``name`` or ``distribution:name`` can mean; the program's own beats a plugin's."""
    distribution, _, bare = name.rpartition(":")
    matching = [
        offer
        for offer in offers
        if offer.name.casefold() == bare.casefold()
        and (not distribution or offer.distribution.casefold() == distribution.casefold())
    ]
    own = [offer for offer in matching if offer.distribution == HOME]
    return own if own and len(matching) > len(own) else matching


def canonical(offers: tuple[Offer, ...], offer: Offer) -> str:
    """The name that finds ``offer`` again: bare where that is enough, else with its distribution."""
    return offer.name if pick(offers, offer.name) == [offer] else f"{offer.distribution}:{offer.name}"


def what_there_is(kind: str, name: str, offers: tuple[Offer, ...]) -> str:
    """The nearest names, or all of them, each with where it comes from."""
    sources: dict[str, list[str]] = {}
    for offer in offers:
        sources.setdefault(offer.name, []).append(offer.distribution)
    near = nearest(name.rpartition(":")[2], sources, n=3)
    listed = [f"{item} (from {' and '.join(sources[item])})" for item in near or sorted(sources)]
    if not listed:
        return f"No {kind} is installed."
    return f"Did you mean {' or '.join(listed)}?" if near else f"There are {', '.join(listed)}."


def offer_of(offers: tuple[Offer, ...], name: str) -> Offer | None:
    """The offer behind a canonical name, as stored in a config; None if it is not there or not alone."""
    found = pick(offers, name)
    return found[0] if len(found) == 1 else None
