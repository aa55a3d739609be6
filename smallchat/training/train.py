"""The training loop. Its length is given in minutes: on a lent or shared machine the clock is what is known.

Matrices are trained with Muon (momentum whose update is made orthogonal by a Newton-Schulz iteration).
Embedding, router and norms use AdamW. On a GPU products are bfloat16 on float32 weights, and each kind of
layer is compiled.
"""

from __future__ import annotations

# mypy: allow-subclassing-any, allow-untyped-decorators
import json
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from tokenizers import Tokenizer
from torch import Tensor

from .data import Stream, Windows, windows_of
from .model import ModelConfig, SmallThinker, documents
from .tokenizer import END_OF_TEXT, token_id

BALANCE = 0.02
WARMUP = 0.01
MATRIX_RATE, EMBEDDING_RATE, SMALL_RATE = 0.02, 0.01, 1.5e-3
DECAY = 0.1
HELD_SEED = 2_000_000_000


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """Matrices [..., m, n] with singular values pushed towards 1 by a quintic Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal, for parameters [m, n] or stacks [E, m, n].

    A group with `split` 2 holds parameters that are two matrices in one (gate and up projection).
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float = 0.95) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "split": 1})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One update of every parameter that has a gradient; those of one shape together."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[p.shape].append(p)
            for shape, params in alike.items():
                grads = [p.grad for p in params if p.grad is not None]
                averages = [self.state[p].setdefault("average", torch.zeros_like(p)) for p in params]
                torch._foreach_lerp_(averages, grads, 1 - group["momentum"])
                ahead = torch.stack(torch._foreach_lerp(grads, averages, group["momentum"]))
                *stack, m, n = shape
                split = group["split"]
                parts = ahead.view(len(params), *stack, split, m // split, n)
                updates = orthogonal(parts.bfloat16() if parts.is_cuda else parts).reshape(ahead.shape)
                scale = max(1.0, m / split / n) ** 0.5
                torch._foreach_mul_(params, 1 - group["lr"] * DECAY)
                torch._foreach_add_(params, list(updates.float().unbind()), alpha=-group["lr"] * scale)


def optimizers(model: SmallThinker) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for the rest."""
    single: list[torch.nn.Parameter] = []
    paired: list[torch.nn.Parameter] = []
    small: list[torch.nn.Parameter] = []
    for name, p in model.named_parameters():
        if name.endswith("gate_up"):
            paired.append(p)
        elif p.ndim >= 2 and not name.endswith(("router", "embedding")):
            single.append(p)
        elif name != "embedding":
            small.append(p)
    adam = torch.optim.AdamW(
        [{"params": [model.embedding], "lr": EMBEDDING_RATE}, {"params": small, "lr": SMALL_RATE}],
        betas=(0.9, 0.98),
        weight_decay=0.0,
        fused=model.embedding.is_cuda,
    )
    made: list[torch.optim.Optimizer] = [
        Muon([{"params": single}, {"params": paired, "split": 2}], MATRIX_RATE),
        adam,
    ]
    for optimizer in made:
        for group in optimizer.param_groups:
            group["full"] = group["lr"]
    return made


def rate(progress: float) -> float:
    """Share of the full learning rate: short warm-up, plateau, linear fall over the last 60 %."""
    if progress < WARMUP:
        return progress / WARMUP + 0.02
    return min(1.0, max(0.0, (1 - progress) / 0.6))


@dataclass(frozen=True)
class Batch:
    """Windows on the device: ids [B, T], their conversations [B, T], and what is to be learned.

    places [L]: positions in B * T whose next token is learned; targets [L]: those tokens.
    """

    ids: Tensor
    document: Tensor
    places: Tensor
    targets: Tensor


def batch_of(windows: Windows, end: int, device: torch.device) -> Batch:
    """Windows as a batch; `end` closes a conversation. What is learned is picked here, off the device."""
    ids = windows[0].astype(np.int32)
    learned = windows[1].copy()
    learned[:, 0] = False
    # The token before each learned one: never the last of a row, since the first of a row is not learned.
    places = np.flatnonzero(learned) - 1
    parts = [torch.from_numpy(part) for part in (ids, places, ids.reshape(-1)[places + 1])]
    if device.type == "cuda":
        parts = [part.pin_memory().to(device, non_blocking=True) for part in parts]
    return Batch(parts[0].long(), documents(parts[0], end), parts[1], parts[2].long())


