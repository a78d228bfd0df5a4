# SPDX-License-Identifier: Apache-2.0
"""Jamba: Mamba or attention without positions, dense or routed network, each by its own period.

Source: huggingface/transformers at 008f5c8c, src/transformers/models/jamba/modeling_jamba.py (slow_forward).
"""
import math

import shapes
from case import Case
from decoder import Decoder, softmax_top
from plain import add, dot, rms_norm, silu, softplus


class Jamba(Decoder):
    def prepare(self):
        self.head = self.c["hidden_size"] // self.c["num_attention_heads"]
        self.rotary = lambda head, position: head

    def final_norm(self, x):
        return [self.norm("model.final_layernorm", row) for row in x]

    def layer(self, i, x):
        p = f"model.layers.{i}."
        u = [self.norm(p + "input_layernorm", row) for row in x]
        a = self.attention(i, u) if attends(self.c, i) else self.mamba(p + "mamba.", u)
        self.note(f"layer.{i}.attn_out", a)
        h = [add(r, s) for r, s in zip(x, a)]
        return [add(r, s) for r, s in zip(h, self.block(i, h, p + "pre_ff_layernorm"))]

    def mamba(self, p, x):
        """One state of [inner][n] a sequence; every channel has its own decay for every entry."""
        c = self.c
        inner, n, rank = c["mamba_expand"] * c["hidden_size"], c["mamba_d_state"], c["mamba_dt_rank"]
        taps, bias = [w[0] for w in self.w(p + "conv1d.weight")], self.w(p + "conv1d.bias")
        decay = [[-math.exp(a) for a in row] for row in self.w(p + "A_log")]
        skip = self.w(p + "D")
        state = [[0.0] * n for _ in range(inner)]
        past = [[0.0] * inner for _ in range(c["mamba_d_conv"] - 1)]
        out = []
        for row in x:
            both = self.linear(p + "in_proj", row)
            past.append(both[:inner])
            gate = both[inner:]
            u = [silu(dot(taps[d], [step[d] for step in past]) + bias[d]) for d in range(inner)]
            past.pop(0)
            mix = self.linear(p + "x_proj", u)
            step, b, c_ = (rms_norm(part, self.w(p + name), self.eps) for part, name in (
                (mix[:rank], "dt_layernorm.weight"), (mix[rank:rank + n], "b_layernorm.weight"),
                (mix[rank + n:], "c_layernorm.weight")))
            step = [softplus(t) for t in self.linear(p + "dt_proj", step)]
            y = []
            for d in range(inner):
                state[d] = [math.exp(decay[d][k] * step[d]) * state[d][k] + step[d] * b[k] * u[d]
                            for k in range(n)]
                y.append((dot(state[d], c_) + u[d] * skip[d]) * silu(gate[d]))
            out.append(self.linear(p + "out_proj", y))
        return out

    def mlp(self, i, row):
        p = f"model.layers.{i}.feed_forward."
        return self.moe(i, p, row) if routed(self.c, i) else self.gated(p, row)

    def router(self, i, p, row):
        return self.linear(p + "router", row)

    def route(self, i, p, logits):
        return softmax_top(self, logits, self.c["num_experts_per_tok"], False)


def attends(c, i):
    return i % c["attn_layer_period"] == c["attn_layer_offset"]


def routed(c, i):
    return i % c["expert_layer_period"] == c["expert_layer_offset"]


def tensors(c):
    hidden, width = c["hidden_size"], c["intermediate_size"]
    inner, n, rank = c["mamba_expand"] * hidden, c["mamba_d_state"], c["mamba_dt_rank"]
    out = [("model.embed_tokens.weight", [c["vocab_size"], hidden], "wide")]
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        out += shapes.norms(p, hidden, "input_layernorm", "pre_ff_layernorm")
        if attends(c, i):
            out += shapes.heads(p + "self_attn.", c)
        else:
            m = p + "mamba."
            out += [(m + "in_proj.weight", [2 * inner, hidden]),
                    (m + "conv1d.weight", [inner, 1, c["mamba_d_conv"]]),
                    (m + "conv1d.bias", [inner]), (m + "x_proj.weight", [rank + 2 * n, inner], "", 2.0),
                    (m + "dt_proj.weight", [inner, rank]), (m + "dt_proj.bias", [inner]),
                    (m + "A_log", [inner, n], "wide", 0.4), (m + "D", [inner], "norm"),
                    (m + "out_proj.weight", [hidden, inner])]
            out += shapes.norms(m, rank, "dt_layernorm") + shapes.norms(m, n, "b_layernorm", "c_layernorm")
        f = p + "feed_forward."
        out += ([(f + "router.weight", [c["num_experts"], hidden])]
                + shapes.experts(f, c["num_experts"], hidden, width)
                ) if routed(c, i) else shapes.gated(f, hidden, width)
    return out + [("model.final_layernorm.weight", [hidden]), ("lm_head.weight", [c["vocab_size"], hidden], "", 2.0)]


CONFIG = {"architectures": ["JambaForCausalLM"], "model_type": "jamba", "hidden_act": "silu", "hidden_size": 24,
          "intermediate_size": 12, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
          "attn_layer_period": 4, "attn_layer_offset": 2, "expert_layer_period": 2, "expert_layer_offset": 1,
          "num_experts": 5, "num_experts_per_tok": 2, "mamba_expand": 2, "mamba_d_state": 6, "mamba_d_conv": 4,
          "mamba_dt_rank": 5, "mamba_conv_bias": True, "mamba_proj_bias": False, "use_mamba_kernels": False,
          "rms_norm_eps": 1e-6, "sliding_window": None, "max_position_embeddings": 256, "vocab_size": 64,
          "tie_word_embeddings": False, "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2,
          "pad_token_id": 0}
CASES = [Case("jamba-tiny", "huggingface/transformers 008f5c8c modeling_jamba.py", Jamba, CONFIG, tensors, 7)]
