"""The built-in networks keep the promises that plugin authors test against."""

from ptycho_cli.models import AUTOENCODER, UNROLLED
from ptycho_cli.models.conformance import NetworkConformance


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
