# SPDX-License-Identifier: Apache-2.0
"""DeepSeekMoE-16B, DeepSeek-V2 (with and without query compression).

Sources: DeepSeek's own modeling_deepseek.py as released beside DeepSeek-V2 (copy read:
yuyijiong/deepseek-MLA-correct at ac71cc90, modeling_deepseek.py) and huggingface/transformers at 0233e509,
src/transformers/models/deepseek_v2/modeling_deepseek_v2.py. They differ in two places, where DeepSeek's own
is followed: YaRN's mscale_all_dim also scales the scores, and norm_topk_prob divides *instead of* applying
routed_scaling_factor. 16B: the same router without groups and scale, on plain attention.
"""
import math

import shapes
from case import Case
from decoder import Decoder, softmax_top
from families.official import Mla
from plain import scaled, softmax, split


class DeepseekV2(Mla):
    def route(self, i, p, logits):
        c, scores = self.c, softmax(logits)
        k = c["num_experts_per_tok"]
        if c["topk_method"] == "group_limited_greedy":
            width = len(scores) // c["n_group"]
            inside = set(self.top([max(g) for g in split(scores, width)], c["topk_group"]))
            chosen = self.top([s if e // width in inside else -math.inf for e, s in enumerate(scores)], k)
        else:
            chosen = self.top(scores, k)
        weights = [scores[e] for e in chosen]
        if k > 1 and c["norm_topk_prob"]:
            return chosen, scaled(weights, 1 / (math.fsum(weights) + 1e-20))
        return chosen, scaled(weights, c["routed_scaling_factor"])


class DeepseekMoe16B(Decoder):
    def route(self, i, p, logits):
        return softmax_top(self, logits, self.c["num_experts_per_tok"], self.c["norm_topk_prob"])

    def always(self, p, row):
        return [self.gated(p + "shared_experts.", row)]


def network(c):
    def of(p, i):
        hidden, width = c["hidden_size"], c["moe_intermediate_size"]
        if i < c["first_k_dense_replace"] or i % c.get("moe_layer_freq", 1):
            return shapes.gated(p + "mlp.", hidden, c["intermediate_size"])
        return (shapes.router(p + "mlp.gate.weight", c["n_routed_experts"], hidden)
                + shapes.experts(p + "mlp.", c["n_routed_experts"], hidden, width)
                + shapes.gated(p + "mlp.shared_experts.", hidden, width * c["n_shared_experts"]))
    return of


def latent_tensors(c):
    return shapes.decoder(c, lambda p, i: shapes.latent(p + "self_attn.", c), network(c))


def plain_tensors(c):
    return shapes.decoder(c, lambda p, i: shapes.heads(p + "self_attn.", c), network(c))


YARN = {"type": "yarn", "factor": 8, "original_max_position_embeddings": 16, "beta_fast": 4, "beta_slow": 1,
        "mscale": 0.707, "mscale_all_dim": 0.5}
V2 = {"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "attention_bias": False,
      "hidden_act": "silu", "hidden_size": 24, "intermediate_size": 28, "moe_intermediate_size": 8,
      "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4, "first_k_dense_replace": 1,
      "moe_layer_freq": 1, "n_routed_experts": 8, "n_shared_experts": 2, "num_experts_per_tok": 3,
      "n_group": 4, "topk_group": 2, "topk_method": "group_limited_greedy", "scoring_func": "softmax",
      "norm_topk_prob": False, "routed_scaling_factor": 4.0, "q_lora_rank": 20, "kv_lora_rank": 16,
      "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 12, "rms_norm_eps": 1e-5,
      "rope_theta": 10000, "rope_scaling": YARN, "max_position_embeddings": 128, "vocab_size": 64,
      "tie_word_embeddings": False, "torch_dtype": "float32", "bos_token_id": 0, "eos_token_id": 1}
LITE = V2 | {"q_lora_rank": None, "n_group": 1, "topk_group": 1, "topk_method": "greedy",
             "routed_scaling_factor": 1.0,
             "rope_scaling": YARN | {"mscale": 0.707, "mscale_all_dim": 0.707}}
B16 = {"architectures": ["DeepseekForCausalLM"], "model_type": "deepseek", "attention_bias": False,
       "hidden_act": "silu", "hidden_size": 24, "intermediate_size": 28, "moe_intermediate_size": 8,
       "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4, "first_k_dense_replace": 1,
       "moe_layer_freq": 1, "n_routed_experts": 8, "n_shared_experts": 2, "num_experts_per_tok": 3,
       "scoring_func": "softmax", "norm_topk_prob": False, "rms_norm_eps": 1e-6, "rope_theta": 10000,
       "rope_scaling": None, "max_position_embeddings": 128, "vocab_size": 64,
       "tie_word_embeddings": False, "torch_dtype": "float32", "bos_token_id": 0, "eos_token_id": 1}
SOURCE = "DeepSeek-V2 modeling_deepseek.py (copy: yuyijiong/deepseek-MLA-correct ac71cc90)"
CASES = [
    Case("deepseek-v2-tiny", SOURCE, DeepseekV2, V2, latent_tensors, 1,
         matters=(("rope_scaling", None), ("topk_method", "greedy"), ("routed_scaling_factor", 1),
                  ("rope_scaling.mscale_all_dim", 0.707), ("rope_scaling.mscale", 0.5))),
    Case("deepseek-v2-lite-tiny", SOURCE, DeepseekV2, LITE, latent_tensors, 1,
         matters=(("rope_scaling", None), ("norm_topk_prob", True))),
    Case("deepseek-moe-tiny",
         "arXiv 2401.06066; router and shared experts of DeepSeek-V2 modeling_deepseek.py, plain attention",
         DeepseekMoe16B, B16, plain_tensors, 4,
         matters=(("norm_topk_prob", True),)),
]
