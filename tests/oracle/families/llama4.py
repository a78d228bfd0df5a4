# SPDX-License-Identifier: Apache-2.0
"""Llama 4, the text model: chunks of positions, layers without positions, weights on the experts' input.

Source: huggingface/transformers at 000c33fd, src/transformers/models/llama4/modeling_llama4.py;
configuration_llama4.py at 008e5743 (defaults of no_rope_layers, moe_layers).
"""
import math

import rotary
import shapes
from case import Case
from decoder import Decoder
from families.official import product
from plain import rms_norm, scaled, sigmoid, silu, times


def turns(c):
    """Which layers have positions: a list of 0 and 1, or every fourth has none."""
    return c["no_rope_layers"] or [int((i + 1) % 4 != 0) for i in range(c["num_hidden_layers"])]


def routed(c, i):
    return (i + 1) % c["interleave_moe_layer_step"] == 0


class Llama4(Decoder):
    def __init__(self, config, tensors):
        super().__init__(config["text_config"], tensors)

    def prepare(self):
        super().prepare()
        self.rotary = rotary.of_config(self.c, self.head, interleaved=True)

    def w(self, name):
        return super().w("language_model." + name)

    def visible(self, i, query, key):
        chunk = self.c["attention_chunk_size"]
        return not turns(self.c)[i] or query // chunk == key // chunk

    def qkv(self, i, x):
        c, positions = self.c, turns(self.c)[i]
        self.turned = (lambda rows: Decoder.turned(self, rows)) if positions else (lambda rows: rows)
        q, k, v = super().qkv(i, x)
        if positions and c["use_qk_norm"]:
            q, k = ([[rms_norm(head, None, self.eps) for head in row] for row in rows] for rows in (q, k))
        if not positions and c["attn_temperature_tuning"]:
            q = [[scaled(head, 1 + c["attn_scale"] * math.log1p((s + 1) // c["floor_scale"])) for head in row]
                 for s, row in enumerate(q)]
        return q, k, v

    def mlp(self, i, row):
        p = f"model.layers.{i}.feed_forward."
        return self.moe(i, p, row) if routed(self.c, i) else self.gated(p, row)

    def router(self, i, p, row):
        return self.linear(p + "router", row)

    def route(self, i, p, logits):
        chosen = self.top(logits, self.c["num_experts_per_tok"])
        return chosen, [sigmoid(logits[e]) for e in chosen]

    def weighed(self, p, e, row, weight):
        return self.expert(p, e, scaled(row, weight))

    def expert(self, p, e, row):
        both = product(row, self.w(p + "experts.gate_up_proj")[e])
        half = len(both) // 2
        return product(times([silu(g) for g in both[:half]], both[half:]), self.w(p + "experts.down_proj")[e])

    def always(self, p, row):
        return [self.gated(p + "shared_expert.", row)]


def tensors(config):
    c = config["text_config"]

    def network(p, i):
        hidden, width, count = c["hidden_size"], c["intermediate_size"], c["num_local_experts"]
        p += "feed_forward."
        if not routed(c, i):
            return shapes.gated(p, hidden, c["intermediate_size_mlp"])
        return (shapes.router(p + "router.weight", count, hidden)
                + [(p + "experts.gate_up_proj", [count, hidden, 2 * width], "in_out", 1.5),
                   (p + "experts.down_proj", [count, width, hidden], "in_out")]
                + shapes.gated(p + "shared_expert.", hidden, width))
    out = shapes.decoder(c, lambda p, i: shapes.heads(p + "self_attn.", c), network)
    return [("language_model." + name, *rest) for name, *rest in out]


TEXT = {"model_type": "llama4_text", "attention_bias": False, "attention_chunk_size": 5, "attn_scale": 0.5,
        "attn_temperature_tuning": True, "floor_scale": 3, "head_dim": 8, "hidden_act": "silu", "hidden_size": 24,
        "interleave_moe_layer_step": 1, "intermediate_size": 8, "intermediate_size_mlp": 20,
        "max_position_embeddings": 256, "no_rope_layers": [], "num_attention_heads": 4, "num_key_value_heads": 2,
        "num_experts_per_tok": 1, "num_hidden_layers": 4, "num_local_experts": 6, "rms_norm_eps": 1e-5,
        "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                         "original_max_position_embeddings": 64, "rope_type": "llama3"},
        "rope_theta": 10000.0, "use_qk_norm": True, "vocab_size": 64, "torch_dtype": "float32",
        "bos_token_id": 1, "eos_token_id": [2, 3], "pad_token_id": 0}
OUTER = {"architectures": ["Llama4ForConditionalGeneration"], "model_type": "llama4",
         "tie_word_embeddings": False, "torch_dtype": "float32"}
SCOUT = OUTER | {"text_config": TEXT}
MAVERICK = OUTER | {"text_config": TEXT | {
    "interleave_moe_layer_step": 2, "use_qk_norm": False, "rope_scaling": None, "num_local_experts": 8,
    "no_rope_layers": [1, 0, 1, 1], "attn_temperature_tuning": False}}
SOURCE = "huggingface/transformers 000c33fd modeling_llama4.py"
CASES = [Case("llama4-scout-tiny", SOURCE, Llama4, SCOUT, tensors, 2, length=13,
         matters=tuple(("text_config." + key, value) for key, value in (
             ("attention_chunk_size", 99), ("floor_scale", 99), ("use_qk_norm", False), ("rope_scaling", None),
             ("no_rope_layers", [1, 1, 1, 1]), ("attn_temperature_tuning", False)))),
         Case("llama4-maverick-tiny", SOURCE, Llama4, MAVERICK, tensors, 4, length=13,
         matters=tuple(("text_config." + key, value) for key, value in (
             ("attention_chunk_size", 99), ("use_qk_norm", True), ("no_rope_layers", []))))]
