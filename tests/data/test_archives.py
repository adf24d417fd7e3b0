"""Archives are refused before they fill the memory, and arrays whose shape is not what is stored."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from numpy.lib import format as npy
from scipy.io import savemat

from ptycho_cli.data import archives
from ptycho_cli.data.read import read_scan
from ptycho_cli.errors import DataError

COUNTS = np.random.default_rng(0).poisson(50, (12, 16, 16)).astype(np.uint16)
POSITIONS = np.random.default_rng(1).uniform(0, 60, (12, 2))


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SMALL", 2**22)


def zeros_in_zip(file: IO[bytes]) -> None:
    np.savez_compressed(file, diffraction=np.zeros((2**15, 16, 16), np.uint8), positions=POSITIONS)


def zeros_in_gzip(file: IO[bytes]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, diffraction=np.zeros((2**15, 16, 16), np.uint8), positions=POSITIONS)
    file.write(gzip.compress(buffer.getvalue()))


def zeros_in_matlab(file: IO[bytes]) -> None:
    savemat(file, {"dp": np.zeros((2**15, 16, 16), np.uint8)}, do_compression=True)


@pytest.mark.parametrize("write", [zeros_in_zip, zeros_in_gzip, zeros_in_matlab])
def test_archives_that_expand_too_far_are_refused(tmp_path: Path, write: Callable[[IO[bytes]], None]) -> None:
    with (tmp_path / "bomb").open("wb") as file:
        write(file)
    with pytest.raises(DataError, match=r"MiB, but .* expands to .* GiB or more"):
        read_scan(tmp_path / "bomb")


def test_a_gzip_file_is_not_expanded_further_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As much as 4 MiB may become gigabytes; it ends one block above the limit."""
    (tmp_path / "bomb.npz").write_bytes(gzip.compress(bytes(2**26)))
    monkeypatch.setattr(archives, "_BLOCK", 2**16)
    monkeypatch.setattr(archives, "LARGEST_RATIO", 1)

    with pytest.raises(DataError) as refused:
        read_scan(tmp_path / "bomb.npz")
    assert f"expands to {(2**22 + 2**16) / 2**30:.3g} GiB" in str(refused.value)


def member(shape: tuple[int, ...], dtype: str, stored: bytes) -> bytes:
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + stored


@pytest.mark.parametrize("shape", [(10**9, 16, 16), (11, 16, 16), (-1, 16, 16)])
def test_a_shape_that_is_not_stored_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("diffraction.npy", member(shape, "<u2", COUNTS.tobytes()))

    with pytest.raises(DataError, match="damaged, expected an NPZ archive"):
        read_scan(tmp_path / "a.npz")


class Payload:
    def __reduce__(self) -> tuple[Callable[..., None], tuple[str, ...]]:
        return open, ("was_run", "w")  # type: ignore[return-value]


def test_no_pickle_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stored = pickle.dumps(Payload())
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("diffraction.npy", member((), "|O", stored))
    Path("a.npy").write_bytes(member((), "|O", stored))

    for name in ("a.npz", "a.npy"):
        with pytest.raises(DataError):
            read_scan(name)
    assert not Path("was_run").exists()


def test_a_pipe_is_no_scan(tmp_path: Path) -> None:
    """Reading one would wait for ever."""
    os.mkfifo(tmp_path / "pipe.h5")

    with pytest.raises(DataError, match="not a regular file"):
        read_scan(tmp_path / "pipe.h5")


@pytest.mark.parametrize("length", [10, 60, 126, 127, 128, 140])
def test_a_matlab_file_that_is_cut_off_is_damaged(tmp_path: Path, length: int) -> None:
    path = tmp_path / "scan.mat"
    savemat(path, {"frames": np.ones((3, 4, 4))})
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(DataError, match=r"scan.mat: (damaged|no array|neither|.*expected)"):
        read_scan(path)
