# SPDX-License-Identifier: Apache-2.0
"""DBRX: layer norms without bias, one clipped Wqkv, experts as rows of three matrices.

Source: huggingface/transformers at 00491cee, src/transformers/models/dbrx/modeling_dbrx.py.
"""
import math

import rotary
import shapes
from case import Case
from decoder import Decoder
from families.official import product
from plain import add, clipped, layer_norm, linear, silu, softmax, split, times


class Dbrx(Decoder):
    embedding = "transformer.wte.weight"

    def __init__(self, config, tensors):
        super().__init__(config | {"num_hidden_layers": config["n_layers"]}, tensors)

    def prepare(self):
        c, a = self.c, self.c["attn_config"]
        self.heads, self.kv_heads = c["n_heads"], a["kv_n_heads"]
        self.head = c["d_model"] // c["n_heads"]
        self.rotary = rotary.Rotary(rotary.plain(a["rope_theta"], self.head))

    def norm(self, name, row):
        return layer_norm(row, self.w(name + ".weight"), None, 1e-5)

    def window(self, i):
        return None

    def final_norm(self, x):
        return [self.norm("transformer.norm_f", row) for row in x]

    def layer(self, i, x):
        p = f"transformer.blocks.{i}.norm_attn_norm."
        a = self.attention(i, [self.norm(p + "norm_1", row) for row in x])
        self.note(f"layer.{i}.attn_out", a)
        h = [add(r, s) for r, s in zip(x, a)]
        return [add(r, s) for r, s in zip(h, self.block(i, h, p + "norm_2"))]

    def attention(self, i, x):
        p = f"transformer.blocks.{i}.norm_attn_norm.attn."
        rows = [self.linear(p + "Wqkv", row) for row in x]
        limit = self.c["attn_config"]["clip_qkv"]
        rows = [clipped(row, limit) if limit is not None else row for row in rows]
        a = self.heads * self.head
        b = a + self.kv_heads * self.head
        q, k, v = ([split(row[cut], self.head) for row in rows]
                   for cut in (slice(a), slice(a, b), slice(b, None)))
        mixed = self.attend(i, self.turned(q), self.turned(k), v, self.head ** -0.5)
        return [self.linear(p + "out_proj", row) for row in mixed]

    def mlp(self, i, row):
        return self.moe(i, f"transformer.blocks.{i}.ffn.", row)

    def router(self, i, p, row):
        return self.linear(p + "router.layer", row)

    def route(self, i, p, logits):
        f, scores = self.c["ffn_config"], softmax(logits)
        chosen = self.top(scores, f["moe_top_k"])
        power = f["moe_normalize_expert_weights"]
        size = math.fsum(scores[e] ** power for e in chosen) ** (1 / power) if power is not None else 1
        return chosen, [scores[e] / size for e in chosen]

    def expert(self, p, e, row):
        """w1, v1 and w2 are [E F, H]; w2 is used as [in, out]."""
        width = self.c["ffn_config"]["ffn_hidden_size"]
        w1, v1, w2 = (self.w(f"{p}experts.mlp.{n}")[e * width:(e + 1) * width] for n in ("w1", "v1", "w2"))
        return product(times([silu(g) for g in linear(w1, row)], linear(v1, row)), w2)


def tensors(c):
    h, f = c["d_model"], c["ffn_config"]
    kv = c["attn_config"]["kv_n_heads"] * (h // c["n_heads"])
    out = [("transformer.wte.weight", [c["vocab_size"], h], "wide")]
    for i in range(c["n_layers"]):
        p = f"transformer.blocks.{i}."
        wide = [f["moe_num_experts"] * f["ffn_hidden_size"], h]
        out += shapes.norms(p + "norm_attn_norm.", h, "norm_1", "norm_2")
        out += [(p + "norm_attn_norm.attn.Wqkv.weight", [h + 2 * kv, h], "", shapes.PEAKED),
                (p + "norm_attn_norm.attn.out_proj.weight", [h, h])]
        out += shapes.router(p + "ffn.router.layer.weight", f["moe_num_experts"], h)
        out += [(p + "ffn.experts.mlp." + n, wide, "", 1.5) for n in ("w1", "v1", "w2")]
    return out + [("transformer.norm_f.weight", [h]), ("lm_head.weight", [c["vocab_size"], h], "", 2.0)]


CONFIG = {"architectures": ["DbrxForCausalLM"], "model_type": "dbrx", "d_model": 24, "n_heads": 4, "n_layers": 3,
          "max_seq_len": 256, "vocab_size": 64, "torch_dtype": "float32", "tie_word_embeddings": False,
          "attn_config": {"clip_qkv": 1.25, "kv_n_heads": 2, "model_type": "", "rope_theta": 500000},
          "ffn_config": {"ffn_hidden_size": 8, "model_type": "", "moe_jitter_eps": 0.01, "moe_loss_weight": 0.05,
                         "moe_num_experts": 8, "moe_top_k": 4, "moe_normalize_expert_weights": 1,
                         "ffn_act_fn": {"name": "silu"}}}
SOURCE = "huggingface/transformers 00491cee modeling_dbrx.py"
CASES = [Case("dbrx-tiny", SOURCE, Dbrx, CONFIG, tensors, 1,
         matters=(("attn_config.clip_qkv", None), ("ffn_config.moe_normalize_expert_weights", None),
                  ("attn_config.rope_theta", 100)))]
