# SPDX-License-Identifier: Apache-2.0
"""OpenMoE: dense and routed layers, three-way networks, another dense network after the routed one.

Source: the PyTorch port in hpcaitech/ColossalAI, examples/language/openmoe/model/modeling_openmoe.py
(copy read by content; class OpenMoeDecoderLayer), and models section 5.20. Scores are not divided; nothing is
dropped, which the port does beyond its capacity.
"""
import rotary
import shapes
from case import Case
from decoder import Decoder, softmax_top
from families.official import product
from plain import add, linear, silu, times


class OpenMoe(Decoder):
    def prepare(self):
        c = self.c
        self.heads, self.kv_heads, self.head = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        self.rotary = rotary.Rotary(rotary.plain(10000, self.head))

    def attention(self, i, x):
        mixed = self.attend(i, *self.qkv(i, x), 1.0)
        return [self.linear(f"model.layers.{i}.self_attn.o_proj", row) for row in mixed]

    def layer(self, i, x):
        h = super().layer(i, x)
        if not routed(self.c, i):
            return h
        p = f"model.layers.{i}."
        u = [self.norm(p + "pre_extra_mlp_layernorm", row) for row in h]
        y = [self.three_way(p + "extra_mlp.", row) for row in u]
        return [add(r, s) for r, s in zip(h, y)]

    def three_way(self, p, row):
        return self.linear(p + "down_proj", unit(self.linear(p + "gate_proj", row), self.linear(p + "up_proj", row)))

    def mlp(self, i, row):
        p = f"model.layers.{i}.mlp."
        return self.moe(i, p, row) if routed(self.c, i) else self.three_way(p, row)

    def router(self, i, p, row):
        return linear(self.w(p + "gate_weight"), row)

    def route(self, i, p, logits):
        return softmax_top(self, logits, self.c["router_topk"], False)

    def expert(self, p, e, row):
        gate, up, down = (self.w(f"{p}experts.{n}")[e] for n in ("wi_gate", "wi_up", "wo"))
        return product(unit(product(row, gate), product(row, up)), down)


def unit(both, up):
    """The second half of the gate goes through the swish, unlike everywhere else."""
    half = len(both) // 2
    return times(times(both[:half], [silu(b) for b in both[half:]]), up)


def routed(c, i):
    return (i + 1) % c["moe_layer_interval"] == 0


def tensors(c):
    hidden, width, count = c["hidden_size"], c["intermediate_size"], c["num_experts"]

    def three_way(p):
        return [(p + "gate_proj.weight", [2 * width, hidden], "", 1.5),
                (p + "up_proj.weight", [width, hidden], "", 1.5),
                (p + "down_proj.weight", [hidden, width])]

    def network(p, i):
        if not routed(c, i):
            return three_way(p + "mlp.")
        return (shapes.router(p + "mlp.gate_weight", count, hidden)
                + [(p + "mlp.experts.wi_gate", [count, hidden, 2 * width], "in_out", 1.5),
                   (p + "mlp.experts.wi_up", [count, hidden, width], "in_out", 1.5),
                   (p + "mlp.experts.wo", [count, width, hidden], "in_out"),
                   (p + "pre_extra_mlp_layernorm.weight", [hidden])] + three_way(p + "extra_mlp."))

    def mixer(p, i):
        """Scores are not divided by the root of the width, so q and k are small."""
        return [(name, shape, "", 0.7 if "q_proj" in name or "k_proj" in name else 1)
                for name, shape, *_ in shapes.heads(p + "self_attn.", c)]
    return shapes.decoder(c, mixer, network)


CONFIG = {"architectures": ["OpenMoeForCausalLM"], "model_type": "llama", "hidden_act": "swiglu", "hidden_size": 24,
          "head_dim": 8, "intermediate_size": 12, "num_hidden_layers": 4, "num_attention_heads": 3,
          "num_key_value_heads": 3, "num_experts": 5, "moe_layer_interval": 2, "router_topk": 2, "mlp_gated": True,
          "router_capacity_factor_eval": 2.0, "router_min_capacity": 4, "router_drop_tks": True,
          "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_scaling": None, "max_position_embeddings": 256,
          "vocab_size": 64, "tie_word_embeddings": False, "torch_dtype": "float32", "pretraining_tp": 1,
          "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
CASES = [Case("openmoe-tiny", "hpcaitech/ColossalAI modeling_openmoe.py", OpenMoe, CONFIG, tensors, 1)]
