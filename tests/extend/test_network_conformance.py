"""The built-in networks pass the conformance tests for plugins."""

from ptycho_cli.extend.network_conformance import NetworkConformance
from ptycho_cli.networks.entries import AUTOENCODER, REFINER, UNROLLED


class TestRefiner(NetworkConformance):
    entry = REFINER
    options = ({"physics_stages": 9}, {"physics_stages": 3, "subsets": 2, "width": 3, "levels": 2})


class TestUnrolled(NetworkConformance):
    entry = UNROLLED
    options = ({}, {"stages": 2, "subsets": 5, "width": 3})


class TestAutoencoder(NetworkConformance):
    entry = AUTOENCODER
    options = (
        {"width": 4},
        {"width": 3, "depth": 2, "channels": 4},
        {"width": 3, "depth": 1, "channels": 3, "input": "amplitude"},
    )
