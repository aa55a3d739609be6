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


@pytest.fixture(scope="module")
def tiny():
    torch = pytest.importorskip("torch")
    from smallchat.training.model import ModelConfig, SmallThinker

    torch.manual_seed(1)
    config = ModelConfig(
        vocab=512, layers=5, d=64, heads=4, kv_heads=2, head_size=16, experts=4, chosen=2, ff=32, window=8,
        context=64,
    )  # fmt: skip
    return SmallThinker(config).eval()


def test_a_conversation_sees_nothing_of_the_one_before(tiny):
    import torch

    from smallchat.training.model import documents

    torch.manual_seed(4)
    one, two = torch.randint(0, 500, (1, 21)), torch.randint(0, 500, (1, 17))
    end = torch.full((1, 1), 511)
    both = torch.cat((one, end, two, end), dim=1)
    with torch.no_grad():
        packed, _ = tiny(both, documents(both, 511))
        alone, _ = tiny(two)
    torch.testing.assert_close(packed[:, 22:-1], alone, atol=1e-4, rtol=1e-4)


def test_a_window_and_the_future_are_out_of_sight(tiny):
    import torch

    from smallchat.training.model import masks

    seen, near = masks(torch.zeros(1, 20, dtype=torch.long), 8, blocks=False)
    distance = torch.arange(20)[:, None] - torch.arange(20)[None, :]
    assert torch.equal(seen[0, 0], distance >= 0)
    assert torch.equal(near[0, 0], (distance >= 0) & (distance < 8))


def test_the_blocks_of_a_gpu_are_those_of_the_mask(tiny):
    import torch

    from smallchat.training.model import BLOCK, documents, masks

    ids = torch.zeros(2, 8 * BLOCK, dtype=torch.long)
    ids[0, [100, 300, 301, 900]] = 1
    ids[1, [5, 640, 1000]] = 1
    document = documents(ids, 1)
    for window in (300, 8 * BLOCK):
        for dense, blocks in zip(masks(document, window, False), masks(document, window, True), strict=True):
            pooled = dense[:, 0].view(2, 8, BLOCK, 8, BLOCK)
            assert torch.equal(blocks.to_dense()[:, 0].bool(), pooled.any(4).any(2))
            whole = blocks.full_kv_num_blocks[:, 0]
            assert torch.equal(whole, pooled.all(4).all(2).sum(-1).int())


@pytest.mark.parametrize("way", ["_all", "_chosen"])
def test_experts_give_the_sum_of_the_chosen(tiny, way):
    import torch

    experts = tiny.blocks[0].experts
    torch.manual_seed(5)
    x, b = torch.randn(2, 9, 64).unbind()
    with torch.no_grad():
        experts.down.normal_(std=0.1)
        weights, balance = experts.route(x)
        top, ids = torch.nn.functional.linear(x, experts.router).topk(2)
        mixed = getattr(experts, way)(b, weights)
        for row in range(9):
            wanted = torch.zeros(64)
            for weight, e in zip(top[row].softmax(0), ids[row], strict=True):
                gate, up = (experts.gate_up[e] @ b[row]).chunk(2)
                wanted += weight * (experts.down[e] @ (gate.relu() * up))
            torch.testing.assert_close(mixed[row], wanted, atol=1e-5, rtol=1e-4)
    assert ((weights > 0).sum(1) == 2).all()
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

    from smallchat.training.train import batch_of, loss_of, optimizers

    model = copy.deepcopy(tiny).train()
    torch.manual_seed(6)
    ids = np.random.default_rng(6).integers(0, 511, (2, 24)).astype(np.uint16)
    batch = batch_of((ids, np.ones_like(ids, dtype=np.bool_)), 511, torch.device("cpu"))
    made = optimizers(model)
    losses = []
    for _ in range(8):
        loss, balance = loss_of(model, batch)
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


def test_a_batch_holds_what_is_to_be_learned():
    torch = pytest.importorskip("torch")
    from smallchat.training.train import batch_of

    rng = np.random.default_rng(7)
    ids, learned = rng.integers(0, 50, (3, 40)).astype(np.uint16), rng.random((3, 40)) < 0.3
    batch = batch_of((ids, learned), 49, torch.device("cpu"))
    wanted = torch.from_numpy(learned[:, 1:])
    assert torch.equal(batch.targets, torch.from_numpy(ids.astype(np.int64))[:, 1:][wanted])
    assert torch.equal(batch.places, torch.arange(120).view(3, 40)[:, :-1][wanted])


def test_a_run_writes_a_checkpoint_that_smallchat_reads_as_torch_does(tokenizer, tmp_path):
    """The whole recipe in small; the exported file's logits are those of the checkpoint."""
    torch = pytest.importorskip("torch")
    import json

    from smallchat.training.export import export
    from smallchat.training.model import ModelConfig, SmallThinker
    from smallchat.training.train import Run, train
    from tests.support.engines import opened

    config = ModelConfig(
        vocab=512, layers=5, d=64, heads=4, kv_heads=2, head_size=16, experts=4, chosen=2, ff=32, window=16,
        context=128,
    )  # fmt: skip
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    train(Run(tmp_path, config, length=128, minutes=0.05, tokens_a_step=512, workers=1))
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert last["end"] and last["step"] >= 1
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert saved["tokens"] == last["step"] * 512
    model = SmallThinker(ModelConfig(**saved["config"])).eval()
    model.load_state_dict(saved["model"])
    export(tmp_path / "run" / "last.pt", tmp_path / "tokenizer.json", tmp_path / "x.gguf", quantized=False)
    ids = tokenizer.encode(prompt_text([Message("user", "How do I rename a conversation? " * 3)])).ids
    assert len(ids) > config.window
    with torch.no_grad():
        wanted = model.logits(torch.tensor([ids]))[0].numpy()
    with opened(tmp_path / "x.gguf", kernels="numpy", kv="f32") as engine:
        np.testing.assert_allclose(engine.logits(ids), wanted, atol=2e-3, rtol=1e-3)


def test_windows_come_from_processes_of_their_own(tokenizer, tmp_path):
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    stream = data.Stream(tmp_path / "tokenizer.json", 256, seed=1, workers=1, kept=500)
    try:
        ids, learned = stream.draw(8)
    finally:
        stream.close()
    assert ids.shape == learned.shape == (8, 256)
    assert stream.made >= 32
    assert learned.any()
    assert not np.array_equal(ids[0], ids[1])
