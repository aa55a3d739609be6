"""What the engine tells: plain records, and their one form as JSON lines between two processes.

Seconds are wall-clock, sizes are bytes, ids are token ids. Nothing here knows of a screen.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any, Literal

FinishReason = Literal["stop", "length", "context", "cancelled"]

ON_DISK, IN_MEMORY, USED, READING = 0, 1, 2, 3
"""States of one expert in `Telemetry.experts`: to be read from disk, in memory, used by the last token, being
read."""

HEAT_FULL = 0.5
"""Share of recent tokens from which `Telemetry.heat` is greatest. The scale is fixed: two looks compare."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that the model considered."""

    token_id: int
    piece: bytes
    """What it stands for; it may be a part of a character."""
    probability: float
    """At temperature 1, before anything is cut off."""


@dataclass(frozen=True, slots=True)
class Token:
    """One step of decoding.

    `text` is what became readable by this token: empty while a character is incomplete, and for special
    tokens. The last event of a generation carries `finish`: with "stop" its `token_id` is the end-of-turn
    token, which is not part of the answer.
    """

    token_id: int
    text: str
    index: int
    """0 for the first token of the answer."""
    seconds: float
    """Time this token took; for the first one, from the end of the prompt."""
    elapsed: float
    """Time since `generate` was called."""
    finish: FinishReason | None = None
    compute_seconds: float = 0.0
    """Part of `seconds` that the decoder computed."""
    wait_seconds: float = 0.0
    """… that it waited for experts to be read; what remains is sampling, text and the rest."""
    alternatives: tuple[Alternative, ...] = ()
    """The most likely tokens in this place, best first, where they were asked for."""


@dataclass(frozen=True, slots=True)
class Loading:
    """The worker is opening a model: `stage` in a few plain words."""

    stage: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded."""

    path: str
    name: str
    quantisation: str
    """Type that most of the weights have, as "Q4_0"."""
    parameters: int
    """All weights, and those that one token uses."""
    active_parameters: int
    layers: int
    experts: int
    experts_used: int
    hidden: int
    context: int
    """Tokens that fit: the smaller of what was asked for and what the model was made for."""
    model_context: int
    kernels: str
    """What really computes, as "ggml (avx2)" or "numpy"."""
    threads: int
    budget: int | None
    """Memory budget in bytes; None: no limit."""
    load_seconds: float
    demo: bool
    """True for the model that smallchat ships: a demonstration."""
    notes: tuple[str, ...] = ()
    """Things the user should know, each one sentence (as "ggml does not load here, NumPy computes")."""

    @property
    def takes_more(self) -> bool:
        """The model could be loaded with a larger context."""
        return self.context < self.model_context


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """`done` of `total` prompt tokens are read; the first `reused` of them were still in the KV cache."""

    done: int
    total: int
    reused: int
    seconds: float

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far; None: nothing is read yet."""
        read = self.done - self.reused
        return (self.total - self.done) * self.seconds / read if read and self.seconds else None


@dataclass(frozen=True, slots=True)
class TooLong:
    """The conversation does not fit, and was not answered: the user is to be asked."""

    messages: int
    """So many of its oldest messages would have to be left out."""
    tokens: int
    """Of the whole conversation."""
    room: int
    """Tokens that a prompt may have; the rest of the context is for the answer."""


@dataclass(frozen=True, slots=True)
class Finished:
    """An answer ended."""

    reason: FinishReason
    seed: int
    prompt_tokens: int
    reused_tokens: int
    generated_tokens: int
    prompt_seconds: float
    decode_seconds: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by use, for the worker's process. `total` is what the system counts for it (PSS where known)."""

    weights: int
    experts: int
    kv: int
    rest: int
    total: int
    budget: int | None