def ahead(made: Callable[[], Batch], depth: int = 4) -> Iterator[Batch]:
    """Batches without end, made by a thread of its own while the ones before are computed with."""
    ready: queue.Queue[Batch | Exception] = queue.Queue(depth)

    def work() -> None:
        try:
            while True:
                ready.put(made())
        except Exception as error:
            ready.put(error)

    threading.Thread(target=work, daemon=True).start()
    while True:
        batch = ready.get()
        if isinstance(batch, Exception):
            raise batch
        yield batch


def loss_of(model: SmallThinker, batch: Batch) -> tuple[Tensor, Tensor]:
    """(mean cross-entropy over the learned tokens [], balance loss []).

    The head runs only where something is learned: it is a good part of the cost otherwise.
    """
    with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=batch.ids.is_cuda):
        hidden, balance = model(batch.ids, batch.document)
        logits = F.linear(hidden.flatten(0, 1).index_select(0, batch.places), model.embedding)
        return F.cross_entropy(logits.float(), batch.targets), balance


@dataclass(frozen=True)
class Run:
    """What a training run is told: where its tokenizer is, for how long to train, and how."""

    folder: Path
    config: ModelConfig
    length: int = 2048
    minutes: float = 9.0
    tokens_a_step: int = 65536
    seed: int = 1
    device: str = "cpu"
    workers: int = 2
    start: Path | None = None
    """A checkpoint whose weights to go on from."""
    peak: float = 1.0
    """Factor on all learning rates."""
    passages: float = 1.0
    """How often notes are among the conversations, see `corpus.mix`."""


def train(run: Run) -> None:
    """Train until the minutes are over; checkpoints and a log of figures go to the folder `run`."""
    begun = time.monotonic()
    path = run.folder / "tokenizer.json"
    stream = Stream(path, run.length, run.seed, run.workers, run.passages)
    try:
        _train(run, stream, Tokenizer.from_file(str(path)), begun)
    finally:
        stream.close()


def _train(run: Run, stream: Stream, tokenizer: Tokenizer, begun: float) -> None:
    torch.manual_seed(run.seed)
    device, end = torch.device(run.device), token_id(tokenizer, END_OF_TEXT)
    out = run.folder / "run"
    out.mkdir(exist_ok=True)
    model = SmallThinker(run.config).to(device)
    step = tokens = 0
    if run.start is not None:
        before = torch.load(run.start, weights_only=True)
        model.load_state_dict(before["model"])
        step, tokens = before["step"], before["tokens"]
    if device.type == "cuda":
        for block in model.blocks:
            block.compile(dynamic=False)
    made = optimizers(model)
    rows = max(1, run.tokens_a_step // run.length)
    held_ids, held_learned = windows_of(tokenizer, HELD_SEED, 64 * rows, run.length)
    held = batch_of((held_ids[:rows], held_learned[:rows]), end, device)
    saved, losses = begun, torch.zeros((), device=device)
    for batch in ahead(lambda: batch_of(stream.draw(rows), end, device)):
        gone = (time.monotonic() - begun) / 60
        loss, balance = loss_of(model, batch)
        (loss + BALANCE * balance).backward()  # type: ignore[no-untyped-call]
        for optimizer in made:
            for group in optimizer.param_groups:
                group["lr"] = group["full"] * rate(min(1.0, gone / run.minutes)) * run.peak
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step, tokens = step + 1, tokens + rows * run.length
        losses += loss.detach()
        if step % 20 == 0:
            figures = {
                "step": step,
                "minutes": round(gone, 2),
                "tokens": tokens,
                "made": stream.made * run.length,
                "loss": round(losses.item() / 20, 4),
                "balance": round(balance.item(), 3),
            }
            losses.zero_()
            if step % 200 == 0:
                figures["held_loss"] = round(loss_of(model, held)[0].item(), 4)
            _log(out, figures)
        if time.monotonic() - saved > 120:
            save(out / "last.pt", model, step, tokens)
            saved = time.monotonic()
        if gone >= run.minutes:
            break
    save(out / "last.pt", model, step, tokens)
    _log(out, {"step": step, "held_loss": round(loss_of(model, held)[0].item(), 4), "end": True})


def _log(out: Path, figures: dict[str, Any]) -> None:
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        print(json.dumps(figures), file=log)


def save(path: Path, model: SmallThinker, step: int, tokens: int) -> None:
    """Write a checkpoint; whole or not at all."""
    fresh = path.with_suffix(".new")
    weights = {name: p.detach().cpu() for name, p in model.state_dict().items()}
    torch.save({"config": model.config.to_dict(), "model": weights, "step": step, "tokens": tokens}, fresh)
    fresh.replace(path)
