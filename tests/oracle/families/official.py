# SPDX-License-Identifier: Apache-2.0
"""Families whose tiny models have official vectors, which is what makes this folder trustworthy.

Source: huggingface/transformers v4.57.6, src/transformers/models/{mixtral, qwen2_moe, qwen3_moe, olmoe,
deepseek_v3, gpt_oss}/modeling_*.py; Snowflake-Labs/transformers branch arctic-v4.44,
src/transformers/models/arctic/modeling_arctic.py.
"""
import math

import rotary
from decoder import Decoder, sigmoid_biased, softmax_top
from plain import add, linear, rms_norm, scaled, sigmoid, softmax, split

EXPERT_W = ("w1", "w3", "w2")


class Mixtral(Decoder):
    def mlp(self, i, row):
        return self.moe(i, f"model.layers.{i}.block_sparse_moe.", row)

    def route(self, i, p, logits):
        return softmax_top(self, logits, self.c["num_experts_per_tok"], True)

    def expert(self, p, e, row):
        return self.gated(f"{p}experts.{e}.", row, EXPERT_W)


class Qwen2Moe(Decoder):
    def window(self, i):
        return None

    def route(self, i, p, logits):
        return softmax_top(self, logits, self.c["num_experts_per_tok"], self.c["norm_topk_prob"])

    def always(self, p, row):
        gate = sigmoid(self.linear(p + "shared_expert_gate", row)[0])
        return [scaled(self.gated(p + "shared_expert.", row), gate)]


class Qwen3Moe(Qwen2Moe):
    def norm_heads(self, p, q, k):
        return ([[self.norm(p + n, head) for head in row] for row in rows]
                for n, rows in (("q_norm", q), ("k_norm", k)))

    def always(self, p, row):
        return []


class Olmoe(Qwen3Moe):
    def norm_wide(self, p, q, k):
        return ([self.norm(p + n, row) for row in rows] for n, rows in (("q_norm", q), ("k_norm", k)))

    def norm_heads(self, p, q, k):
        return q, k


class Mla(Decoder):
    """Latent attention: q through its own bottleneck (or none), k and v from one latent row.

    A head of q and k is [nope, rope]; k's rope part is one for all heads.
    """
    interleaved = True

    def prepare(self):
        c = self.c
        self.heads = c["num_attention_heads"]
        self.nope, self.rope, self.value = (
            c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"])
        self.rotary = rotary.of_config(c, self.rope, self.interleaved)
        self.scale = (self.nope + self.rope) ** -0.5
        scaling = c.get("rope_scaling") or {}
        if scaling.get("mscale_all_dim"):
            self.scale *= rotary.mscale(scaling["factor"], scaling["mscale_all_dim"]) ** 2

    def latent_norm(self, name, row):
        """The bottlenecks' norms take their default eps, whatever rms_norm_eps is."""
        return rms_norm(row, self.w(name + ".weight"), 1e-6)

    def latent_q(self, p, row):
        return self.latent_norm(p + "q_a_layernorm", self.linear(p + "q_a_proj", row))

    def qkv(self, i, x):
        p, rank = f"model.layers.{i}.self_attn.", self.c["kv_lora_rank"]
        q, k, v = [], [], []
        for s, row in enumerate(x):
            wide = (self.linear(p + "q_b_proj", self.latent_q(p, row)) if self.c["q_lora_rank"]
                    else self.linear(p + "q_proj", row))
            q.append([head[:self.nope] + self.rotary(head[self.nope:], s)
                      for head in split(wide, self.nope + self.rope)])
            both = self.linear(p + "kv_a_proj_with_mqa", row)
            turned = self.rotary(both[rank:], s)
            heads = split(self.linear(p + "kv_b_proj", self.latent_norm(p + "kv_a_layernorm", both[:rank])),
                          self.nope + self.value)
            k.append([head[:self.nope] + turned for head in heads])
            v.append([head[self.nope:] for head in heads])
        return q, k, v

    def attention(self, i, x):
        mixed = self.attend(i, *self.qkv(i, x), self.scale)
        return [self.linear(f"model.layers.{i}.self_attn.o_proj", row) for row in mixed]

    def window(self, i):
        return None

    def always(self, p, row):
        return [self.gated(p + "shared_experts.", row)]


class DeepseekV3(Mla):
    def route(self, i, p, logits):
        c = self.c
        return sigmoid_biased(self, logits, self.w(p + "gate.e_score_correction_bias"),
                              c["num_experts_per_tok"], c["n_group"], c["topk_group"],
                              c["norm_topk_prob"], c["routed_scaling_factor"])

    def router(self, i, p, row):
        return linear(self.w(p + "gate.weight"), row)


class GptOss(Decoder):
    def window(self, i):
        return self.c["sliding_window"] if self.c["layer_types"][i] == "sliding_attention" else None

    def router(self, i, p, row):
        return self.linear(p + "router", row)

    def route(self, i, p, logits):
        chosen = self.top(logits, self.c["num_experts_per_tok"])
        return chosen, softmax([logits[e] for e in chosen])

    def expert(self, p, e, row):
        """[in, out] matrices; gate and up alternate; both clamped, the gate from above only."""
        p += "experts."
        both = add(product(row, self.w(p + "gate_up_proj")[e]), self.w(p + "gate_up_proj_bias")[e])
        gate = [min(g, 7.0) for g in both[0::2]]
        up = [min(max(u, -7.0), 7.0) for u in both[1::2]]
        inner = [(u + 1) * g * sigmoid(1.702 * g) for g, u in zip(gate, up)]
        return add(product(inner, self.w(p + "down_proj")[e]), self.w(p + "down_proj_bias")[e])


def product(row, matrix):
    """row [in] times matrix [in][out]."""
    return [math.fsum(x * w for x, w in zip(row, column, strict=True)) for column in zip(*matrix)]


class Arctic(Mixtral):
    """A MoE layer reads the norm of the layer's input; a dense branch runs beside it."""

    def layer(self, i, x):
        p = f"model.layers.{i}."
        a = self.attention(i, [self.norm(p + "input_layernorm", row) for row in x])
        self.note(f"layer.{i}.attn_out", a)
        h = [add(r, s) for r, s in zip(x, a)]
        if p + "residual_layernorm.weight" not in self.tensors:
            return [add(r, s) for r, s in zip(h, self.block(i, h, p + "post_attention_layernorm"))]
        side = [self.gated(p + "residual_mlp.", self.norm(p + "residual_layernorm", row), EXPERT_W)
                for row in h]
        self.note(f"layer.{i}.residual_mlp_out", side)
        y = self.block(i, x, p + "post_attention_layernorm")
        return [add(add(r, s), t) for r, s, t in zip(h, side, y)]

    def mlp(self, i, row):
        p = f"model.layers.{i}.block_sparse_moe."
        if p + "mlp.w1.weight" in self.tensors:
            return self.gated(p + "mlp.", row, EXPERT_W)
        return self.moe(i, p, row)

    def route(self, i, p, logits):
        k = self.c["num_experts_per_tok"]
        return softmax_top(self, logits, k, k > 1)
