"""A model file that is cut while a command computes from it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from smallchat.errors import ExitCode
from tests.support.models import Recipe, model

CUT = """
import os, sys
from smallchat.cli import main
from smallchat.engine import Engine

load = Engine.load

def then_cut(path, **options):
    engine = load(path, **options)
    os.truncate(path, 4096)
    return engine

Engine.load = then_cut
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows cuts no file that is mapped")
@pytest.mark.parametrize(
    "command", [["ask", "--raw", "hello"], ["ask", "--raw", "--kernels", "numpy", "hello"], ["bench"]]
)
def test_is_told_with_the_code_of_the_model_file(command: list[str], tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    shutil.copyfile(model(Recipe()).path, path)
    done = subprocess.run(
        [sys.executable, "-c", CUT, *command, "--model", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == ExitCode.MODEL
    assert done.stderr == (
        f"smallchat: {path} was cut, or could no longer be read, while it was in use. "
        "Check the file and the disk, then try again\n"
    )


@pytest.mark.skipif(os.name != "posix", reason="there is no such signal")
def test_the_signal_is_as_before_once_the_command_is_done() -> None:
    script = (
        "import os, signal; from pathlib import Path; from smallchat.commands.cut_file import told_when_cut\n"
        "with told_when_cut(Path()): pass\n"
        "os.kill(os.getpid(), signal.SIGBUS)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == -signal.SIGBUS
