"""Shared by all tests: small simulated scans, and where measured data lies."""

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# In the background of a shell, or below nohup, signals are ignored, also by the processes that tests start.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)
# Whoever runs the tests may have a settings file of their own, which is no part of them.
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="ptycho-tests-config-")
os.environ.pop("PTYCHO_USER_FILE", None)


@pytest.fixture(scope="session")
def measured() -> Path:
    """Folder of the measured scans; tests that need them skip where it is absent."""
    default = Path(__file__).parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("PTYCHO_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no measured data at {folder}; set PTYCHO_TEST_DATA to run this test")
    return folder


def written_scan(path: Path, **simulation: Any) -> Path:
    """Simulate a scan and write it with its truth."""
    from ptycho_cli.data.simulation import simulate
    from ptycho_cli.data.write import write_scan

    write_scan(path, simulate(**simulation))
    return path


@pytest.fixture(scope="session")
def small_scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with 100 simulated frames of 32 px."""
    path = tmp_path_factory.mktemp("scans") / "small.h5"
    return written_scan(path, n_frames=100, n_pixels=32, photons=1e6, seed=3)


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with 24 simulated frames of 16 px, for trainings of a few steps."""
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    return written_scan(path, n_frames=24, n_pixels=16, photons=1e5, seed=1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)
