# SPDX-License-Identifier: Apache-2.0
"""GRIN-MoE and Phi-3.5-MoE: layer norms, biases everywhere, two experts chosen one after the other.

Source: huggingface/transformers at 008f5c8c, src/transformers/models/phimoe/modeling_phimoe.py;
configuration_phimoe.py at 040e1a7e. longrope: one set of factors up to the original context and another for
every position of a longer sequence.
"""
import math

import rotary
import shapes
from case import Case
from decoder import Decoder
from families.official import EXPERT_W
from plain import layer_norm, softmax


class Phimoe(Decoder):
    def forward(self, ids):
        scaling = self.c["rope_scaling"]
        if scaling:
            size = "long" if len(ids) > scaling["original_max_position_embeddings"] else "short"
            frequencies = [f / by for f, by in zip(rotary.plain(self.c["rope_theta"], self.head),
                                                   scaling[size + "_factor"], strict=True)]
            self.rotary = rotary.Rotary(frequencies, scaling[size + "_mscale"])
        return super().forward(ids)

    def prepare(self):
        c = self.c
        self.heads, self.kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        self.head = c["hidden_size"] // self.heads
        self.rotary = rotary.Rotary(rotary.plain(c["rope_theta"], self.head))

    def norm(self, name, row):
        return layer_norm(row, self.w(name + ".weight"), self.w(name + ".bias"), self.eps)

    def mlp(self, i, row):
        return self.moe(i, f"model.layers.{i}.block_sparse_moe.", row)

    def route(self, i, p, logits):
        """Of those within 2 eps of the best: its share. Then the same without it."""
        limit, left, chosen, weights = 2 * self.c["router_jitter_noise"], list(logits), [], []
        for _ in range(2):
            first = self.top(left, 1)[0]
            m = logits[first]
            far = [(m - z) / max(abs(z), m) for z in logits]
            self.gaps += [abs(distance - limit) for e, distance in enumerate(far) if e != first]
            kept = softmax([z if distance <= limit else -math.inf for z, distance in zip(left, far)])
            chosen.append(first)
            weights.append(kept[first])
            left[first] = -math.inf
        return chosen, weights

    def expert(self, p, e, row):
        return self.gated(f"{p}experts.{e}.", row, EXPERT_W)


def tensors(c):
    def mixer(p, i):
        return [(p + n + ".bias", [c["hidden_size"]]) for n in ("input_layernorm", "post_attention_layernorm")
                ] + shapes.heads(p + "self_attn.", c, c["attention_bias"], c["attention_bias"])

    def network(p, i):
        p += "block_sparse_moe."
        return (shapes.router(p + "gate.weight", c["num_local_experts"], c["hidden_size"])
                + shapes.experts(p, c["num_local_experts"], c["hidden_size"], c["intermediate_size"], EXPERT_W))
    return shapes.decoder(c, mixer, network) + [("model.norm.bias", [c["hidden_size"]]),
                                                ("lm_head.bias", [c["vocab_size"]])]


SHORT = {"type": "longrope", "short_factor": [1.0, 1.05, 1.2, 1.7], "long_factor": [1.3, 2.5, 6.0, 11.0],
         "short_mscale": 1.25, "long_mscale": 1.25, "original_max_position_embeddings": 32}
PHI = {"architectures": ["PhiMoEForCausalLM"], "model_type": "phimoe", "attention_bias": True, "lm_head_bias": True,
       "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 8, "num_hidden_layers": 2,
       "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 8, "num_experts_per_tok": 2,
       "router_jitter_noise": 0.1, "input_jitter_noise": 0.01, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
       "rope_scaling": SHORT, "original_max_position_embeddings": 32, "max_position_embeddings": 256,
       "sliding_window": 256, "vocab_size": 64, "tie_word_embeddings": False, "torch_dtype": "float32",
       "bos_token_id": 1, "eos_token_id": 2}
LONG = PHI | {"rope_scaling": SHORT | {"original_max_position_embeddings": 1}, "original_max_position_embeddings": 1}
GRIN = PHI | {"rope_scaling": None, "sliding_window": 5, "max_position_embeddings": 64}
del GRIN["original_max_position_embeddings"]
SOURCE = "huggingface/transformers 008f5c8c modeling_phimoe.py"
CASES = [Case("phimoe-short-tiny", SOURCE, Phimoe, PHI, tensors, 11,
         matters=(("router_jitter_noise", 0.0), ("rope_scaling.short_mscale", 1), ("rope_scaling", None),
                  ("rope_scaling.original_max_position_embeddings", 4))),
         Case("phimoe-long-tiny", SOURCE, Phimoe, LONG, tensors, 14,
         matters=(("rope_scaling.original_max_position_embeddings", 32),)),
         Case("grin-moe-tiny", SOURCE, Phimoe, GRIN, tensors, 3,
         matters=(("sliding_window", None), ("router_jitter_noise", 0.0)))]
