# SPDX-License-Identifier: Apache-2.0
"""GLM-4.5: biased q, k, v; norms of q and k per head; rotary on half of a head; DeepSeek-V3's router.

Source: huggingface/transformers at 000c33fd, src/transformers/models/glm4_moe/modeling_glm4_moe.py.
"""
import shapes
from case import Case
from decoder import Decoder, sigmoid_biased
from plain import linear


class Glm4Moe(Decoder):
    def norm_heads(self, p, q, k):
        if not self.c["use_qk_norm"]:
            return q, k
        return ([[self.norm(p + n, head) for head in row] for row in rows]
                for n, rows in (("q_norm", q), ("k_norm", k)))

    def route(self, i, p, logits):
        c = self.c
        return sigmoid_biased(self, logits, self.w(p + "gate.e_score_correction_bias"),
                              c["num_experts_per_tok"], c["n_group"], c["topk_group"],
                              c["norm_topk_prob"], c["routed_scaling_factor"])

    def router(self, i, p, row):
        return linear(self.w(p + "gate.weight"), row)

    def always(self, p, row):
        return [self.gated(p + "shared_experts.", row)]


def grouped(c):
    def mixer(p, i):
        p += "self_attn."
        return shapes.heads(p, c, c["attention_bias"]) + (
            shapes.norms(p, c["head_dim"], "q_norm", "k_norm") if c["use_qk_norm"] else [])
    return mixer


def tensors(c, mixer=None):

    def network(p, i):
        hidden, width = c["hidden_size"], c["moe_intermediate_size"]
        if i < c["first_k_dense_replace"]:
            return shapes.gated(p + "mlp.", hidden, c["intermediate_size"])
        return (shapes.router(p + "mlp.gate.weight", c["n_routed_experts"], hidden)
                + [(p + "mlp.gate.e_score_correction_bias", [c["n_routed_experts"]])]
                + shapes.experts(p + "mlp.", c["n_routed_experts"], hidden, width)
                + shapes.gated(p + "mlp.shared_experts.", hidden, width * c["n_shared_experts"]))
    return shapes.decoder(c, mixer or grouped(c), network)


BIG = {"architectures": ["Glm4MoeForCausalLM"], "model_type": "glm4_moe", "attention_bias": True,
       "hidden_act": "silu", "hidden_size": 24, "head_dim": 12, "partial_rotary_factor": 0.5,
       "intermediate_size": 28, "moe_intermediate_size": 8, "num_hidden_layers": 3,
       "num_attention_heads": 4, "num_key_value_heads": 2, "first_k_dense_replace": 1,
       "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 3, "n_group": 1,
       "topk_group": 1, "norm_topk_prob": True, "routed_scaling_factor": 2.5, "use_qk_norm": True,
       "rms_norm_eps": 1e-5, "rope_theta": 1000000, "rope_scaling": None, "max_position_embeddings": 256,
       "vocab_size": 64, "tie_word_embeddings": False, "torch_dtype": "float32",
       "num_nextn_predict_layers": 0, "eos_token_id": [1, 2], "pad_token_id": 1}
AIR = BIG | {"use_qk_norm": False, "routed_scaling_factor": 1.0, "num_hidden_layers": 2}
SOURCE = "huggingface/transformers 000c33fd modeling_glm4_moe.py"
CASES = [Case("glm4-moe-tiny", SOURCE, Glm4Moe, BIG, tensors, 3,
         matters=(("use_qk_norm", False), ("norm_topk_prob", False), ("routed_scaling_factor", 1))),
         Case("glm4-moe-air-tiny", SOURCE, Glm4Moe, AIR, tensors, 1,
         matters=(("norm_topk_prob", False),))]
