# SPDX-License-Identifier: Apache-2.0
"""Mistral Large 3: DeepSeek-V3's layers with softmax routing, under Mistral's own names.

Source: vllm-project/vllm at 0bb55d60, vllm/model_executor/models/mistral_large_3.py (names); at 01da88c5,
vllm/transformers_utils/configs/mistral.py (keys of params.json); vllm/model_executor/models/deepseek_v2.py
(_get_llama_4_scaling: q of every layer times 1 + beta ln(1 + floor(position / original))).
"""
import math

import shapes
from case import Case
from decoder import softmax_top
from families.official import EXPERT_W, Mla
from plain import scaled

NAMES = (("self_attn.q_a_proj", "attention.wq_a"), ("self_attn.q_a_layernorm", "attention.q_a_norm"),
         ("self_attn.q_b_proj", "attention.wq_b"), ("self_attn.kv_a_proj_with_mqa", "attention.wkv_a_with_mqa"),
         ("self_attn.kv_a_layernorm", "attention.kv_a_norm"), ("self_attn.kv_b_proj", "attention.wkv_b"),
         ("self_attn.o_proj", "attention.wo"), ("input_layernorm", "attention_norm"),
         ("post_attention_layernorm", "ffn_norm"), ("model.embed_tokens", "tok_embeddings"),
         ("lm_head", "output"), ("model.norm", "norm"), ("model.layers", "layers"))


def native(name):
    for theirs, ours in NAMES:
        name = name.replace(theirs, ours)
    return name


class MistralLarge3(Mla):
    def __init__(self, config, tensors):
        moe, yarn = config["moe"], config["yarn"]
        super().__init__(config | {
            "num_hidden_layers": config["n_layers"], "num_attention_heads": config["n_heads"],
            "rms_norm_eps": config["norm_eps"], "num_experts_per_tok": moe["num_experts_per_tok"],
            "rope_scaling": {"type": "yarn", "factor": yarn["factor"], "beta_fast": yarn["beta"],
                             "beta_slow": yarn["alpha"], "attention_factor": 1.0,
                             "original_max_position_embeddings": yarn["original_max_position_embeddings"]}}, tensors)

    def w(self, name):
        return super().w(native(name))

    def latent_norm(self, name, row):
        return self.norm(name, row)

    def qkv(self, i, x):
        q, k, v = super().qkv(i, x)
        by = self.c["llama_4_scaling"]
        return [[scaled(head, 1 + by["beta"] * math.log1p(s // by["original_max_position_embeddings"]))
                 for head in row] for s, row in enumerate(q)], k, v

    def mlp(self, i, row):
        p = f"layers.{i}."
        if i < self.c["moe"]["first_k_dense_replace"]:
            return self.gated(p + "feed_forward.", row, EXPERT_W)
        return self.moe(i, p, row)

    def route(self, i, p, logits):
        chosen, weights = softmax_top(self, logits, self.c["num_experts_per_tok"], True)
        return chosen, scaled(weights, self.c["moe"]["routed_scale"])

    def expert(self, p, e, row):
        return self.gated(f"{p}experts.{e}.", row, EXPERT_W)

    def always(self, p, row):
        return [self.gated(p + "shared_experts.", row, EXPERT_W)]


def tensors(config):
    moe, hidden = config["moe"], config["dim"]
    c = config | {"hidden_size": hidden, "num_hidden_layers": config["n_layers"],
                  "num_attention_heads": config["n_heads"]}

    def network(p, i):
        if i < moe["first_k_dense_replace"]:
            return shapes.gated(p + "feed_forward.", hidden, config["hidden_dim"], EXPERT_W)
        return (shapes.router(p + "gate.weight", moe["num_experts"], hidden)
                + shapes.experts(p, moe["num_experts"], hidden, moe["expert_hidden_dim"], EXPERT_W)
                + shapes.gated(p + "shared_experts.", hidden,
                               moe["num_shared_experts"] * moe["expert_hidden_dim"], EXPERT_W))
    return [(native(name), *rest) for name, *rest in
            shapes.decoder(c, lambda p, i: shapes.latent(p + "self_attn.", c), network)]


CONFIG = {"model_type": "mistral_large_3", "dim": 24, "n_layers": 3, "head_dim": 16, "hidden_dim": 28, "n_heads": 4,
          "n_kv_heads": 4, "q_lora_rank": 20, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
          "v_head_dim": 12, "rope_theta": 10000.0, "norm_eps": 1e-6, "vocab_size": 64, "tied_embeddings": False,
          "max_position_embeddings": 128,
          "llama_4_scaling": {"original_max_position_embeddings": 4, "beta": 0.5},
          "yarn": {"original_max_position_embeddings": 16, "factor": 8, "apply_scale": False, "beta": 4, "alpha": 1},
          "moe": {"num_experts": 8, "num_experts_per_tok": 3, "first_k_dense_replace": 1, "route_every_n": 1,
                  "num_shared_experts": 1, "expert_hidden_dim": 8, "routed_scale": 1.0, "num_expert_groups": 1,
                  "num_expert_groups_per_tok": 1}}
CASES = [Case("mistral-large-3-tiny", "vllm-project/vllm 0bb55d60 mistral_large_3.py, 01da88c5 configs/mistral.py",
              MistralLarge3, CONFIG, tensors, 8,
         matters=(("llama_4_scaling.beta", 0), ("yarn.factor", 1),
                       ("llama_4_scaling.original_max_position_embeddings", 5)))]
