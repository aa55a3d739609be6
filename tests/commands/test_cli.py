"""The command line as a shell sees it: real processes, exit codes, data on stdout, the rest on stderr."""

from __future__ import annotations

import functools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smallchat import __version__, paths
from smallchat.engine import Engine
from smallchat.errors import ExitCode
from smallchat.hub.installed import hub_cache
from tests.support.models import Recipe, model


def smallchat(
    *arguments: str, piped: str | bytes = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "smallchat", *arguments],
        input=piped.encode() if isinstance(piped, str) else piped,
        capture_output=True,
        env=os.environ | environment,
        timeout=120,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


posix = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
SMALLCHAT = f"{shlex.quote(sys.executable)} -m smallchat"


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, errors="replace", timeout=120
    )


def tiny() -> str:
    return str(model(Recipe()).path)


def test_version() -> None:
    assert smallchat("--version").stdout == f"smallchat {__version__}\n"


def test_help_names_every_command_and_the_exit_codes_and_is_instant() -> None:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        done = smallchat("--help")
        times.append(time.perf_counter() - began)
    assert done.returncode == ExitCode.OK
    words = done.stdout.split()
    assert {"ask", "info", "plan", "paths", "--model", "--mem", "--context", "--threads"} <= set(words)
    text = " ".join(words)
    assert all(f"{int(code)} " in text for code in ExitCode)
    # 0.2 s on an idle machine; the tests share theirs.
    assert min(times) < 2


def test_ask_prints_the_answer_alone_and_greedy_is_repeatable() -> None:
    arguments = ("ask", "--model", tiny(), "--temperature", "0", "--max-tokens", "8", "the thing")
    first, second = smallchat(*arguments), smallchat(*arguments)
    assert first.returncode == second.returncode == ExitCode.OK
    assert first.stdout == second.stdout
    assert first.stderr == ""


def test_ask_json_tells_everything_and_agrees_with_the_engine() -> None:
    done = smallchat(
        *("ask", "--model", tiny(), "--seed", "5", "--max-tokens", "8", "--kernels", "numpy"),
        *("--threads", "1", "--json", "--raw", "the thing"),
    )
    answer = json.loads(done.stdout)
    engine = Engine.load(tiny(), kernels="numpy", threads=1)
    ids = engine.tokenizer.encode("the thing")
    expected = "".join(token.text for token in engine.generate(ids, 8, seed=5))
    engine.close()
    assert answer["answer"] == expected
    assert (answer["seed"], answer["kernels"], answer["prompt_tokens"]) == (5, "numpy", len(ids))
    assert answer["finish"] in {"length", "stop"}


def test_ask_reads_standard_input_before_the_question() -> None:
    options = ("--model", tiny(), "--max-tokens", "1", "--json", "--raw")
    together = json.loads(smallchat("ask", *options, "and that?", piped="the note\n").stdout)
    alone = json.loads(smallchat("ask", *options, "the note\n\nand that?").stdout)
    assert together["prompt_tokens"] == alone["prompt_tokens"]
    assert json.loads(smallchat("ask", *options, piped="the note").stdout)["prompt_tokens"] > 0


def test_flags_may_stand_before_the_command() -> None:
    done = smallchat("--model", tiny(), "--kernels", "numpy", "ask", "--max-tokens", "1", "--json", "the")
    assert json.loads(done.stdout)["kernels"] == "numpy"


def test_info_and_paths() -> None:
    facts = json.loads(smallchat("info", tiny(), "--json").stdout)
    assert (facts["layers"], facts["quantisation"], facts["context"]) == (2, "F32", 512)
    assert "quantisation" in smallchat("info", tiny()).stdout
    places = json.loads(smallchat("paths", "--json").stdout)
    assert places["conversations"] == str(paths.conversations())
    assert Path(places["models"]) == paths.models()
    kept = {paths.engine_log(), paths.app_log(), paths.errors_log(), paths.chosen_theme(), hub_cache()}
    assert kept <= {Path(place) for place in places.values()}


def test_bench_measures_what_it_says() -> None:
    counts = ("--prompt-tokens", "20", "--gen-tokens", "5", "--start-at", "7", "--repeat", "2")
    facts = json.loads(smallchat("bench", "--model", tiny(), "--kernels", "numpy", *counts, "--json").stdout)
    assert (facts["prompt_tokens"], facts["gen_tokens"], facts["start_at"]) == (20, 5, 7)
    assert facts["kernels"] == "numpy"
    assert facts["first_token_s"] > facts["load_s"] > 0
    assert facts["pause_s"] >= 0
    assert facts["decode_ms_p95"] >= facts["decode_ms_p50"] > 0
    assert facts["prefill_tokens_per_s"] > 0
    assert facts["peak_memory_bytes"] > 10 << 20
    # The file is mapped: the system reads it, and nothing is known of hits.
    assert (facts["read_bytes_per_token"], facts["wait_ms_per_token"]) == (0, 0)
    assert (facts["expert_hit_rate"], facts["mem_budget_bytes"]) == (None, None)
    assert facts["made_up_weights"] is False
    assert "tok/s" in smallchat("bench", "--model", tiny(), "--repeat", "1").stdout


