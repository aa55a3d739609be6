"""The decoder's process as the screen sees it: a real child, spoken to over its pipes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from typing import ClassVar

import numpy as np
import psutil
import pytest

from smallchat import paths
from smallchat.engine.client import LoadOptions, Message, WorkerClient
from smallchat.engine.events import (
    USED,
    Alternative,
    Counted,
    Envelope,
    Estimate,
    Failed,
    Finished,
    Memory,
    Pieces,
    PromptProgress,
    Ready,
    Resized,
    Storage,
    Telemetry,
    Token,
    TooLong,
    dump,
    parse,
)
from smallchat.engine.worker import Worker
from smallchat.errors import EngineError, ExitCode
from smallchat.experts.prefetch import ReaderProcess
from smallchat.settings import Sampling
from tests.support.engines import opened
from tests.support.models import Recipe, model, script, scripted, vocabulary

GREEDY = Sampling(temperature=0.0, seed=1)
SECONDS = 60
HELLO = [Message("user", "the thing in 你好")]


class Listener:
    """Everything that a client says, kept, and waited for."""

    def __init__(self, client: WorkerClient) -> None:
        self.client = client
        self.seen: list[Envelope] = []
        self._stream = client.events()

    async def until(self, wanted: Callable[[Envelope], bool]) -> Envelope:
        async with asyncio.timeout(SECONDS):
            async for envelope in self._stream:
                self.seen.append(envelope)
                if wanted(envelope):
                    return envelope
        raise AssertionError(f"never came; last was {self.seen[-1:]}")

    async def kind(self, kind: type, request: int | None = None) -> Envelope:
        return await self.until(
            lambda e: isinstance(e.event, kind) and (request is None or e.request == request)
        )

    def of(self, kind: type, request: int) -> list:
        return [e.event for e in self.seen if isinstance(e.event, kind) and e.request == request]


@asynccontextmanager
async def running(path: Path, **options: object) -> AsyncIterator[Listener]:
    client = WorkerClient()
    await client.start(LoadOptions(path, **options))  # type: ignore[arg-type]
    try:
        yield Listener(client)
    finally:
        await client.close()


def little(path: Path) -> int:
    """A memory budget that does not hold all experts, and with which two ranks can work."""
    with opened(path, threads=2) as engine:
        return engine.plan.weights + engine.plan.kv + engine.plan.rest + 10 * engine.plan.slot


def child_of(client: WorkerClient) -> int:
    assert client._process is not None
    return client._process.pid


async def test_it_loads_and_says_what_it_loaded() -> None:
    made = model(Recipe(template="{{ messages[0].content }}"))
    async with running(made.path, kernels="numpy", threads=1, context=256) as worker:
        ready = (await worker.kind(Ready)).event
        assert isinstance(ready, Ready)
        assert (ready.layers, ready.experts, ready.experts_used, ready.hidden) == (2, 4, 2, 64)
        assert (ready.context, ready.model_context, ready.kernels, ready.threads) == (256, 512, "numpy", 1)
        assert ready.path == str(made.path)
        telemetry = (await worker.kind(Telemetry)).event
        assert isinstance(telemetry, Telemetry)
        assert len(telemetry.experts) == len(telemetry.heat) == 2 * 4
        assert telemetry.memory.total >= telemetry.memory.rest > 0


async def test_an_answer_streams_and_ends() -> None:
    async with running(model(Recipe()).path, threads=1) as worker:
        await worker.kind(Ready)
        request = worker.client.chat(HELLO, GREEDY, max_tokens=12)
        finished = (await worker.kind(Finished, request)).event
        assert isinstance(finished, Finished)
        tokens = worker.of(Token, request)
        assert [token.index for token in tokens] == list(range(len(tokens)))
        assert finished.generated_tokens == 12 or finished.reason == "stop"
        assert finished.seed == 1
        progress = worker.of(PromptProgress, request)
        assert progress[-1].done == progress[-1].total == finished.prompt_tokens > 0
        last = worker.of(Telemetry, request)[-1]
        assert last.experts.count(bytes([USED])) == 2 * 2
        assert last.context_used == finished.prompt_tokens + len(tokens) - 1
        assert last.decode_speed > 0
        assert last.prompt_speed > 0


def test_tokens_that_come_fast_wake_the_screen_together_but_for_the_first() -> None:
    class Pipe(io.BytesIO):
        """Remembers how much had been written at each flush."""

        sent: ClassVar[list[int]] = []

        def flush(self) -> None:
            self.sent.append(self.tell())

    pipe = Pipe()
    worker = Worker(pipe)
    worker.serve({"request": 1, "operation": "load", "path": str(model(Recipe()).path), "threads": 1})
    messages = [asdict(message) for message in HELLO]
    ask = {"request": 2, "operation": "chat", "messages": messages, "sampling": asdict(GREEDY)}
    worker.serve(ask | {"max_tokens": 40})
    lines = pipe.getvalue().splitlines(keepends=True)
    ends = dict(zip(accumulate(map(len, lines)), (parse(line).event for line in lines), strict=True))
    tokens = {end: event for end, event in ends.items() if isinstance(event, Token)}
    assert len(tokens) > 10
    assert next(end for end, token in tokens.items() if token.index == 0) in pipe.sent
    assert len([end for end in tokens if end in pipe.sent]) < len(tokens) / 2
    assert max(ends) == pipe.sent[-1]  # nothing is kept back in the end


async def test_at_rest_it_works_out_what_other_budgets_would_give() -> None:
    async with running(model(Recipe(experts=16)).path, threads=1) as worker:
        await worker.kind(Ready)
        for seed in range(4):  # each answer may end early
            request = worker.client.chat(HELLO, Sampling(temperature=1.0, seed=seed), max_tokens=40)
            await worker.kind(Finished, request)
        told = await worker.until(lambda e: isinstance(e.event, Telemetry) and bool(e.event.what_if))
        assert told.event.what_if[-1].hit_rate == 1


async def test_the_same_question_is_not_read_twice_and_gets_the_same_answer() -> None:
    async with running(model(Recipe()).path, threads=1) as worker:
        await worker.kind(Ready)
        texts = []
        for _ in range(2):
            request = worker.client.chat(HELLO, Sampling(seed=7), max_tokens=10)
            finished = (await worker.kind(Finished, request)).event
            texts.append("".join(token.text for token in worker.of(Token, request)))
        assert isinstance(finished, Finished)
        assert finished.reused_tokens >= finished.prompt_tokens - 1
        assert texts[0] == texts[1]


async def test_pinned_text_is_read_once_for_all_sessions() -> None:
    """What every prompt begins with, also after a restart."""
    pinned = Message("system", "[[Garden]] The apple tree is pruned in March. " * 6)
    answers = []
    for question in ("when?", "which tree?"):
        async with running(model(Recipe()).path, threads=1, checkpoints=1 << 30) as worker:
            await worker.kind(Ready)
            request = worker.client.chat([pinned, Message("user", question)], GREEDY, max_tokens=4)
            finished = (await worker.kind(Finished, request)).event
            assert isinstance(finished, Finished)
            answers.append(finished)
            while not list(paths.checkpoints().glob("*.kv")):
                await asyncio.sleep(0)
    assert answers[0].reused_tokens == 0
    assert answers[1].reused_tokens > len(pinned.content) // 4
    assert answers[1].prompt_tokens - answers[1].reused_tokens < 60


async def test_what_was_read_for_an_answer_that_nobody_waits_for_is_kept() -> None:
    """The app quits in the middle of it."""
    made = model(Recipe(context=2048))
    question = [Message("user", "a long story " * 60)]
    chatty = Sampling(temperature=5.0, top_k=0, top_p=1.0, seed=3)
    async with running(made.path, threads=1, context=2048, checkpoints=1 << 30) as worker:
        await worker.kind(Ready)
        request = worker.client.chat(question, chatty)
        await worker.kind(Token, request)
    async with running(made.path, threads=1, context=2048, checkpoints=1 << 30) as worker:
        await worker.kind(Ready)
        finished = (await worker.kind(Finished, worker.client.chat(question, GREEDY, max_tokens=1))).event
    assert isinstance(finished, Finished)
    assert finished.reused_tokens == finished.prompt_tokens - 1 > 600


async def test_cancel_stops_within_a_token_and_the_next_question_works() -> None:
    async with running(model(Recipe(context=2048)).path, threads=1) as worker:
        await worker.kind(Ready)
        request = worker.client.chat(HELLO, Sampling(temperature=1.5, top_k=0, top_p=1.0, seed=3))
        await worker.kind(Token, request)
        worker.client.cancel(request)
        finished = (await worker.kind(Finished, request)).event
        assert isinstance(finished, Finished)
        assert finished.reason in {"cancelled", "stop"}
        again = worker.client.chat(HELLO, GREEDY, max_tokens=2)
        await worker.kind(Finished, again)


async def test_cancel_during_the_prompt_gives_no_token() -> None:
    made = model(Recipe(layers=8, context=8192))
    async with running(made.path, threads=1, context=8192, kernels="numpy") as worker:
        await worker.kind(Ready)
        request = worker.client.chat([Message("user", "z" * 6000)], GREEDY)
        await worker.kind(PromptProgress, request)
        worker.client.cancel(request)
        finished = (await worker.kind(Finished, request)).event
        assert isinstance(finished, Finished)
        assert finished.reason == "cancelled"
        assert finished.generated_tokens == 0


async def test_what_does_not_fit_is_not_answered_but_told() -> None:
    async with running(model(Recipe()).path, threads=1, context=128) as worker:
        await worker.kind(Ready)
        turns = [Message("user" if i % 2 == 0 else "assistant", f"turn {i} " * 3) for i in range(9)]
        messages = [Message("system", "be brief"), *turns]
        request = worker.client.chat(messages, GREEDY, max_tokens=1)
        told = (await worker.kind(TooLong, request)).event
        assert isinstance(told, TooLong)
        assert told.room == 96
        assert told.messages > 0
        assert told.messages % 2 == 0  # a question goes together with its answer
        counts, least = [], set()
        for start in (0, told.messages - 2, told.messages):
            asked = worker.client.count([messages[0], *turns[start:]])
            counted = (await worker.kind(Counted, asked)).event
            assert isinstance(counted, Counted)
            assert counted.room == 96
            counts.append(counted.tokens)
            least.add(counted.least if counted.tokens > 96 else 0)
        assert least == {await _tokens(worker, [messages[0], turns[-1]]), 0}
        assert counts[0] == told.tokens > 96
        assert counts[1] > 0.75 * 96 >= counts[2]  # a little more than had to be: the next message fits too
        agreed = worker.client.chat([messages[0], *turns[told.messages :]], GREEDY, max_tokens=1)
        finished = (await worker.kind(Finished, agreed)).event
        assert isinstance(finished, Finished)
        assert finished.prompt_tokens == counts[2]


@pytest.mark.parametrize(
    ("context", "cure"), [(128, "start smallchat with a larger --context"), (512, "this model takes no more")]
)
async def test_a_message_that_is_too_long_alone_is_refused(context: int, cure: str) -> None:
    async with running(model(Recipe()).path, threads=1, context=context) as worker:
        await worker.kind(Ready)
        failed = (
            await worker.kind(Failed, worker.client.chat([Message("user", "word " * 3000)], GREEDY))
        ).event
        assert isinstance(failed, Failed)
        assert re.fullmatch(rf"This message has \d+,\d+ tokens, the context holds {context}", failed.what)
        assert cure in failed.cure


async def _tokens(worker: Listener, messages: list[Message]) -> int:
    counted = (await worker.kind(Counted, worker.client.count(messages))).event
    assert isinstance(counted, Counted)
    return counted.tokens


async def test_a_count_does_not_wait_for_the_answer() -> None:
    made = model(Recipe(layers=8, context=8192))
    async with running(made.path, threads=1, context=8192, kernels="numpy") as worker:
        await worker.kind(Ready)
        request = worker.client.chat([Message("user", "z" * 5000)], GREEDY, max_tokens=200)
        await worker.kind(PromptProgress, request)
        for number in range(3):
            asked = worker.client.count([Message("user", "x" * number)])
            await worker.kind(Counted, asked)
        assert not worker.of(Finished, request)
        await worker.kind(Finished, request)


async def test_pieces_do_not_wait_for_the_answer() -> None:
    async with running(model(Recipe(layers=8, context=8192)).path, threads=1, context=8192) as worker:
        await worker.kind(Ready)
        request = worker.client.chat([Message("user", "z" * 5000)], GREEDY, max_tokens=200)
        await worker.kind(PromptProgress, request)
        told = (await worker.kind(Pieces, worker.client.pieces("你好", []))).event
        assert isinstance(told, Pieces)
        assert list(told.ids) == [vocabulary().texts["你好"]]
        assert not worker.of(Finished, request)
        await worker.kind(Finished, request)


async def test_a_count_before_the_model_is_loaded_waits_for_it() -> None:
    async with running(model(Recipe()).path, threads=1) as worker:
        asked = worker.client.count(HELLO)
        counted = (await worker.kind(Counted, asked)).event
        assert isinstance(counted, Counted)
        assert counted.tokens > 0


async def test_an_answer_begins_with_the_tokens_it_is_given(tmp_path: Path) -> None:
    """Also in the middle of a character, and where one of them ends it."""
    words = vocabulary()
    end, half = words.special("<|im_end|>"), [words.tokens.index("ä"), words.tokens.index("½")]
    chain = [*words.ids("\nABC"), half[0], half[1], words.tokens.index("ł"), *words.ids("DE"), end]
    made = scripted(script(320, chain), tmp_path / "alphabet.gguf")
    async with running(made.path, threads=1) as worker:
        await worker.kind(Ready)
        for begun, text in (
            (words.ids("AB"), "ABC你DE"),
            ([*words.ids("ABC"), half[0]], "ABC你DE"),
            ([*words.ids("xyz"), words.tokens.index("D")], "xyzDE"),
            ([*words.ids("xyz"), end], "xyz"),
        ):
            request = worker.client.chat(HELLO, GREEDY, begun=begun)
            finished = (await worker.kind(Finished, request)).event
            assert isinstance(finished, Finished)
            assert finished.reason == "stop"
            assert "".join(token.text for token in worker.of(Token, request)) == text


async def test_alternatives_are_what_softmax_says_of_the_logits() -> None:
    made = model(Recipe())
    async with running(made.path, threads=1, kernels="numpy", kv="f32") as worker:
        await worker.kind(Ready)
        request = worker.client.chat(HELLO, GREEDY, max_tokens=3, alternatives=5)
        await worker.kind(Finished, request)
        tokens = worker.of(Token, request)
        # The second place, looked at afterwards, is the same.
        begun = [tokens[0].token_id]
        again = worker.client.chat(HELLO, GREEDY, max_tokens=1, begun=begun, alternatives=5)
        await worker.kind(Finished, again)
    assert worker.of(Token, again)[0].alternatives == tokens[1].alternatives
    with opened(made.path) as engine:
        prompt = engine.template.render([{"role": "user", "content": HELLO[0].content}], engine.tokenizer)
        ids = prompt + [token.token_id for token in tokens]
        logits = engine.logits(ids)[len(prompt) - 1 : -1].astype(np.float64)
    logits[:, made.vocabulary.fillers] = -np.inf
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for token, share in zip(tokens, shares, strict=True):
        assert [one.token_id for one in token.alternatives] == np.argsort(-share, kind="stable")[:5].tolist()
        told = [one.probability for one in token.alternatives]
        assert told == pytest.approx(np.sort(share)[:-6:-1].tolist(), rel=1e-3)
        assert token.alternatives[0].token_id == token.token_id


async def test_pieces_are_the_tokens_that_were_said_or_else_those_it_is_read_as() -> None:
    words = vocabulary()
    whole, apart = [words.texts["你好"]], [words.tokens.index(letter) for letter in "ä½łå¥½"]
    async with running(model(Recipe()).path, threads=1) as worker:
        await worker.kind(Ready)
        for ids, expected in (
            (apart, apart),
            ([], whole),
            ([5, 6], whole),
            ([-7], whole),
            ([1 << 30], whole),
        ):
            told = (await worker.kind(Pieces, worker.client.pieces("你好", ids))).event
            assert isinstance(told, Pieces)
            assert list(told.ids) == expected
            assert b"".join(told.pieces).decode() == "你好"


async def test_an_answer_in_other_tokens_than_its_text_is_read_as_is_not_read_again() -> None:
    """What was said letter by letter stays letter by letter in the next prompt."""
    words = vocabulary()
    ids = [words.tokens.index(letter) for letter in "ä½łå¥½"]
    async with running(model(Recipe()).path, threads=1) as worker:
        await worker.kind(Ready)
        reused = []
        for known in ((), tuple(ids)):
            first = worker.client.chat(HELLO, GREEDY, max_tokens=1, begun=ids)
            await worker.kind(Finished, first)
            messages = [*HELLO, Message("assistant", "你好", known), Message("user", "and?")]
            finished = (await worker.kind(Finished, worker.client.chat(messages, GREEDY, max_tokens=1))).event
            assert isinstance(finished, Finished)
            reused.append(finished.reused_tokens)
    assert reused[1] == reused[0] + len(ids)


async def test_a_message_larger_than_the_context_fails_with_words() -> None:
    async with running(model(Recipe()).path, threads=1, context=64) as worker:
        await worker.kind(Ready)
        request = worker.client.chat([Message("user", "word " * 100)], GREEDY)
        failed = (await worker.kind(Failed, request)).event
        assert isinstance(failed, Failed)
        assert failed.exit_code == ExitCode.CONTEXT
        assert "64" in failed.what
        await worker.kind(Finished, worker.client.chat(HELLO, GREEDY, max_tokens=1))


async def test_a_stopped_answer_is_continued_in_place(tmp_path: Path) -> None:
    words = vocabulary()
    end = words.special("<|im_end|>")
    chain = [*words.ids("\nABCDEFGHIJKL"), end]  # the template's last token is a line's end
    made = scripted(script(320, chain), tmp_path / "alphabet.gguf")
    async with running(made.path, threads=1) as worker:
        await worker.kind(Ready)
        whole = worker.client.chat(HELLO, GREEDY)
        await worker.kind(Finished, whole)
        assert "".join(token.text for token in worker.of(Token, whole)) == "ABCDEFGHIJKL"
        begun = [*HELLO, Message("assistant", "ABCDE")]
        rest = worker.client.chat(begun, GREEDY, resume=True)
        finished = (await worker.kind(Finished, rest)).event
        assert isinstance(finished, Finished)
        assert "".join(token.text for token in worker.of(Token, rest)) == "FGHIJKL"
        assert finished.reused_tokens >= finished.prompt_tokens - 1


async def test_nothing_is_imported_from_the_folder_that_the_user_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Worker, rank, reader and the templates' process all start with modules of these names."""
    for name in ("json", "queue", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path)
    made = model(Recipe(experts=16))
    async with running(made.path, threads=2, mem=little(made.path)) as worker:
        await worker.kind(Ready)
        finished = (await worker.kind(Finished, worker.client.chat(HELLO, GREEDY, max_tokens=2))).event
        assert isinstance(finished, Finished)
        assert finished.generated_tokens or finished.reason == "stop"


