# SPDX-License-Identifier: Apache-2.0
"""Grok-1: a norm before and after each half of a layer, capped scores, multipliers, tied table.

Source: xai-org/grok-1 at 1a0ba385, model.py. Names are its parameter tree's, matrices [in, out]. It has no
config.json; the keys are those of the conversion that hpcai-tech published (Grok1Config).
"""
import math

import rotary
from case import Case
from decoder import Decoder, softmax_top
from families.official import product
from plain import add, dot, gelu_tanh, rms_norm, scaled, split, times
from shapes import PEAKED


class Grok1(Decoder):
    embedding = "language_model/in_out_embed/embeddings"

    def prepare(self):
        c = self.c
        self.head = c["hidden_size"] // c["num_attention_heads"]
        self.rotary = rotary.Rotary(rotary.plain(10000, self.head))

    def norm(self, name, row):
        return rms_norm(row, self.w(name + "/scale"), 1e-5)

    def product(self, name, row):
        return product(row, self.w(name + "/w"))

    def window(self, i):
        return None

    def embed(self, ids):
        return [scaled(row, self.c["embedding_multiplier_scale"]) for row in super().embed(ids)]

    def final_norm(self, x):
        return [self.norm("language_model/rms_norm", row) for row in x]

    def head_logits(self, row):
        return [dot(row, other) * self.c["output_multiplier_scale"] for other in self.w(self.embedding)]

    def layer(self, i, x):
        p = f"language_model/decoder_layer_{i}/"
        a = self.attention(i, [self.norm(p + "rms_norm", row) for row in x])
        a = [self.norm(p + "rms_norm_1", row) for row in a]
        self.note(f"layer.{i}.attn_out", a)
        h = [add(r, s) for r, s in zip(x, a)]
        u = [self.norm(p + "rms_norm_2", row) for row in h]
        self.note(f"layer.{i}.mlp_in", u)
        y = [self.norm(p + "rms_norm_3", self.moe(i, p, row)) for row in u]
        self.note(f"layer.{i}.mlp_out", y)
        return [add(r, s) for r, s in zip(h, y)]

    def attention(self, i, x):
        p = f"language_model/decoder_layer_{i}/multi_head_attention/"
        q, k, v = ([split(self.product(p + n, row), self.head) for row in x] for n in ("query", "key", "value"))
        mixed = self.attend(i, self.turned(q), self.turned(k), v, self.c["attn_output_multiplier"])
        return [self.product(p + "linear", row) for row in mixed]

    def capped(self, score):
        cap = self.c["max_attn_value"]
        return cap * math.tanh(score / cap)

    def router(self, i, p, row):
        return self.product(p + "router", row)

    def route(self, i, p, logits):
        return softmax_top(self, logits, self.c["num_experts_per_tok"], False)

    def expert(self, p, e, row):
        gate, up, down = (self.w(f"{p}moe/{n}/w")[e] for n in ("linear", "linear_v", "linear_1"))
        return product(times([gelu_tanh(g) for g in product(row, gate)], product(row, up)), down)


def tensors(c):
    hidden, width, count = c["hidden_size"], c["intermediate_size"], c["num_experts"]
    kv = hidden // c["num_attention_heads"] * c["num_key_value_heads"]
    out = [("language_model/in_out_embed/embeddings", [c["vocab_size"], hidden], "wide", 0.5)]
    for i in range(c["num_hidden_layers"]):
        p = f"language_model/decoder_layer_{i}/"
        out += [(p + n + "/scale", [hidden], "norm") for n in ("rms_norm", "rms_norm_1", "rms_norm_2", "rms_norm_3")]
        out += [(f"{p}multi_head_attention/{n}/w", [hidden, size], "in_out", PEAKED)
                for n, size in (("query", hidden), ("key", kv), ("value", kv), ("linear", hidden))]
        out += [(p + "router/w", [hidden, count], "in_out", PEAKED),
                (p + "moe/linear/w", [count, hidden, width], "in_out", 1.5),
                (p + "moe/linear_v/w", [count, hidden, width], "in_out", 1.5),
                (p + "moe/linear_1/w", [count, width, hidden], "in_out")]
    return out + [("language_model/rms_norm/scale", [hidden], "norm")]


CONFIG = {"architectures": ["Grok1ModelForCausalLM"], "model_type": "grok-1", "hidden_size": 32,
          "intermediate_size": 10, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "num_experts": 8, "num_experts_per_tok": 2, "attn_output_multiplier": 0.6, "max_attn_value": 2.0,
          "embedding_multiplier_scale": 1.5, "output_multiplier_scale": 0.57735, "rms_norm_eps": 1e-5,
          "max_position_embeddings": 256, "vocab_size": 64, "tie_word_embeddings": True, "torch_dtype": "float32",
          "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
CASES = [Case("grok1-tiny", "xai-org/grok-1 1a0ba385 model.py", Grok1, CONFIG, tensors, 1, avoid=(0,),
         matters=(("max_attn_value", 1e9), ("embedding_multiplier_scale", 1), ("output_multiplier_scale", 1),
                  ("attn_output_multiplier", 0.35)))]