def test_bench_refuses_two_models() -> None:
    done = smallchat("--model", tiny(), "bench", "--synthetic", "4b")
    assert done.returncode == ExitCode.USAGE
    assert "--synthetic" in done.stderr


def test_bench_refuses_more_than_the_context() -> None:
    done = smallchat("bench", "--model", tiny(), "--prompt-tokens", "600")
    assert done.returncode == ExitCode.CONTEXT
    assert "Traceback" not in done.stderr


def test_a_model_is_found_by_its_name_in_the_models_folder() -> None:
    paths.models().mkdir(parents=True)
    os.link(tiny(), paths.models() / "SmallThinker-4B-tiny.gguf")
    for name in ("SmallThinker-4B-tiny", "SmallThinker-4B-tiny.gguf", "4b"):
        assert json.loads(smallchat("info", name, "--json").stdout)["layers"] == 2
    os.link(tiny(), paths.models() / "other-4B.gguf")
    done = smallchat("info", "4b")
    assert done.returncode == ExitCode.MODEL
    assert "SmallThinker-4B-tiny" in done.stderr


def wrong_inputs(folder: Path) -> dict[str, tuple[list[str], ExitCode, str]]:
    (folder / "empty.gguf").touch()
    (folder / "note.gguf").write_text("dear diary")
    cut = folder / "cut.gguf"
    cut.write_bytes(Path(tiny()).read_bytes()[:5000])
    ask = ["ask", "hello", "--model"]
    return {
        "missing": ([*ask, str(folder / "nix.gguf")], ExitCode.MODEL, "nix.gguf"),
        "unknown name": ([*ask, "nix"], ExitCode.MODEL, "nix"),
        "folder": ([*ask, str(folder)], ExitCode.MODEL, "folder"),
        "empty": ([*ask, str(folder / "empty.gguf")], ExitCode.MODEL, "empty.gguf"),
        "not a model": ([*ask, str(folder / "note.gguf")], ExitCode.MODEL, "note.gguf"),
        "cut": ([*ask, str(cut)], ExitCode.MODEL, "cut.gguf"),
        "info of a cut file": (["info", str(cut)], ExitCode.MODEL, "cut.gguf"),
        "context": ([*ask, tiny(), "--context", "100000"], ExitCode.CONTEXT, "--context 512"),
        "budget": ([*ask, tiny(), "--mem", "1M"], ExitCode.MEMORY, "--mem"),
        "no size": ([*ask, tiny(), "--mem", "lots"], ExitCode.USAGE, "lots"),
        "kernels": ([*ask, tiny(), "--kernels", "cuda"], ExitCode.USAGE, "cuda"),
        "temperature": ([*ask, tiny(), "--temperature", "-1"], ExitCode.USAGE, "temperature"),
        "flag": ([*ask, tiny(), "--nix"], ExitCode.USAGE, "--nix"),
        "long prompt": (["ask", "word " * 500, "--model", tiny()], ExitCode.CONTEXT, "512"),
        "no question": (["ask", "--model", tiny()], ExitCode.USAGE, "question"),
        "no model's name": (["ask", "hello", "-m", ""], ExitCode.USAGE, "--model is empty"),
        "no name of a file": (["info", ""], ExitCode.USAGE, "MODEL is empty"),
        "no folder's name": (["notes", "tags", "--notes", ""], ExitCode.USAGE, "--notes is empty"),
        "no released folder's name": (["convert", "", "new.gguf"], ExitCode.USAGE, "FOLDER is empty"),
        "no export's name": (["history", "import", ""], ExitCode.USAGE, "FILE is empty"),
        "no terminal": ([], ExitCode.USAGE, "terminal"),
    }


CASES = (
    *("missing", "unknown name", "folder", "empty", "not a model", "cut", "info of a cut file", "context"),
    *("budget", "no size", "kernels", "temperature", "flag", "long prompt", "no question", "no terminal"),
    *("no model's name", "no name of a file", "no folder's name"),
    *("no released folder's name", "no export's name"),
)


