"""The training loop. Its length is given in minutes: on a shared machine the clock is what is known.

Matrices are trained with Muon (momentum whose update is made orthogonal by a Newton-Schulz iteration): on a
budget of a few million tokens every step counts. Embedding, router and norms use AdamW.

Two processes of one thread each, which meet once a step to average their gradients, were half as fast again
as two threads, which meet in every product; and far better when something else wanted a core.
"""

from __future__ import annotations

# mypy: allow-subclassing-any, allow-untyped-decorators
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .copying import prepare
from .data import Windows, load
from .model import ModelConfig, SmallThinker

BALANCE = 0.04
WARMUP = 0.02
MATRIX_RATE, EMBEDDING_RATE, SMALL_RATE = 0.02, 0.02, 1.5e-3
DECAY = 0.1


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
        """One update of every parameter that has a gradient.

        Each rank makes its share of the parameters orthogonal and they exchange the results: that product is
        the one part of a step that would otherwise be done by every rank alike.
        """
        todo = [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]
        ranks = dist.get_world_size() if dist.is_initialized() else 1
        rank = dist.get_rank() if ranks > 1 else 0
        updates = torch.zeros(sum(p.numel() for _, p in todo))
        views = updates.split([p.numel() for _, p in todo])
        for i, (group, p) in enumerate(todo):
            average = self.state[p].setdefault("average", torch.zeros_like(p))
            average.lerp_(p.grad, 1 - group["momentum"])
            if i % ranks == rank:
                ahead = p.grad.lerp(average, group["momentum"])
                parts = [orthogonal(part) for part in ahead.chunk(group["split"], dim=-2)]
                views[i].copy_(torch.cat(parts, dim=-2).reshape(-1))
        if ranks > 1:
            dist.all_reduce(updates)
        for (group, p), update in zip(todo, views, strict=True):
            scale = max(1.0, p.shape[-2] / group["split"] / p.shape[-1]) ** 0.5
            p.mul_(1 - group["lr"] * DECAY).add_(update.view_as(p), alpha=-group["lr"] * scale)


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


def loss_of(model: SmallThinker, ids: Tensor, learned: Tensor) -> tuple[Tensor, Tensor]:
    """(mean cross-entropy over the learned tokens [], balance loss []) of ids [B, T].

    The head runs only where something is learned: it is a fifth of the cost otherwise.
    """
    hidden, balance = model(ids[:, :-1])
    wanted = learned[:, 1:]
    logits = F.linear(hidden[wanted], model.embedding)
    return F.cross_entropy(logits, ids[:, 1:][wanted]), balance


def batch_of(windows: Windows, rows: Any) -> tuple[Tensor, Tensor]:
    """Rows of the windows as tensors, int64 and bool [B, T]."""
    return torch.from_numpy(windows[0][rows].astype("int64")), torch.from_numpy(windows[1][rows])


@torch.no_grad()
def validate(model: SmallThinker, windows: Windows, rows: int = 48) -> float:
    """Mean loss over the first rows of held-out windows."""
    return sum(loss_of(model, *batch_of(windows, slice(i, i + 8)))[0].item() for i in range(0, rows, 8)) / (
        rows // 8
    )


@dataclass(frozen=True)
class Run:
    """What a training run is told: where its windows are, for how long to train on them, and how.

    begin and end are places in the schedule of learning rates (0 to 1), so that a run may be done in parts
    with windows of different lengths.
    """

    folder: Path
    length: int = 512
    minutes: float = 75.0
    tokens_a_step: int = 8192
    ranks: int = 2
    seed: int = 1
    start: Path | None = None
    peak: float = 1.0
    begin: float = 0.0
    end: float = 1.0


def average_over_ranks(model: SmallThinker, minutes: float) -> float:
    """Replace the gradients by their mean over the ranks; returns the mean of the ranks' clocks.

    The clock travels with the gradients so that all ranks agree on the learning rate and on the end.
    """
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([*(g.reshape(-1) for g in grads), torch.tensor([minutes])])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for g, mean in zip(grads, flat[:-1].split([g.numel() for g in grads]), strict=True):
        g.copy_(mean.view_as(g))
    return float(flat[-1])


def train(run: Run) -> None:
    """Train until the minutes are over; checkpoints and a log of figures go to the folder `run`."""
    with tempfile.TemporaryDirectory() as meeting:
        mp.spawn(_rank, (run, f"file://{meeting}/store"), run.ranks)  # type: ignore[no-untyped-call]


def _rank(rank: int, run: Run, meeting: str) -> None:
    torch.manual_seed(run.seed)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=run.ranks)
    windows, held = load(run.folder / f"train-{run.length}.npz"), load(run.folder / f"held-{run.length}.npz")
    out = run.folder / "run"
    out.mkdir(exist_ok=True)
    model = SmallThinker(ModelConfig())
    prepare(model)
    made = optimizers(model)
    step = tokens = 0
    if run.start is not None:
        saved = torch.load(run.start, weights_only=True)
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(made, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        step, tokens = saved["step"], saved["tokens"]
    generator = torch.Generator().manual_seed(run.seed + step)
    share = max(1, run.tokens_a_step // run.length // run.ranks)
    order = torch.randperm(len(windows[0]), generator=generator)
    at, gone, mean_loss = 0, 0.0, 0.0
    begun = saved_at = time.monotonic()
    while gone < run.minutes:
        if at + share * run.ranks > len(order):
            order, at = torch.randperm(len(windows[0]), generator=generator), 0
        mine = order[at + rank * share : at + (rank + 1) * share].numpy()
        at += share * run.ranks
        loss, balance = loss_of(model, *batch_of(windows, mine))
        (loss + BALANCE * balance).backward()  # type: ignore[no-untyped-call]
        gone = average_over_ranks(model, (time.monotonic() - begun) / 60)
        factor = rate(run.begin + (run.end - run.begin) * gone / run.minutes) * run.peak
        for optimizer in made:
            for group in optimizer.param_groups:
                group["lr"] = group["full"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step, tokens = step + 1, tokens + share * run.ranks * run.length
        mean_loss = loss.item() if not mean_loss else 0.95 * mean_loss + 0.05 * loss.item()
        if rank:
            continue
        if step % 20 == 0:
            figures = {
                "step": step,
                "minutes": round(gone, 2),
                "tokens": tokens,
                "loss": round(mean_loss, 4),
                "balance": round(balance.item(), 3),
            }
            if step % 200 == 0:
                figures["held_loss"] = round(validate(model, held), 4)
            _log(out, figures)
        if time.monotonic() - saved_at > 240:
            save(out / "last.pt", model, made, step, tokens)
            saved_at = time.monotonic()
    if rank == 0:
        save(out / "last.pt", model, made, step, tokens)
        _log(out, {"step": step, "tokens": tokens, "held_loss": round(validate(model, held), 4), "end": True})
    dist.destroy_process_group()


def _log(out: Path, figures: dict[str, Any]) -> None:
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        print(json.dumps(figures), file=log)


def save(path: Path, model: SmallThinker, made: list[torch.optim.Optimizer], step: int, tokens: int) -> None:
    """Write a checkpoint from which training can go on; whole or not at all."""
    fresh = path.with_suffix(".new")
    torch.save(
        {
            "config": model.config.to_dict(),
            "model": model.state_dict(),
            "optimizers": [o.state_dict() for o in made],
            "step": step,
            "tokens": tokens,
        },
        fresh,
    )
    fresh.replace(path)
