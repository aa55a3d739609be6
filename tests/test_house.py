"""The rules of the house, run as tests: lint, format, types, layers, and what an import may pull in."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str, seconds: float = 300) -> str:
    """Run in the project's folder; its output. Fails with that output where the command does."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("what", [("check",), ("format", "--check")])
def test_ruff(what: tuple[str, ...]) -> None:
    run(sys.executable, "-m", "ruff", *what, "smallchat", "tests")


def test_types() -> None:
    run(sys.executable, "-m", "mypy")


def test_layers() -> None:
    run(str(Path(sys.executable).parent / "lint-imports"), "--no-cache")


def imported(code: str) -> set[str]:
    """Names of all modules that `code` brings in, in a process of its own."""
    return set(run(sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, sep='\\n')").split())


def test_help_imports_no_screen_and_no_arrays() -> None:
    code = "from smallchat import cli\ntry:\n    cli.app(['--help'])\nexcept SystemExit:\n    pass"
    assert not {"textual", "rich", "numpy", "tokenizers", "psutil"} & imported(code)


def test_the_engine_knows_no_screen() -> None:
    modules = imported("from smallchat.engine import Engine\nEngine.load")
    assert "numpy" in modules
    assert not {"textual", "rich", "typer", "huggingface_hub", "ctransformers"} & modules


def test_the_screen_does_not_load_the_decoder() -> None:
    modules = imported("import smallchat.tui.app")
    assert "textual" in modules
    assert not {"numpy", "tokenizers", "jinja2", "smallchat.engine.engine"} & modules


def test_a_made_up_model_that_is_there_needs_no_writer() -> None:
    modules = imported("import smallchat.commands.bench, smallchat.commands.synthetic")
    assert "smallchat.model.synthetic" in modules
    assert not {"gguf", "rich"} & modules


def test_no_path_of_one_machine_and_no_unfinished_mark() -> None:
    # In pieces, so that this file does not find itself.
    marks = re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b|/" + "(work|root)/|/" + "tmp/")
    folders = ("smallchat", "tests", "assets", ".ci")
    ours = [*ROOT.glob("*.*"), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]
    texts = [path for path in ours if path.suffix in {".py", ".md", ".toml", ".tcss"}]
    assert len(texts) > 50
    found = [
        f"{path.name}: {match[0]}" for path in texts for match in marks.finditer(path.read_text("utf-8"))
    ]
    assert not found


def test_the_readme_has_exactly_two_commands_to_start_with() -> None:
    start = (ROOT / "README.md").read_text("utf-8").partition("## Quick start\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", start, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    assert all(block.count("\n") == 1 for block in blocks)
    assert blocks[0].rstrip().endswith("smallchat")
    assert "pytest" in blocks[1]
