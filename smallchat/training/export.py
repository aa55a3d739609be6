"""The trained model as a GGUF file that any reader of the architecture loads.

Weights are Q8_0, norms and routers float32: a router decides between experts, and a rounding there would swap
one expert for another. Rows are multiples of 32 wide, as Q8_0 asks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, LlamaFileType, TokenType
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .model import ModelConfig
from .tokenizer import CHAT_TEMPLATE, END_OF_TEXT, SPECIALS, TURN_END, token_id

DESCRIPTION = (
    "The demonstration model built into smallchat: a few million parameters, English only, trained from "
    "scratch on text made by the project. It makes mistakes."
)


def tensors(config: ModelConfig, state: dict[str, torch.Tensor]) -> dict[str, NDArray[np.float32]]:
    """The model's arrays float32 under their GGUF names, the joined ones split again."""
    queries, keys = config.heads * config.head_size, config.kv_heads * config.head_size
    arrays = {"token_embd.weight": state["embedding"], "output_norm.weight": state["norm"]}
    for i in range(config.layers):
        ours, theirs = f"blocks.{i}.", f"blk.{i}."
        q, k, v = state[ours + "attention.qkv"].split((queries, keys, keys))
        gate, up = state[ours + "experts.gate_up"].split(config.ff, dim=1)
        arrays |= {
            theirs + "attn_norm.weight": state[ours + "attn_norm"],
            theirs + "ffn_norm.weight": state[ours + "ffn_norm"],
            theirs + "attn_q.weight": q,
            theirs + "attn_k.weight": k,
            theirs + "attn_v.weight": v,
            theirs + "attn_output.weight": state[ours + "attention.out"],
            theirs + "ffn_gate_inp.weight": state[ours + "experts.router"],
            theirs + "ffn_gate_exps.weight": gate,
            theirs + "ffn_up_exps.weight": up,
            theirs + "ffn_down_exps.weight": state[ours + "experts.down"],
        }
    return {name: np.ascontiguousarray(array.float().numpy()) for name, array in arrays.items()}


def vocabulary(tokenizer: Tokenizer) -> tuple[list[str], list[int], list[str]]:
    """(tokens, their types, merges) in the order of their ids."""
    known = tokenizer.get_vocab(with_added_tokens=True)
    tokens = sorted(known, key=known.__getitem__)
    types = [int(TokenType.CONTROL if token in SPECIALS else TokenType.NORMAL) for token in tokens]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return tokens, types, [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]


def _header(writer: Any, config: ModelConfig, tokenizer: Tokenizer, quantized: bool) -> None:
    writer.add_name("smallchat demo")
    writer.add_description(DESCRIPTION)
    writer.add_license("apache-2.0")
    writer.add_languages(["en"])
    writer.add_file_type(int(LlamaFileType.MOSTLY_Q8_0 if quantized else LlamaFileType.ALL_F32))
    writer.add_quantization_version(2)
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.d)
    writer.add_feed_forward_length(config.ff)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_size)
    writer.add_value_length(config.head_size)
    writer.add_layer_norm_rms_eps(config.eps)
    writer.add_rope_dimension_count(config.head_size)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_sliding_window(config.window)
    writer.add_expert_count(config.experts)
    writer.add_expert_used_count(config.chosen)
    writer.add_expert_feed_forward_length(config.ff)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SOFTMAX)
    tokens, types, merges = vocabulary(tokenizer)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(token_id(tokenizer, TURN_END))
    writer.add_bos_token_id(token_id(tokenizer, END_OF_TEXT))
    writer.add_pad_token_id(token_id(tokenizer, END_OF_TEXT))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def export(checkpoint: Path, tokenizer: Path, out: Path, *, quantized: bool = True) -> None:
    """Write a checkpoint as GGUF."""
    saved = torch.load(checkpoint, weights_only=True)
    config = ModelConfig(**saved["config"])
    writer = gguf.GGUFWriter(out, "smallthinker")
    _header(writer, config, Tokenizer.from_file(str(tokenizer)), quantized)
    for name, array in tensors(config, saved["model"]).items():
        if quantized and array.ndim > 1 and not name.endswith("ffn_gate_inp.weight"):
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
