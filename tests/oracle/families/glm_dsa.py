# SPDX-License-Identifier: Apache-2.0
"""GLM-5: latent attention that sees only the keys which a small indexer scores highest.

Source: huggingface/transformers at 01f8fa55, src/transformers/models/glm_moe_dsa/modular_glm_moe_dsa.py
(indexer turned in neighbouring pairs, as rope_interleave and indexer_rope_interleave of the released config
say); at 00371f38, modeling_glm_moe_dsa.py, for the rest.
"""
import math

import shapes
from case import Case
from families.glm import tensors as glm_network
from families.official import DeepseekV3
from plain import dot, layer_norm, split


class GlmMoeDsa(DeepseekV3):
    def attention(self, i, x):
        self.seen = self.indexed(f"model.layers.{i}.self_attn.", x)
        return super().attention(i, x)

    def visible(self, i, query, key):
        return key in self.seen[query]

    def indexed(self, p, x):
        """The index_topk keys of every position. The first elements of a head carry the position."""
        c, o = self.c, p + "indexer."
        width = c["index_head_dim"]
        keys, seen = [], []
        for s, row in enumerate(x):
            key = layer_norm(self.linear(o + "wk", row), self.w(o + "k_norm.weight"), self.w(o + "k_norm.bias"), 1e-6)
            keys.append(self.rotary(key, s))
            q = [self.rotary(head, s) for head in split(self.linear(o + "wq_b", self.latent_q(p, row)), width)]
            weights = [w * c["index_n_heads"] ** -0.5 for w in self.linear(o + "weights_proj", row)]
            scores = [math.fsum(w * max(dot(head, k) * width ** -0.5, 0) for w, head in zip(weights, q)) for k in keys]
            seen.append(set(self.top(scores, c["index_topk"])))
        return seen


def tensors(c):
    def mixer(p, i):
        p += "self_attn."
        o, width = p + "indexer.", c["index_head_dim"]
        return shapes.latent(p, c) + [
            (o + "wq_b.weight", [c["index_n_heads"] * width, c["q_lora_rank"]], "", 1.5),
            (o + "wk.weight", [width, c["hidden_size"]], "", 1.5), (o + "k_norm.weight", [width]),
            (o + "k_norm.bias", [width]), (o + "weights_proj.weight", [c["index_n_heads"], c["hidden_size"]])]
    return glm_network(c, mixer)


CONFIG = {"architectures": ["GlmMoeDsaForCausalLM"], "model_type": "glm_moe_dsa", "attention_bias": False,
          "hidden_act": "silu", "hidden_size": 24, "intermediate_size": 28, "moe_intermediate_size": 8,
          "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4, "first_k_dense_replace": 1,
          "mlp_layer_types": ["dense", "sparse", "sparse"], "moe_layer_freq": 1, "n_routed_experts": 8,
          "n_shared_experts": 1, "num_experts_per_tok": 3, "n_group": 1, "topk_group": 1, "norm_topk_prob": True,
          "topk_method": "noaux_tc", "scoring_func": "sigmoid", "routed_scaling_factor": 2.5, "q_lora_rank": 20,
          "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "qk_head_dim": 12, "v_head_dim": 10,
          "head_dim": 4, "index_n_heads": 8, "index_head_dim": 8, "index_topk": 5, "rope_interleave": True,
          "indexer_rope_interleave": True, "rope_parameters": {"rope_theta": 100, "rope_type": "default"},
          "rms_norm_eps": 1e-5, "max_position_embeddings": 256, "vocab_size": 64, "tie_word_embeddings": False,
          "num_nextn_predict_layers": 0, "dtype": "float32", "bos_token_id": 0, "eos_token_id": [1, 2],
          "pad_token_id": 1}
CASES = [Case("glm-moe-dsa-tiny", "huggingface/transformers 01f8fa55 modular_glm_moe_dsa.py", GlmMoeDsa, CONFIG,
              tensors, 3,
         matters=(("index_topk", 99), ("index_topk", 4)))]