@pytest.mark.parametrize("case", CASES)
def test_wrong_input_is_one_clear_line_and_the_documented_exit_code(case: str, tmp_path: Path) -> None:
    arguments, code, words = wrong_inputs(tmp_path)[case]
    done = smallchat(*arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    if case != "flag":
        assert done.stderr.startswith("smallchat: ")
        assert done.stderr.count("\n") == 1


@posix
@pytest.mark.parametrize("variable", ["SMALLCHAT_HOME", "HF_HOME", "HF_HUB_CACHE"])
def test_a_home_folder_that_nobody_has_is_told(variable: str) -> None:
    done = smallchat("paths", **{variable: "~nobody-such-user/here"})
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    told = f"smallchat: The environment variable {variable} is ~nobody-such-user/here, which is in no home "
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == 1


def test_a_wrong_config_file_is_told_to_every_command() -> None:
    paths.config_file().parent.mkdir(parents=True)
    paths.config_file().write_text("threads = 'many'")
    done = smallchat("ask", "hello", "--model", tiny())
    assert done.returncode == ExitCode.USAGE
    assert "config.toml" in done.stderr


@posix
def test_a_pipe_is_no_file_to_wait_for(tmp_path: Path) -> None:
    pipe = tmp_path / "model.gguf"
    os.mkfifo(pipe)
    for command in (("info", str(pipe)), ("ask", "-m", str(pipe), "hello")):
        done = smallchat(*command)
        assert (done.returncode, done.stdout) == (ExitCode.MODEL, "")
        assert "model.gguf is a pipe" in done.stderr
    paths.config_file().parent.mkdir(parents=True)
    os.mkfifo(paths.config_file())
    done = smallchat("ask", "--model", tiny(), "hello")
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert "config.toml is not a file" in done.stderr


def test_piped_bytes_that_are_no_text_are_told() -> None:
    done = smallchat("ask", "--model", tiny(), piped=b"\xff\xfe\x00")
    assert done.returncode == ExitCode.USAGE
    assert "not text" in done.stderr


def test_an_answer_reaches_a_terminal_that_is_not_utf8() -> None:
    done = smallchat("ask", "--model", tiny(), "--raw", "--max-tokens", "9", "你", PYTHONIOENCODING="ascii")
    assert done.returncode == ExitCode.OK, done.stderr


def test_a_name_with_control_characters_cannot_reach_the_terminal(tmp_path: Path) -> None:
    done = smallchat("info", str(tmp_path / "a\x1b]0;owned\x07.gguf"))
    assert done.returncode == ExitCode.MODEL
    assert "\x1b" not in done.stderr
    assert "\x07" not in done.stderr


def test_a_name_is_told_as_it_is(tmp_path: Path) -> None:
    done = smallchat("info", str(tmp_path / "a  b.gguf"))
    assert "a  b.gguf" in done.stderr


@posix
def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"ask --model {tiny()} --max-tokens 200 --raw the"
    done = shell(f"{{ {SMALLCHAT} {command}; echo $? >&2; }} | head -c 1")
    assert len(done.stdout) == 1
    assert done.stderr == "0\n"


@posix
@pytest.mark.parametrize("command", ["paths", "--help"])
def test_a_reader_that_is_not_there_at_all_is_no_error(command: str) -> None:
    gone, pipe = os.pipe()
    os.close(gone)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "smallchat", command], stdout=pipe, stderr=subprocess.PIPE, timeout=120
        )
    finally:
        os.close(pipe)
    assert (done.returncode, done.stderr) == (ExitCode.OK, b"")


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
@pytest.mark.parametrize("command", ["paths", "--help"])
def test_a_full_disk_behind_standard_output_is_told(command: str) -> None:
    done = shell(f"{SMALLCHAT} {command} >/dev/full")
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith("smallchat: Standard output cannot be written: No space left")
    assert done.stderr.count("\n") == 1


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("history list", ExitCode.OK),
        ("info nix", ExitCode.MODEL),
        ("ask --nix", ExitCode.USAGE),
    ],
)
def test_what_cannot_be_said_beside_the_work_changes_nothing_of_it(command: str, code: ExitCode) -> None:
    well = shell(f"{SMALLCHAT} {command}")
    gone, pipe = os.pipe()
    os.close(gone)
    with Path("/dev/full").open("wb") as full, os.fdopen(pipe, "wb") as unread:
        for stderr in (full, unread):
            arguments = [sys.executable, "-m", "smallchat", *command.split()]
            done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=120)
            assert (done.returncode, done.stdout) == (code, well.stdout)


@posix
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("ask <&-", ExitCode.USAGE),
        ("notes add <&-", ExitCode.NOTES),
        ("history import - <&-", ExitCode.STORAGE),
        ("history list >&-", ExitCode.OK),
        ("info nix 2>&-", ExitCode.MODEL),
    ],
)
def test_a_closed_stream_is_an_empty_one(command: str, code: ExitCode) -> None:
    done = shell(f"{SMALLCHAT} {command}")
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "mistake" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems")
def test_ctrl_c_ends_with_a_word_and_130() -> None:
    made = model(Recipe(layers=8, context=8192))
    arguments = ("ask", "--model", str(made.path), "--context", "8192", "--kernels", "numpy", "--raw")
    with subprocess.Popen(
        [sys.executable, "-m", "smallchat", *arguments, "--top-p", "1", "--top-k", "0", "--seed", "1", "the"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Tests may run in the background, where shells let a process ignore Ctrl+C.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert errors == b"smallchat: interrupted\n"
