"""Printed command lines are one line, and a shell reads the words from them."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from ptycho_cli.shell_line import shell_line

WORDS = ["a b", "", "it's", "$HOME", "\x1b[2Jtwo\nlines\t", "\x07'\\n$x", "é\u202e\u2028", os.fsdecode(b"\xff1")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "ksh"])
def test_a_shell_reads_the_words_that_were_printed(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    line = shell_line(WORDS)

    read = subprocess.run([shell, "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout

    assert line.isprintable()
    assert read.decode("utf-8", "surrogateescape").split("\0")[:-1] == WORDS


def test_usual_words_are_quoted_as_usual() -> None:
    assert shell_line(["ptycho", "train", "my scan.h5", "é.h5"]) == "ptycho train 'my scan.h5' 'é.h5'"
