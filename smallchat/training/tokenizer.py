"""The built-in model's tokenizer: byte-level BPE with the family's pre-tokenizer, and the chat format."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from .corpus import Message

PRE_TOKENIZER = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIALS = (END_OF_TEXT, TURN_START, TURN_END)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Encoded:
    """A conversation as ids, and which of them the model has to learn to write."""

    ids: list[int]
    learned: list[bool]


def train_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """Learn a vocabulary of `size` tokens: 256 bytes, merges, and the three specials as the last ids."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PRE_TOKENIZER), "isolated")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_only])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=2,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that must be there."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise KeyError(f"the tokenizer has no {token}")
    return int(found)


def prompt_text(messages: Iterable[Message]) -> str:
    """What the model reads before its answer, as the chat template renders it."""
    turns = "".join(f"{TURN_START}{m.role}\n{m.text}{TURN_END}\n" for m in messages)
    return f"{turns}{TURN_START}assistant\n"


def encode(tokenizer: Tokenizer, messages: list[Message]) -> Encoded:
    """A whole conversation, ended by `<|endoftext|>`; answers and their `<|im_end|>` are to be learned.

    An answer is encoded apart from the line before it, as it is when the model writes it after a prompt.
    """
    ids: list[int] = []
    learned: list[bool] = []

    def add(text: str, learn: bool) -> None:
        new = tokenizer.encode(text, add_special_tokens=False).ids
        ids.extend(new)
        learned.extend([learn] * len(new))

    between = ""
    for m in messages:
        if m.role == "assistant":
            add(f"{between}{TURN_START}assistant\n", False)
            add(m.text + TURN_END, True)
        else:
            add(f"{between}{TURN_START}{m.role}\n{m.text}{TURN_END}", False)
        between = "\n"
    add("\n" + END_OF_TEXT, False)
    return Encoded(ids, learned)
