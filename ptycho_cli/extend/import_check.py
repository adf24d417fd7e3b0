"""The cost of importing a plugin, which every command pays, measured in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import NamedTuple

HEAVY = ("torch", "lightning", "numpy", "matplotlib", "h5py")
SLOW_S = 0.3
_TRIES = 3  # another process may have disturbed a measurement

# What every command has loaded is not counted. A plugin may print, so the result is the last line.
_CODE = f"""
import json, sys, time
sys.path[:] = json.loads(sys.argv[1])
import ptycho_cli.extend.host
began = time.perf_counter()
__import__(sys.argv[2])
took = time.perf_counter() - began
heavy = [name for name in {HEAVY!r} if name in sys.modules]
print("\\n" + json.dumps([heavy, took]))
"""
_LINE = re.compile(r"import time: +\d+ \| +(\d+) \| ( *)(\S+)")


class ImportCost(NamedTuple):
    """The cost of importing a module.

    Attributes:
        heavy: Slow packages that it loads, which a plugin must import inside its functions.
        seconds: Time that it takes.
        mostly: Module that takes most of it, if one takes more than half.
    """

    heavy: tuple[str, ...]
    seconds: float
    mostly: str | None

    @property
    def is_slow(self) -> bool:
        """True if every command notices it."""
        return self.seconds >= SLOW_S

    def problems(self) -> list[str]:
        """One line for what slows every command; none if nothing does."""
        way_out = "which slows every command. Import inside functions."
        if self.heavy:
            return [f"it imports {', '.join(self.heavy)} at module level, {way_out}"]
        mostly = f", mostly for {self.mostly}" if self.mostly else ""
        return [f"its import takes {self.seconds:.1f} s{mostly}, {way_out}"] if self.is_slow else []


def import_cost(module: str) -> ImportCost:
    """Import a module in another process, and again if that seems slow; the shortest time counts.

    Raises:
        RuntimeError: If the module cannot be imported there.
    """
    found = _import(module)
    for _ in range(_TRIES - 1):
        if found.heavy or not found.is_slow:
            break
        again = _import(module)
        found = again if again.seconds < found.seconds else found
    return found


def _import(module: str) -> ImportCost:
    command = [sys.executable, "-X", "importtime", "-c", _CODE, json.dumps(sys.path), module]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.strip().splitlines() if not line.startswith("import time:")]
        raise RuntimeError(f"importing {module} failed: {lines[-1] if lines else 'no message'}")
    heavy, seconds = json.loads(done.stdout.strip().splitlines()[-1])
    return ImportCost(tuple(heavy), seconds, _largest_part(done.stderr, module, seconds))


def _largest_part(report: str, module: str, seconds: float) -> str | None:
    """The import below a module that takes more than half of its time, from the report of ``-X importtime``."""
    parts: list[tuple[int, str]] = []  # microseconds and name of the imports directly below the latest module
    depths: list[int] = []
    for took, indent, name in (match.groups() for match in map(_LINE.match, report.splitlines()) if match):
        if name == module:
            inside = [part for part, depth in zip(parts, depths, strict=True) if depth == len(indent) + 2]
            largest = max(inside, default=(0, ""))
            return largest[1] if largest[0] > 5e5 * seconds else None
        keep = [index for index, depth in enumerate(depths) if depth <= len(indent)]
        parts, depths = [parts[index] for index in keep], [depths[index] for index in keep]
        parts.append((int(took), name))
        depths.append(len(indent))
    return None
