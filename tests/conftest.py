"""Shared by all tests: small simulated scans, and where measured data lies."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
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


@pytest.fixture(scope="session")
def small_scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated scan of 100 frames of 32 px with its truth, on disk."""
    from ptycho_cli.data.simulation import simulate
    from ptycho_cli.data.write import write_scan

    path = tmp_path_factory.mktemp("scans") / "small.h5"
    write_scan(path, simulate(n_frames=100, n_pixels=32, photons=1e6, seed=3))
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)
