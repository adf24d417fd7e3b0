"""The built-in networks keep the promises that plugin authors test against."""

from ptycho_cli.models import UNROLLED
from ptycho_cli.models.conformance import NetworkConformance


class TestUnrolled(NetworkConformance):
    entry = UNROLLED
    options = ({}, {"stages": 2, "subsets": 5, "width": 3})
