"""An `EngineClient` whose engine is a server that speaks OpenAI's chat interface: vLLM, llama.cpp, SGLang.

Off unless `--endpoint` is given; then what is said goes to that server and nowhere else. What it sends is
read in `smallchat.engine.replies`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from smallchat.engine.client import LoadOptions, Message, WorkerClient
from smallchat.engine.events import Envelope, Event, Failed, Loading, Ready
from smallchat.engine.replies import Answer, RefusedError, chunks, limited, refusal, whole
from smallchat.errors import EngineError, ExitCode
from smallchat.settings import BUILTIN, Sampling, UsageError
from smallchat.utf8 import encodable

CONNECT_SECONDS = 10.0
READ_SECONDS = 600.0
"""Longest silence of a server: it may have a long prompt to read."""


def checked(url: str) -> str:
    """`url` with the interface's path where it has none. Raises `UsageError`."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1)
    except ValueError:
        sound = False
    if not sound:
        raise UsageError(f"{url[:200]!r} is no address of a server", "Write it like http://127.0.0.1:8080/v1")
    return url.rstrip("/") + ("" if urlsplit(url).path.strip("/") else "/v1")


class EndpointClient:
    """Chats with a server. The model that smallchat ships, where it is asked for, still runs here."""

    def __init__(self, url: str, key: str | None = None, model: str | None = None) -> None:
        """`model`: which of the server's models; None: its first. Raises `UsageError`: address or key."""
        self.url = checked(url)
        if key and not (key.isascii() and key.isprintable()):
            what = "The key for the server holds characters that cannot be sent"
            raise UsageError(what, "Set SMALLCHAT_ENDPOINT_KEY to the key alone, in ASCII")
        self._host = urlsplit(self.url).netloc.rpartition("@")[2]
        self._key, self._wanted = key, None if model == BUILTIN else model
        self._model = ""
        self._context = 0
        self._worker: WorkerClient | None = None
        self._events: asyncio.Queue[Envelope | None] = asyncio.Queue()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._number = 0
        self._http: Any = None

    async def start(self, options: LoadOptions) -> None:
        """See `EngineClient.start`. Asks the server what it has."""
        await self.close()
        self._events = asyncio.Queue()
        if options.demo:
            self._worker = WorkerClient()
            await self._worker.start(options)
            return
        import httpx2

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        self._http = httpx2.AsyncClient(headers=headers, timeout=timeout)
        self._emit(0, Loading(f"Asking {self._host}"))
        self._tasks[0] = asyncio.create_task(self._guarded(0, self._ready()))

    async def events(self) -> AsyncIterator[Envelope]:
        """See `EngineClient.events`."""
        if self._worker is not None:
            async for envelope in self._worker.events():
                yield envelope
            return
        queue = self._events
        while (found := await queue.get()) is not None:
            yield found

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        max_tokens: int | None = None,
        resume: bool = False,
        begun: Sequence[int] = (),
        alternatives: int = 0,
        owner: int = 0,
    ) -> int:
        """See `EngineClient.chat`. The server cuts or refuses what does not fit. Raises `EngineError`."""
        if self._worker is not None:
            return self._worker.chat(messages, sampling, max_tokens, resume, begun, alternatives, owner)
        if begun or alternatives:
            raise _no_tokens()
        if self._http is None or not self._model:
            raise EngineError("No server is connected", "Connect to it again")
        self._number += 1
        number, seeded = self._number, sampling.seeded()
        body = self._body(messages, seeded, max_tokens, resume)
        answer = self._answer(number, body, seeded.seed or 0)
        self._tasks[number] = asyncio.create_task(self._guarded(number, answer))
        return number

    def cancel(self, request: int) -> None:
        """See `EngineClient.cancel`. The connection is closed, which ends the answer on the server too."""
        if self._worker is not None:
            self._worker.cancel(request)
        elif (task := self._tasks.get(request)) is not None:
            # A task that has not begun would end without a word: behind its first step, it tells of its end.
            asyncio.get_running_loop().call_soon(task.cancel)

    def count(self, messages: Sequence[Message]) -> int:
        """See `EngineClient.count`; but the interface has no such question: `Failed` follows."""
        if self._worker is not None:
            return self._worker.count(messages)
        self._number += 1
        self._emit(
            self._number, _failed(f"The server at {self._host} counts no tokens", "They are estimated")
        )
        return self._number

    def pieces(self, text: str, ids: Sequence[int]) -> int:
        """See `EngineClient.pieces`. Raises `EngineError`."""
        if self._worker is not None:
            return self._worker.pieces(text, ids)
        raise _no_tokens()

    def resize(self, mem: int | None) -> int:
        """See `EngineClient.resize`. Raises `EngineError`: a server's memory is its own."""
        if self._worker is not None:
            return self._worker.resize(mem)
        raise EngineError(f"The memory of {self._host} is not ours to set", "Set it there")

    async def close(self) -> None:
        """See `EngineClient.close`."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.close()
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        http, self._http, self._model = self._http, None, ""
        if http is not None:
            await http.aclose()
        self._events.put_nowait(None)

    def _emit(self, number: int, event: Event) -> None:
        self._events.put_nowait(Envelope(number, event))

    async def _guarded(self, number: int, work: Any) -> None:
        """Every fault of the server becomes an event."""
        import httpx2

        what = f"The server at {self._host}"
        try:
            await work
        except RefusedError as error:
            self._emit(number, _failed(f"{what} {error}", "Look at the server's own log"))
        except httpx2.ConnectError as error:
            cure = "Start it, or check the address given to --endpoint"
            self._emit(number, _failed(f"{what} does not answer ({error})", cure))
        except httpx2.TimeoutException:
            self._emit(number, _failed(f"{what} is silent", "Look at the server, then try again"))
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            self._emit(number, _failed(f"{what} broke off ({reason})", "Try again"))
        finally:
            self._tasks.pop(number, None)

    async def _ready(self) -> None:
        began = time.perf_counter()
        async with self._http.stream("GET", f"{self.url}/models") as response:
            raw = await limited(response)
            if response.status_code != 200:
                raise RefusedError(refusal(response.status_code, raw))
        try:
            models = [model for model in json.loads(raw)["data"] if isinstance(model["id"], str)]
        except (KeyError, TypeError, ValueError, RecursionError):
            raise RefusedError("does not speak OpenAI's interface: it lists no models") from None
        named = [model for model in models if self._wanted in (None, model["id"])]
        if not named:
            has = ", ".join(model["id"] for model in models[:8]) or "none"
            raise RefusedError(f"has no model {self._wanted or ''!r}; it has: {has}")
        self._model = named[0]["id"]
        self._context = _context(named[0])
        self._emit(
            0,
            Ready(
                path=self.url,
                name=self._model[:80],
                quantisation="",
                parameters=0,
                active_parameters=0,
                layers=0,
                experts=0,
                experts_used=0,
                hidden=0,
                context=self._context,
                model_context=self._context,
                kernels=f"at {self._host}",
                threads=0,
                budget=None,
                load_seconds=time.perf_counter() - began,
                demo=False,
            ),
        )

    def _body(
        self, messages: Sequence[Message], sampling: Sampling, max_tokens: int | None, resume: bool
    ) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": one.role, "content": encodable(one.content)} for one in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
        }
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        extras: dict[str, Any] = {"top_k": sampling.top_k, "min_p": sampling.min_p}
        if sampling.repeat_penalty != 1:
            # vLLM and SGLang call it so, llama.cpp the other way.
            extras |= dict.fromkeys(("repetition_penalty", "repeat_penalty"), sampling.repeat_penalty)
        if resume:
            extras |= {"continue_final_message": True, "add_generation_prompt": False}
        return body | {"extras": extras}

    async def _answer(self, number: int, body: dict[str, Any], seed: int) -> None:
        """One request, and a second one without what only some servers know."""
        extras = body.pop("extras")
        answer = Answer(seed, self._context)
        try:
            for sent in (body | extras, body):
                async with self._http.stream("POST", f"{self.url}/chat/completions", json=sent) as response:
                    if response.status_code in {400, 422} and sent is not body:
                        continue
                    if response.status_code != 200:
                        raise RefusedError(refusal(response.status_code, await limited(response)))
                    async for chunk in chunks(response):
                        for event in answer.take(chunk):
                            self._emit(number, event)
                    break
        except asyncio.CancelledError:
            answer.reason = "cancelled"
        for event in answer.end():
            self._emit(number, event)


def _context(model: Mapping[str, Any]) -> int:
    """Tokens that fit, where the server tells: vLLM's way, then llama.cpp's; else 0."""
    meta = model.get("meta")
    told = whole(model.get("max_model_len"), 0)
    return told or whole(meta.get("n_ctx_train") if isinstance(meta, dict) else None, 0)


def _failed(what: str, cure: str) -> Failed:
    return Failed(what, cure, int(ExitCode.HUB))


def _no_tokens() -> EngineError:
    return EngineError("A server does not tell of single tokens", "Use a model on this computer")
