"""A server of OpenAI's interface as the engine: real HTTP, the same events, and no trust in what it sends."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from smallchat import paths
from smallchat.engine.client import LoadOptions, Message
from smallchat.engine.endpoint import EndpointClient, checked
from smallchat.engine.events import Envelope, Event, Failed, Finished, Loading, Ready, Telemetry, Token
from smallchat.errors import EngineError, ExitCode
from smallchat.settings import Sampling, Settings, UsageError, load
from smallchat.tui.app import SmallchatApp
from tests.support.chat_server import ChatServer, serving
from tests.tui.running import Running

SAY = [Message("system", "Be brief."), Message("user", "Hello")]
OPTIONS = LoadOptions(Path("unused"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        yield running


class Connected:
    """A client, and its events one by one."""

    def __init__(self, client: EndpointClient) -> None:
        self.client = client
        self._events: AsyncIterator[Envelope] = client.events()

    async def next(self) -> Envelope:
        return await asyncio.wait_for(anext(self._events), 10)

    async def answer(self, **options: object) -> list[Event]:
        """Everything up to the end of an answer."""
        number = self.client.chat(SAY, Sampling(seed=5), **options)  # type: ignore[arg-type]
        seen: list[Event] = []
        while not seen or not isinstance(seen[-1], Finished | Failed):
            envelope = await self.next()
            assert envelope.request == number
            seen.append(envelope.event)
        return seen


async def connected(url: str, *arguments: str | None, ready: bool = True) -> Connected:
    client = EndpointClient(url, *arguments)
    await client.start(OPTIONS)
    connection = Connected(client)
    assert isinstance((await connection.next()).event, Loading)
    if ready:
        assert isinstance((await connection.next()).event, Ready)
    return connection


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


async def failure(connection: Connected) -> str:
    event = (await connection.next()).event
    assert isinstance(event, Failed)
    return f"{event.what}. {event.cure}"


async def test_an_answer_comes_as_the_same_events_as_from_a_model_here(server: ChatServer) -> None:
    connection = await connected(server.url)
    events = await connection.answer(max_tokens=40)
    assert text(events) == "Hello 你好"
    tokens = [event for event in events if isinstance(event, Token)]
    assert [token.index for token in tokens] == [0, 1, 2]
    telemetry = [event for event in events if isinstance(event, Telemetry)][-1]
    assert (telemetry.context_used, telemetry.context) == (16, 9000)
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.seed, finished.prompt_tokens, finished.generated_tokens) == (
        "stop",
        5,
        11,
        5,
    )
    (asked,) = server.requests
    assert asked["model"] == "Qwen/big"
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]
    assert (asked["temperature"], asked["top_p"], asked["top_k"], asked["seed"]) == (0.6, 0.95, 20, 5)
    assert (asked["max_tokens"], asked["stream"]) == (40, True)
    assert server.keys == [None]
    await connection.client.close()


async def test_a_key_and_a_model_are_chosen(server: ChatServer) -> None:
    server.models.append({"id": "other", "meta": {"n_ctx_train": 123}})
    connection = await connected(server.url, "secret", "other", ready=False)
    ready = (await connection.next()).event
    assert isinstance(ready, Ready)
    assert (ready.name, ready.context) == ("other", 123)
    assert server.keys == ["Bearer secret"]
    await connection.client.close()
    missing = await connected(server.url, None, "third", ready=False)
    assert "it has: Qwen/big, other" in await failure(missing)
    await missing.client.close()


async def test_a_server_that_knows_only_openais_own_settings_is_asked_again_without_the_others(
    server: ChatServer,
) -> None:
    server.strict = True
    connection = await connected(server.url)
    assert text(await connection.answer()) == "Hello 你好"
    assert ["top_k" in request for request in server.requests] == [True, False]
    await connection.client.close()


async def test_llama_cpps_own_timings_are_shown(server: ChatServer) -> None:
    server.tail = [{"choices": [], "timings": {"prompt_per_second": 812.5, "predicted_per_second": 33.2}}]
    server.finish = "length"
    connection = await connected(server.url)
    events = await connection.answer()
    telemetry = [event for event in events if isinstance(event, Telemetry)][-1]
    assert (telemetry.prompt_speed, telemetry.decode_speed) == (812, 33)
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "length"
    assert events[-1].generated_tokens == 3  # counted by pieces where the server counts nothing
    await connection.client.close()


async def test_cancelling_closes_the_connection_and_keeps_what_came(server: ChatServer) -> None:
    server.gate = threading.Event()
    connection = await connected(server.url)
    number = connection.client.chat(SAY, Sampling())
    first = (await connection.next()).event
    assert isinstance(first, Token)
    connection.client.cancel(number)
    while not isinstance(event := (await connection.next()).event, Finished):
        pass
    assert event.reason == "cancelled"
    assert await asyncio.to_thread(server.gone.wait, 10)
    server.gate = None
    assert text(await connection.answer()) == "Hello 你好"
    await connection.client.close()


async def test_that_a_server_counts_no_tokens_is_said_at_once(server: ChatServer) -> None:
    connection = await connected(server.url)
    number = connection.client.count(SAY)
    answered = await connection.next()
    assert (answered.request, type(answered.event)) == (number, Failed)
    await connection.client.close()


async def test_an_answer_that_is_cancelled_before_it_begins_ends_too(server: ChatServer) -> None:
    connection = await connected(server.url)
    number = connection.client.chat(SAY, Sampling())
    connection.client.cancel(number)
    while not isinstance(event := (await connection.next()).event, Finished):
        pass
    assert event.reason == "cancelled"
    await asyncio.wait_for(asyncio.gather(*connection.client._tasks.values()), 10)
    assert connection.client._tasks == {}
    assert text(await connection.answer()) == "Hello 你好"
    await connection.client.close()


async def test_what_is_no_text_is_sent_as_far_as_it_can_be(server: ChatServer) -> None:
    connection = await connected(server.url)
    connection.client.chat([Message("user", "Hel\udcfflo")], Sampling())
    while not isinstance((await connection.next()).event, Finished):
        pass
    assert server.requests[0]["messages"] == [{"role": "user", "content": "Hel?lo"}]
    await connection.client.close()


REFUSALS = {
    "key": (401, b"", "SMALLCHAT_ENDPOINT_KEY"),
    "busy": (503, b'{"error": {"message": "loading"}}', "503: loading"),
    "nonsense": (500, b"[" * 100_000, "error 500"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refusal_fails_the_answer_and_the_server_stays_connected(
    server: ChatServer, case: str
) -> None:
    connection = await connected(server.url)
    server.status, server.error, words = REFUSALS[case]
    failed = (await connection.answer())[-1]
    assert isinstance(failed, Failed)
    assert words in f"{failed.what}. {failed.cure}"
    server.status = 200
    assert text(await connection.answer()) == "Hello 你好"
    await connection.client.close()


async def test_a_connection_that_breaks_off_keeps_what_came(server: ChatServer) -> None:
    server.cut = True
    connection = await connected(server.url)
    events = await connection.answer()
    assert text(events) == "Hel"
    assert isinstance(events[-1], Failed)
    await connection.client.close()


async def test_a_stream_that_ends_before_the_answer_does_is_told(server: ChatServer) -> None:
    half = b'data: {"choices": [{"delta": {"content": "Half a"}, "finish_reason": null}]}\n\n'
    server.raw = [half]
    connection = await connected(server.url)
    events = await connection.answer()
    assert text(events) == "Half a"
    assert isinstance(events[-1], Failed)
    assert "ended the answer early" in events[-1].what
    for reason in ("stop", "length"):
        server.raw = [half, f'data: {{"choices": [{{"finish_reason": "{reason}"}}]}}\n\n'.encode()]
        end = (await connection.answer())[-1]
        assert isinstance(end, Finished) and end.reason == reason
    await connection.client.close()


HOSTILE = {
    "no json": ([b"data: {\n\ndata: nix\n\n", b"data: 7\n\n"], ""),
    "wrong shapes": ([b'data: {"choices": 5}\n\ndata: {"choices": [{"delta": []}], "usage": "x"}\n\n'], ""),
    "split in a character": ([b'data: {"choices":[{"delta":{"content":"\xe4\xbd', b'\xa0"}}]}\n\n'], "你"),
    "deep": ([b"data: " + b"[" * 200_000 + b"\n\n"], ""),
    "no stream": ([b"hello"], ""),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_nonsense_is_passed_over(server: ChatServer, case: str) -> None:
    pieces, said = HOSTILE[case]
    server.raw = [*pieces, b"\n\ndata: [DONE]\n\n"]
    connection = await connected(server.url)
    events = await connection.answer()
    assert text(events) == said
    assert isinstance(events[-1], Finished)
    await connection.client.close()


async def test_a_line_without_an_end_is_not_collected_for_ever(server: ChatServer) -> None:
    server.raw = [b"data: " + b"x" * (1 << 19)] * 8
    connection = await connected(server.url)
    failed = (await connection.answer())[-1]
    assert isinstance(failed, Failed)
    assert "without an end" in failed.what
    await connection.client.close()


async def test_an_error_in_the_stream_is_told(server: ChatServer) -> None:
    server.raw = [b'data: {"error": {"message": "out of memory"}}\n\n']
    connection = await connected(server.url)
    failed = (await connection.answer())[-1]
    assert isinstance(failed, Failed)
    assert "out of memory" in failed.what
    await connection.client.close()


async def test_a_server_that_is_not_there_or_is_none(server: ChatServer) -> None:
    with serving() as gone:
        url = gone.url
    connection = await connected(url, ready=False)
    assert "does not answer" in await failure(connection)
    with pytest.raises(EngineError):
        connection.client.chat(SAY, Sampling())
    await connection.client.close()
    server.models = [{"name": "x"}]
    other = await connected(server.url, ready=False)
    assert "lists no models" in await failure(other)
    await other.client.close()
    server.listed = b'{"data": ' + b"[" * 200_000
    nested = await connected(server.url, ready=False)
    assert "lists no models" in await failure(nested)
    await nested.client.close()


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://x", "http://", "http://x:99999", "http://[::1"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError, match="http"):
        checked(url)


@pytest.mark.parametrize("key", ["schlüssel", "secret\n", "\udcff"])
def test_a_key_that_no_header_can_carry_is_told_and_not_shown(key: str) -> None:
    with pytest.raises(UsageError, match="SMALLCHAT_ENDPOINT_KEY") as told:
        EndpointClient("http://127.0.0.1:1", key)
    assert key not in str(told.value)


def test_an_address_gets_the_interfaces_path() -> None:
    assert checked("http://127.0.0.1:8080") == "http://127.0.0.1:8080/v1"
    assert checked("https://host/api/v1/") == "https://host/api/v1"


def test_the_endpoint_is_a_setting_and_off_unless_asked_for() -> None:
    assert load({}, {}).endpoint is None
    assert load({"endpoint": "http://x"}, {"SMALLCHAT_ENDPOINT_KEY": "k"}).endpoint_key == "k"


def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "smallchat", "ask", *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


def test_ask_prints_the_answer_of_a_server(server: ChatServer) -> None:
    done = ask("--endpoint", server.url, "Hello")
    assert (done.returncode, done.stdout) == (ExitCode.OK, "Hello 你好\n"), done.stderr
    told = json.loads(ask("--endpoint", server.url, "--json", "--system", "Be brief.", "Hello").stdout)
    assert (told["answer"], told["model"], told["generated_tokens"]) == ("Hello 你好", "Qwen/big", 5)
    assert server.requests[-1]["messages"][0] == {"role": "system", "content": "Be brief."}
    server.status = 503
    refused = ask("--endpoint", server.url, "Hello")
    assert refused.returncode == ExitCode.HUB
    assert refused.stderr.count("\n") == 1
    assert ask("--endpoint", "nix", "Hello").returncode == ExitCode.USAGE


async def test_the_app_chats_with_a_server_and_keeps_the_conversation(server: ChatServer) -> None:
    client = EndpointClient(server.url)
    settings = Settings(endpoint=server.url)
    app = SmallchatApp(settings, OPTIONS, client, paths.conversations())
    app.CLOSE_TIMEOUT = None
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        run = Running(app, None, pilot)  # type: ignore[arg-type]
        await run.shows("Qwen/big · at 127.0.0.1")
        await run.type("Hello")
        await pilot.press("enter")
        await run.shows("Hello 你好", "16 of 9,000")
        await run.until(lambda: not run.chat.dialogue.busy)
        assert run.stored()[-1] == ("assistant", "Hello 你好", "complete")
        assert await asyncio.wait_for(run.chat.dialogue.measure("x" * 90, alone=True), 5) == 30
        await run.settle()
        run.chat.clock.stop()
    assert app.faults == []


async def test_where_the_server_is_gone_the_built_in_model_can_be_taken(server: ChatServer) -> None:
    with serving() as gone:
        client = EndpointClient(gone.url)
    app = SmallchatApp(Settings(endpoint="http://x"), OPTIONS, client, paths.conversations())
    app.CLOSE_TIMEOUT = None
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        run = Running(app, None, pilot)  # type: ignore[arg-type]
        await run.shows("does not answer", "Use the built-in model")
        await pilot.click("#builtin")
        await run.until(lambda: run.chat.dialogue.ready is not None and run.chat.dialogue.ready.demo, 30)
        await run.settle()
        run.chat.clock.stop()
    assert app.faults == []
