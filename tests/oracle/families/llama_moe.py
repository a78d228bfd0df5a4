# SPDX-License-Identifier: Apache-2.0
"""LLaMA-MoE: a router of two layers, its k best through a softmax times a constant; Skywork-MoE:
logits of a fixed spread.

Sources: pjlab-sys4nlp/llama-moe at 3577be82, smoe/models/llama_moe/modeling_llama_moe_hf.py (its rotary has
base 10000 whatever the config says); SkyworkAI/vllm at 691f77f6, vllm/model_executor/models/skywork_moe.py.
"""
import math

import rotary
import shapes
from case import Case
from decoder import Decoder, softmax_top
from families.official import EXPERT_W, Mixtral
from plain import linear, scaled, silu, softmax, times


class LlamaMoe(Decoder):
    def prepare(self):
        c = self.c
        self.heads, self.kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        self.head = c["hidden_size"] // self.heads
        self.rotary = rotary.Rotary(rotary.plain(10000, self.head))

    def router(self, i, p, row):
        inner = [math.tanh(z) for z in self.linear(p + "gate.gate_network.0", row)]
        return self.linear(p + "gate.gate_network.2", inner)

    def route(self, i, p, logits):
        chosen = self.top(logits, self.c["num_selects"])
        return chosen, scaled(softmax([logits[e] for e in chosen]), self.c["score_scale_factor"])

    def expert(self, p, e, row):
        gate, up, down = (self.w(f"{p}calculator.experts.weight_{n}.{e}") for n in ("gate", "up", "down"))
        return linear(down, times([silu(g) for g in linear(gate, row)], linear(up, row)))


class Skywork(Mixtral):
    def route(self, i, p, logits):
        """Over the unbiased standard deviation; the mean is something the softmax cannot see."""
        mean = math.fsum(logits) / len(logits)
        spread = math.sqrt(math.fsum((z - mean) ** 2 for z in logits) / (len(logits) - 1))
        return softmax_top(self, scaled(logits, self.c["moe_gate_norm_std"] / spread), 2, True)


def llama_tensors(c):
    def network(p, i):
        hidden, count, p = c["hidden_size"], c["num_experts"], p + "mlp."
        out = [(p + "gate.gate_network.0.weight", [count, hidden], "", 1.5),
               (p + "gate.gate_network.2.weight", [count, count], "", 2.0),
               (p + "gate.weight_noise.weight", [count, hidden])]
        width = c["intermediate_size"] // count  # size_experts null: experts of one width
        for e in range(count):
            q = p + "calculator.experts.weight_"
            out += [(f"{q}gate.{e}", [width, hidden], "", 1.5), (f"{q}up.{e}", [width, hidden], "", 1.5),
                    (f"{q}down.{e}", [hidden, width], "", 0.5)]
        return out
    return shapes.decoder(c, lambda p, i: shapes.heads(p + "self_attn.", c), network)


def mixtral_tensors(c):
    def network(p, i):
        p += "block_sparse_moe."
        return (shapes.router(p + "gate.weight", c["num_local_experts"], c["hidden_size"])
                + shapes.experts(p, c["num_local_experts"], c["hidden_size"], c["intermediate_size"], EXPERT_W))
    return shapes.decoder(c, lambda p, i: shapes.heads(p + "self_attn.", c), network)


LLAMA = {"architectures": ["LlamaMoEForCausalLM"], "model_type": "llama_moe", "hidden_act": "silu", "hidden_size": 32,
         "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
         "num_experts": 6, "num_selects": 2, "size_experts": None, "gate_type": "TopKBalancedNoisyGate",
         "gate_network": "mlp", "gate_use_softmax": True, "gate_use_balance": True, "gate_add_noise": True,
         "gate_noise_epsilon": 0.01, "gate_balance_loss_weight": 0.01, "calculator_type": "UniversalCalculator",
         "multiply_gate_scores": True, "score_scale_factor": 4.0, "add_weight_norm": False, "drop_tokens": True,
         "dropped_padding": "zero", "capacity_factor": 1.25, "rms_norm_eps": 1e-5, "rope_scaling": None,
         "max_position_embeddings": 256, "vocab_size": 64, "tie_word_embeddings": False, "torch_dtype": "float32",
         "pretraining_tp": 1, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SKYWORK = {"architectures": ["SkyworkForCausalLM"], "model_type": "skywork", "hidden_act": "silu", "hidden_size": 32,
           "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
           "num_experts": [8], "num_local_experts": 8, "num_experts_per_tok": 2, "moe_expert_interval": 1,
           "moe_use_mixtral_gating": False, "moe_2layer_gate": False, "moe_use_logits_norm": True,
           "moe_gate_norm_std": 1.0, "moe_feature_no_mul_topk": True, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
           "rope_scaling": None, "max_position_embeddings": 256, "vocab_size": 64, "tie_word_embeddings": False,
           "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
CASES = [Case("llama-moe-tiny", "pjlab-sys4nlp/llama-moe 3577be82 modeling_llama_moe_hf.py", LlamaMoe, LLAMA,
              llama_tensors, 3,
         matters=(("score_scale_factor", 1),)),
         Case("skywork-moe-tiny", "SkyworkAI/vllm 691f77f6 skywork_moe.py", Skywork, SKYWORK, mixtral_tensors, 5,
         matters=(("moe_gate_norm_std", 2.0),))]