async def test_a_file_that_is_no_model_fails_and_another_can_be_loaded(tmp_path: Path) -> None:
    wrong = tmp_path / "notes.gguf"
    wrong.write_text("dear diary")
    async with running(wrong) as worker:
        failed = (await worker.kind(Failed)).event
        assert isinstance(failed, Failed)
        assert failed.exit_code == ExitCode.MODEL
        assert str(wrong) in failed.what
        await worker.client.start(LoadOptions(model(Recipe()).path, threads=1))
        again = Listener(worker.client)
        await again.kind(Ready)


async def test_a_killed_worker_is_told_once_and_can_be_started_again() -> None:
    made = model(Recipe())
    async with running(made.path, threads=1) as worker:
        await worker.kind(Ready)
        os.kill(child_of(worker.client), signal.SIGKILL)
        failed = (await worker.kind(Failed)).event
        assert isinstance(failed, Failed)
        assert failed.exit_code == ExitCode.ENGINE
        with pytest.raises(EngineError):
            worker.client.chat(HELLO, GREEDY)
        worker.client.cancel(1)  # nobody there: nothing happens
        await worker.client.start(LoadOptions(made.path, threads=1))
        await Listener(worker.client).kind(Ready)


@pytest.mark.skipif(sys.platform == "win32", reason="a file in use cannot be removed there")
async def test_an_engine_that_cannot_be_started_anew_is_told_once_and_another_can_be_loaded(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gone.gguf"
    path.write_bytes(model(Recipe(experts=16)).path.read_bytes())
    async with running(path, threads=2, mem=little(path)) as worker:
        await worker.kind(Ready)
        await worker.kind(Finished, worker.client.chat(HELLO, GREEDY, max_tokens=1))
        path.unlink()
        for child in psutil.Process(child_of(worker.client)).children():
            if "smallchat.engine.ranks.process" in child.cmdline():
                child.kill()
        worker.client.chat(HELLO, GREEDY, max_tokens=4)
        told = await worker.kind(Failed)
        assert told.request == 0  # there is no engine any more
        assert told.event.exit_code == ExitCode.MODEL
        assert f"{path} cannot be read" in told.event.what
        again = (await worker.kind(Failed, worker.client.chat(HELLO, GREEDY))).event
        assert isinstance(again, Failed)
        assert again.what == "No model is loaded"
        worker.client._send("load", path=str(model(Recipe()).path), threads=1)
        await worker.kind(Ready)
        assert len([e for e in worker.seen if isinstance(e.event, Failed)]) == 2


def test_what_fails_while_nothing_is_asked_is_told_and_another_model_can_be_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Loaded(BaseException):
        """Nothing is left to be looked at."""

    class Pipe(io.BytesIO):
        def write(self, line: bytes) -> int:  # type: ignore[override]
            written = super().write(line)
            if isinstance(parse(line).event, Ready) and parse(line).request == 2:
                raise Loaded
            return written

    pipe, path = Pipe(), model(Recipe(experts=16)).path
    worker = Worker(pipe)
    load = {"operation": "load", "path": str(path), "threads": 2}
    worker.serve(load | {"request": 1, "mem": little(path)})
    first = worker._engine
    assert first is not None
    first.experts.wish(range(8))
    monkeypatch.setattr(ReaderProcess, "ended", lambda _: True)
    monkeypatch.setattr("smallchat.experts.prefetch.RESTARTS", 0)
    worker._requests.put(load | {"request": 2})
    with pytest.raises(Loaded):
        worker.work()
    assert not first.running
    worker._engine.close()
    (failed,) = [e for e in map(parse, pipe.getvalue().splitlines()) if isinstance(e.event, Failed)]
    assert failed.request == 0
    assert failed.event.what == f"The process that reads {path} ends again and again"


async def test_closing_ends_the_process_and_says_nothing() -> None:
    async with running(model(Recipe()).path, threads=1) as worker:
        await worker.kind(Ready)
        pid = child_of(worker.client)
        await worker.client.close()
        assert not psutil.pid_exists(pid)
        async with asyncio.timeout(SECONDS):
            rest = [envelope async for envelope in worker._stream]
        assert not [envelope for envelope in rest if isinstance(envelope.event, Failed)]


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is for POSIX systems")
def test_the_worker_does_not_outlive_a_killed_app(home: Path) -> None:
    app = f"""
import asyncio, sys, time
from pathlib import Path
from smallchat.engine.client import LoadOptions, WorkerClient
async def main():
    client = WorkerClient()
    await client.start(LoadOptions(Path({str(model(Recipe()).path)!r}), threads=1))
    print(client._process.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", app], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        child.wait(SECONDS)


def test_nothing_but_events_reaches_standard_output_and_nonsense_is_ignored() -> None:
    lines = [
        b"not json",
        json.dumps({"request": 1, "operation": "dance"}).encode(),
        json.dumps({"request": 2, "operation": "chat", "messages": []}).encode(),
        json.dumps({"request": 3, "operation": "load", "path": str(model(Recipe()).path)}).encode(),
        json.dumps({"request": 4, "operation": "chat", "messages": 7, "sampling": {}}).encode(),
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "smallchat.engine.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n".join(lines) + b"\n")
        process.stdin.flush()
        seen: list[Envelope] = []
        while not (seen and seen[-1].request == 4):
            seen.append(parse(process.stdout.readline()))
        process.stdin.close()
        assert process.wait(SECONDS) == 0
    failures = {e.request: e.event for e in seen if isinstance(e.event, Failed)}
    assert set(failures) == {2, 4}
    assert "No model is loaded" in failures[2].what
    assert "Traceback" not in failures[4].what


LISTS = (
    Pieces((1, 2), (b"\xe4\xbd", b"\x00")),
    Token(5, "a", 1, 0.5, 1.5, alternatives=(Alternative(5, b"a", 0.75), Alternative(6, b"\xff", 0.25))),
)


STATE = Telemetry(
    *(Memory(1, 2, 3, 4, 10, None), 5, 64, 1, 2, b"\x00\x02", b"\xff\x00", 1.5, 2.5, 0.75),
    storage=Storage(1, 2, 3, 4, 5, 6.5),
    what_if=(Estimate(1, 0.5, 2.5), Estimate(2, 1.0, 3.5)),
)


def test_events_survive_the_wire() -> None:
    text = 'half "quotes" \x1b[31m 你好 \ud83d 🙂 \n'
    others = Failed("what", "cure", 3), TooLong(2, 30, 64), Resized(None), STATE
    for event in (Token(5, text, 0, 0.5, 1.5, "stop"), *others, *LISTS):
        line = dump(Envelope(7, event))
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert parse(line) == Envelope(7, event)


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[1]", b'{"request":1,"event":"Token","body":{}}', b'{"event":"Nope"}', b"\xff"]
)
def test_what_is_no_event_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match="not an engine event"):
        parse(line)
