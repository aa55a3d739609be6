"""Tokenizer, packing, the PyTorch model, one step of training, and the exported file."""

import random

import numpy as np
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from smallchat.training import data
from smallchat.training.corpus import Message, conversations
from smallchat.training.tokenizer import (
    CHAT_TEMPLATE,
    END_OF_TEXT,
    SPECIALS,
    TURN_END,
    encode,
    prompt_text,
    token_id,
    train_tokenizer,
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer((m.text for messages in conversations(1, 400) for m in messages), 512)


def test_vocabulary_is_full_and_its_specials_are_last(tokenizer):
    assert tokenizer.get_vocab_size() == 512
    assert [token_id(tokenizer, special) for special in SPECIALS] == [509, 510, 511]
    with pytest.raises(KeyError, match="nowhere"):
        token_id(tokenizer, "<|nowhere|>")


@pytest.mark.parametrize(
    "text", ["Hello, world", "12+7 = 19\n\n\tx", "naïve café 你好 🎈", "a\r\nb  c", "don't I'VE", ""]
)
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_every_byte_has_a_token(tokenizer):
    rng = random.Random(1)
    for _ in range(50):
        text = "".join(
            chr(rng.choice((rng.randrange(32, 0xD800), rng.randrange(0xE000, 0x110000)))) for _ in range(20)
        )
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_digits_are_single_tokens(tokenizer):
    assert len(tokenizer.encode("1000000", add_special_tokens=False).ids) == 7


def test_template_renders_what_training_read():
    messages = [
        Message("system", "Be short."),
        Message("user", "hello"),
        Message("assistant", "Hi!"),
        Message("user", "bye"),
    ]
    template = ImmutableSandboxedEnvironment().from_string(CHAT_TEMPLATE)
    plain = [{"role": m.role, "content": m.text} for m in messages]
    assert template.render(messages=plain, add_generation_prompt=True) == prompt_text(messages)
    assert "system" not in template.render(messages=plain[1:2], add_generation_prompt=True)


def test_a_prompt_is_encoded_as_in_training(tokenizer):
    for messages in conversations(2, 50):
        whole = encode(tokenizer, messages).ids
        until = max(i for i, m in enumerate(messages) if m.role == "assistant")
        prompt = tokenizer.encode(prompt_text(messages[:until]), add_special_tokens=False).ids
        assert whole[: len(prompt)] == prompt


def test_what_is_learned_is_the_answers_and_their_ends(tokenizer):
    messages = [
        Message("user", "hello"),
        Message("assistant", "Hi there."),
        Message("user", "x"),
        Message("assistant", "Y."),
    ]
    encoded = encode(tokenizer, messages)
    learned = [token for token, learn in zip(encoded.ids, encoded.learned, strict=True) if learn]
    assert tokenizer.decode(learned, skip_special_tokens=False) == f"Hi there.{TURN_END}Y.{TURN_END}"


def test_packing_keeps_conversations_whole(tokenizer):
    end = token_id(tokenizer, END_OF_TEXT)
    encoded = list(data.encoded_corpus(tokenizer, 3, 60))
    ids, learned = data.pack(encoded, 2048, end)
    packed = sorted(
        [*piece, end]
        for row in ids.tolist()
        for piece in [list(map(int, part.split())) for part in " ".join(map(str, row)).split(f" {end}")]
        if piece
    )
    assert packed == sorted(item.ids for item in encoded)
    assert learned.sum() == sum(sum(item.learned) for item in encoded)


def test_windows_are_saved_and_read(tokenizer, tmp_path):
    windows = data.pack(data.encoded_corpus(tokenizer, 3, 20), 256, token_id(tokenizer, END_OF_TEXT))
    data.save(tmp_path / "w.npz", windows)
    for before, after in zip(windows, data.load(tmp_path / "w.npz"), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.fixture(scope="module")
def tiny():
    torch = pytest.importorskip("torch")
    from smallchat.training.model import ModelConfig, SmallThinker

    torch.manual_seed(1)
    config = ModelConfig(
        vocab=512, layers=5, d=64, heads=4, kv_heads=2, head_size=16, experts=4, ff=32, window=8, context=64
    )
    return SmallThinker(config).eval()


def test_windowed_attention_is_the_masked_product(tiny):
    import torch
    import torch.nn.functional as F  # noqa: N812

    from smallchat.training.model import windowed

    q, k, v = torch.randn(3, 2, 3, 37, 16).unbind()
    distance = torch.arange(37)[:, None] - torch.arange(37)[None, :]
    wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=(distance >= 0) & (distance < 8))
    torch.testing.assert_close(windowed(q, k, v, 8), wanted)


def test_logits_in_pieces_are_logits_at_once(tiny):
    import torch

    ids = torch.randint(0, 512, (1, 40))
    past = [[] for _ in range(tiny.config.layers)]
    with torch.no_grad():
        pieces = torch.cat([tiny.logits(part, past) for part in ids.split((13, 1, 1, 25), dim=1)], dim=1)
        torch.testing.assert_close(pieces, tiny.logits(ids), atol=1e-4, rtol=1e-4)


def test_experts_give_the_sum_of_the_chosen(tiny):
    import torch

    experts = tiny.blocks[0].experts
    x, b = torch.randn(2, 9, 64).unbind()
    with torch.no_grad():
        weights, ids, balance = experts.route(x)
        mixed = experts(b, weights, ids)
        for row in range(9):
            wanted = torch.zeros(64)
            for weight, e in zip(weights[row], ids[row], strict=True):
                gate, up = (experts.gate_up[e] @ b[row]).chunk(2)
                wanted += weight * (experts.down[e] @ (gate.relu() * up))
            torch.testing.assert_close(mixed[row], wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(weights.sum(1), torch.ones(9))
    assert balance > 0.5


def test_newton_schulz_makes_orthogonal():
    torch = pytest.importorskip("torch")
    from smallchat.training.train import orthogonal

    torch.manual_seed(2)
    values = torch.linalg.svdvals(orthogonal(torch.randn(3, 40, 24)))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_few_steps_lower_the_loss(tiny):
    import copy

    import torch

    from smallchat.training.train import loss_of, optimizers

    model = copy.deepcopy(tiny).train()
    ids = torch.randint(0, 512, (2, 24))
    made = optimizers(model)
    losses = []
    for _ in range(8):
        loss, balance = loss_of(model, ids, torch.ones_like(ids, dtype=torch.bool))
        (loss + 0.01 * balance).backward()
        for optimizer in made:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5, losses


def test_rate_rises_and_falls_to_nothing():
    pytest.importorskip("torch")
    from smallchat.training.train import rate

    assert rate(0.0) < 0.1
    assert rate(0.3) == 1.0
    assert rate(0.7) == pytest.approx(0.5)
    assert rate(1.0) == 0.0


@pytest.mark.parametrize("quantized", [False, True])
def test_exported_file_holds_the_model(tiny, tokenizer, tmp_path, quantized):
    import gguf
    import torch

    from smallchat.training.export import export, tensors

    torch.save({"config": tiny.config.to_dict(), "model": tiny.state_dict()}, tmp_path / "x.pt")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    export(tmp_path / "x.pt", tmp_path / "tokenizer.json", tmp_path / "x.gguf", quantized=quantized)
    reader = gguf.GGUFReader(tmp_path / "x.gguf")
    wanted = tensors(tiny.config, tiny.state_dict())
    assert {t.name for t in reader.tensors} == set(wanted)
    assert "output.weight" not in wanted
    assert wanted["blk.1.ffn_down_exps.weight"].shape == (4, 64, 32)
    for tensor in reader.tensors:
        ours = wanted[tensor.name]
        theirs = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(ours.shape)
        exact = not quantized or ours.ndim == 1 or tensor.name.endswith("ffn_gate_inp.weight")
        np.testing.assert_allclose(theirs, ours, atol=0 if exact else np.abs(ours).max() / 120)
    assert reader.fields["general.architecture"].contents() == "smallthinker"
    assert reader.fields["smallthinker.attention.sliding_window"].contents() == 8
    assert reader.fields["tokenizer.ggml.eos_token_id"].contents() == token_id(tokenizer, TURN_END)
    assert reader.fields["tokenizer.ggml.token_type"].contents()[-3:] == [3, 3, 3]


def test_a_prepared_start_finds_what_came_after_a_word_before():
    torch = pytest.importorskip("torch")
    from smallchat.training.copying import prepare
    from smallchat.training.model import ModelConfig, SmallThinker

    def after_a_repeat(prepared):
        torch.manual_seed(3)
        model = SmallThinker(ModelConfig(vocab=512))
        if prepared:
            prepare(model)
        piece = torch.randint(0, 512, (4, 12))
        with torch.no_grad():
            logits = model.logits(piece.repeat(1, 2)[:, :-1])[:, 12:]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), piece[:, 1:].flatten()).item()

    assert after_a_repeat(True) < after_a_repeat(False) - 2


def test_drills_learn_only_what_was_said_before():
    ids, learned = data.drills(1, 4, 256, 500)
    assert ids.max() < 500
    assert 0.4 < learned.mean() < 0.8
    for row, teaches in zip(ids.tolist(), learned.tolist(), strict=True):
        for at in (i for i, teach in enumerate(teaches) if teach):
            assert any(row[back] == row[at] and row[back - 1] == row[at - 1] for back in range(1, at))