@dataclass(frozen=True, slots=True)
class Storage:
    """What the expert cache did since load; all counts only grow."""

    hits: int
    """Uses of experts that were in memory when their layer began."""
    misses: int
    guesses_right: int
    """Experts read ahead on a guess that the layer guessed for then used."""
    guesses_wrong: int
    read_bytes: int
    read_speed: float
    """Bytes a second of the disk while it read, lately; 0 before the first read."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What another budget would give, from the trace of this session."""

    budget: int
    """Bytes, of everything."""
    hit_rate: float
    tokens_per_second: float
    """0: not known yet."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The state of the engine, a few times a second while it works and whenever it changed."""

    memory: Memory
    context_used: int
    context: int
    layers: int
    expert_count: int
    experts: bytes
    """One byte an expert, layer by layer: `ON_DISK`, `READING`, `IN_MEMORY` or `USED`."""
    heat: bytes
    """One byte an expert: 0 never used, else 1..255, growing with its share of recent tokens."""
    prompt_speed: float
    """Tokens a second of the prompt now read or read last; 0 before the first."""
    decode_speed: float
    """Tokens a second over the last second or so of decoding; 0 before the first."""
    hit_rate: float | None
    """Share of expert uses that needed no read, since load; None where the system does the paging."""
    storage: Storage | None = None
    """None where the system does the paging."""
    neuron_sparsity: float | None = None
    """Share of the neurons of used experts that were zero; None: not measured."""
    what_if: tuple[Estimate, ...] = ()
    """Smallest budget first; empty until enough tokens were decoded."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Answer to a `count` request: tokens of these messages as a prompt."""

    tokens: int
    room: int
    """Tokens that a prompt may have."""
    least: int
    """Tokens without all the messages that can be left out."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Answer to a `pieces` request: the tokens of an answer, and the bytes that each stands for."""

    ids: tuple[int, ...]
    pieces: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Resized:
    """Another memory budget is in force, in bytes; None: no limit."""

    budget: int | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A request, or the load, failed. `what` and `cure` are for the user."""

    what: str
    cure: str
    exit_code: int


Event = (
    Token
    | Loading
    | Ready
    | PromptProgress
    | TooLong
    | Finished
    | Telemetry
    | Counted
    | Pieces
    | Resized
    | Failed
)

_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Token,
        Loading,
        Ready,
        PromptProgress,
        TooLong,
        Finished,
        Telemetry,
        Counted,
        Pieces,
        Resized,
        Failed,
    )
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event and the request (a number the client chose; 0: none) that it belongs to."""

    request: int
    event: Event = field(repr=True)


def dump(envelope: Envelope) -> bytes:
    """One line of JSON, ending in a newline."""
    event = envelope.event
    line = {"request": envelope.request, "event": type(event).__name__, "body": event}
    return _ENCODER.encode(line).encode("ascii") + b"\n"


def _plain(value: Any) -> Any:
    """What JSON has for bytes, or for a record. (`asdict` copies all that is in it: four times as slow.)"""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return {name: getattr(value, name) for name in value.__slots__}


_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), default=_plain)


def parse(line: bytes) -> Envelope:
    """The inverse of `dump`. Raises `ValueError` where the line is not one of ours."""
    try:
        raw = json.loads(line)
        kind = _KINDS[raw["event"]]
        body: dict[str, Any] = raw["body"]
        if kind is Telemetry:
            body["memory"] = Memory(**body["memory"])
            body["experts"] = base64.b64decode(body["experts"])
            body["heat"] = base64.b64decode(body["heat"])
            storage = body["storage"]
            body["storage"] = storage and Storage(**storage)
            body["what_if"] = tuple(Estimate(**one) for one in body["what_if"])
        if kind is Token:
            body["alternatives"] = tuple(
                Alternative(**one | {"piece": base64.b64decode(one["piece"])}) for one in body["alternatives"]
            )
        if kind is Pieces:
            body = {"ids": tuple(body["ids"]), "pieces": tuple(map(base64.b64decode, body["pieces"]))}
        if kind is Ready:
            body["notes"] = tuple(body["notes"])
        return Envelope(int(raw["request"]), kind(**body))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not an engine event: {line[:80]!r}") from error
