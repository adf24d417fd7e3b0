"""OpenMP's threads sleep while they wait, unless the user chose otherwise."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("chosen", "spins"),
    [({}, "0"), ({"OMP_WAIT_POLICY": "active"}, "30000000000"), ({"GOMP_SPINCOUNT": "7"}, "7")],
    ids=["nothing", "policy", "spins"],
)
def test_threads_that_wait_sleep_unless_the_user_chose_otherwise(chosen: dict[str, str], spins: str) -> None:
    """OpenMP itself prints what it read when torch was loaded; without the policy the spins are 300000."""
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}

    done = subprocess.run(
        [sys.executable, "-c", "import ptycho_cli, torch"],
        env={**kept, **chosen, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    found = re.search(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    if found is None:
        pytest.skip("torch uses another OpenMP than GNU's here, which prints no number of spins")
    assert found[1] == spins
