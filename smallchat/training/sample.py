"""Greedy answers of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer

from .corpus import Message
from .model import ModelConfig, SmallThinker
from .tokenizer import END_OF_TEXT, TURN_END, prompt_text, token_id


class Speaker:
    """A trained model and its tokenizer, ready to answer."""

    def __init__(self, checkpoint: Path, tokenizer: Path) -> None:
        saved = torch.load(checkpoint, weights_only=True)
        self.model = SmallThinker(ModelConfig(**saved["config"]))
        self.model.load_state_dict(saved["model"])
        self.model.eval()
        self.step, self.tokens = int(saved["step"]), int(saved["tokens"])
        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.stops = {token_id(self.tokenizer, TURN_END), token_id(self.tokenizer, END_OF_TEXT)}

    def answer(self, messages: Iterable[Message], limit: int = 120) -> str:
        """The most likely answer, token by token, to the end of the turn or to `limit` tokens."""
        ids = self.tokenizer.encode(prompt_text(messages), add_special_tokens=False).ids
        past: list[list[torch.Tensor]] = [[] for _ in range(self.model.config.layers)]
        written: list[int] = []
        with torch.no_grad():
            row = torch.tensor([ids])
            while len(written) < limit and len(ids) + len(written) < self.model.config.context:
                best = int(self.model.logits(row, past)[0, -1].argmax())
                if best in self.stops:
                    break
                written.append(best)
                row = torch.tensor([[best]])
        return str(self.tokenizer.decode(written))

    def reply(self, text: str) -> str:
        """The answer to one message."""
        return self.answer([Message("user", text)])
