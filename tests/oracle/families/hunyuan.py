# SPDX-License-Identifier: Apache-2.0
"""Hunyuan-Large: every second layer reads the k and v projections of the one before; one expert a token.

Source: Tencent-Hunyuan-Large models/modeling_hunyuan.py (copy read: sunyanguomt/Tencent-Hunyuan-Large at
1b47308f). Shared are the projections before positions and norm: a layer turns them and norms keys by its own
weight. Rotary of type "dynamic" with alpha: base times alpha^(d / (d - 2)), at every length.
"""
import rotary
import shapes
from case import Case
from decoder import Decoder, softmax_top
from plain import split


class Hunyuan(Decoder):
    def prepare(self):
        c = self.c
        self.heads, self.kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        self.head = c["hidden_size"] // self.heads
        alpha = c["rope_scaling"]["alpha"]
        theta = c["rope_theta"] * alpha ** (self.head / (self.head - 2))
        self.rotary = rotary.Rotary(rotary.plain(theta, self.head))

    def qkv(self, i, x):
        p = f"model.layers.{i}.self_attn."
        if owns(self.c, i):
            self.shared = tuple([split(self.linear(p + n, row), self.head) for row in x]
                                for n in ("k_proj", "v_proj"))
        k, v = self.shared
        q = [split(self.linear(p + "q_proj", row), self.head) for row in x]
        q, k = ([[self.norm(p + n, head) for head in row] for row in self.turned(rows)]
                for n, rows in (("query_layernorm", q), ("key_layernorm", k)))
        return q, k, v

    def router(self, i, p, row):
        return self.linear(p + "gate.wg", row)

    def route(self, i, p, logits):
        return softmax_top(self, logits, 1, False)

    def always(self, p, row):
        return [self.gated(p + "shared_mlp.", row)]


def owns(c, i):
    return not c["use_cla"] or i % c["cla_share_factor"] == 0


def tensors(c):
    def mixer(p, i):
        p += "self_attn."
        out = [t for t in shapes.heads(p, c) if owns(c, i) or not t[0].endswith(("k_proj.weight", "v_proj.weight"))]
        return out + shapes.norms(p, c["hidden_size"] // c["num_attention_heads"], "query_layernorm", "key_layernorm")

    def network(p, i):
        p += "mlp."
        hidden, width = c["hidden_size"], c["intermediate_size"]
        return (shapes.router(p + "gate.wg.weight", c["num_experts"], hidden)
                + shapes.experts(p, c["num_experts"], hidden, width)
                + shapes.gated(p + "shared_mlp.", hidden, width * c["num_shared_expert"]))
    return shapes.decoder(c, mixer, network, tied=True)


CONFIG = {"architectures": ["HunYuanForCausalLM"], "model_type": "hunyuan", "attention_bias": False,
          "hidden_act": "silu", "hidden_size": 24, "intermediate_size": 8, "num_hidden_layers": 4,
          "num_attention_heads": 4, "num_key_value_heads": 2, "use_qk_norm": True, "use_cla": True,
          "cla_share_factor": 2, "num_experts": 6, "moe_topk": 1, "num_shared_expert": 1, "use_mixed_mlp_moe": True,
          "moe_drop_tokens": False, "moe_random_routing_dropped_token": False, "capacity_factor": 1.0,
          "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
          "rope_scaling": {"alpha": 50.0, "factor": 1.0, "type": "dynamic"}, "max_position_embeddings": 256,
          "vocab_size": 64, "tie_word_embeddings": True, "torch_dtype": "float32", "bos_token_id": 1,
          "eos_token_id": 2, "pad_token_id": 0}
SOURCE = "Tencent-Hunyuan-Large modeling_hunyuan.py (copy: sunyanguomt/Tencent-Hunyuan-Large 1b47308f)"
CASES = [Case("hunyuan-tiny", SOURCE, Hunyuan, CONFIG, tensors, 2,
         matters=(("rope_scaling.alpha", 1),))]
