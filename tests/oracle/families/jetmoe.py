# SPDX-License-Identifier: Apache-2.0
"""JetMoE: a mixture of attention heads before a mixture of networks; one bias a block, unweighted.

Source: huggingface/transformers at 00dcc6dd, src/transformers/models/jetmoe/modeling_jetmoe.py;
configuration_jetmoe.py at 05cd1ec1 (the head size is kv_channels).
"""
import math

import rotary
import shapes
from case import Case
from decoder import Decoder
from plain import add, linear, scaled, silu, softmax, split, times


class JetMoe(Decoder):
    def prepare(self):
        self.kv_heads, self.head = self.c["num_key_value_heads"], self.c["kv_channels"]
        self.rotary = rotary.of_config(self.c, self.head)

    def chosen(self, logits):
        """Softmax over the k best logits only."""
        best = self.top(logits, self.c["num_experts_per_tok"])
        return best, softmax([logits[e] for e in best])

    def attention(self, i, x):
        """Every chosen expert has its queries and output; keys and values are one set for all."""
        p = f"model.layers.{i}.self_attention."
        into, out = self.w(p + "experts.input_linear.weight"), self.w(p + "experts.output_linear.weight")
        routes = [self.chosen(self.linear(p + "experts.router.layer", row)) for row in x]
        both = [self.linear(p + "kv_proj", row) for row in x]
        size = self.kv_heads * self.head
        k, v = ([split(row[cut], self.head) for row in both] for cut in (slice(size), slice(size, None)))
        k = self.turned(k)
        parts = []
        for slot in range(self.c["num_experts_per_tok"]):
            q = self.turned([split(linear(into[chosen[slot]], row), self.head)
                             for row, (chosen, _) in zip(x, routes)])
            parts.append(self.attend(i, q, k, v, self.head ** -0.5))
        bias = self.w(p + "experts.bias")
        return [add([math.fsum(column) for column in zip(*(
            scaled(linear(out[e], parts[slot][s]), w) for slot, (e, w) in enumerate(zip(*routes[s]))))], bias)
            for s in range(len(x))]

    def layer(self, i, x):
        p = f"model.layers.{i}."
        a = self.attention(i, [self.norm(p + "input_layernorm", row) for row in x])
        self.note(f"layer.{i}.attn_out", a)
        h = [add(r, s) for r, s in zip(x, a)]
        return [add(r, s) for r, s in zip(h, self.block(i, h, p + "post_attention_layernorm"))]

    def mlp(self, i, row):
        return self.moe(i, f"model.layers.{i}.mlp.", row)

    def router(self, i, p, row):
        return self.linear(p + "router.layer", row)

    def route(self, i, p, logits):
        return self.chosen(logits)

    def expert(self, p, e, row):
        both = linear(self.w(p + "input_linear.weight")[e], row)
        half = len(both) // 2
        return linear(self.w(p + "output_linear.weight")[e], times([silu(g) for g in both[:half]], both[half:]))

    def always(self, p, row):
        return [self.w(p + "bias")]


def tensors(c):
    hidden, width, count = c["hidden_size"], c["intermediate_size"], c["num_local_experts"]
    size = c["kv_channels"] * c["num_key_value_heads"]
    first, last = shapes.ends(c, tied=True)
    out = list(first)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        a, m = p + "self_attention.", p + "mlp."
        out += shapes.norms(p, hidden, "input_layernorm", "post_attention_layernorm")
        out += shapes.router(a + "experts.router.layer.weight", count, hidden)
        out += [(a + "experts.input_linear.weight", [count, size, hidden]),
                (a + "experts.output_linear.weight", [count, hidden, size]), (a + "experts.bias", [hidden]),
                (a + "kv_proj.weight", [2 * size, hidden])]
        out += shapes.router(m + "router.layer.weight", count, hidden)
        out += [(m + "input_linear.weight", [count, 2 * width, hidden], "", 1.5),
                (m + "output_linear.weight", [count, hidden, width]), (m + "bias", [hidden])]
    return out + last


CONFIG = {"architectures": ["JetMoeForCausalLM"], "model_type": "jetmoe", "activation_function": "silu",
          "hidden_size": 24, "intermediate_size": 12, "kv_channels": 8, "num_hidden_layers": 3,
          "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 5, "num_experts_per_tok": 2,
          "aux_loss_coef": 0.01, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 256,
          "vocab_size": 64, "tie_word_embeddings": True, "torch_dtype": "float32", "bos_token_id": 1,
          "eos_token_id": 2}
CASES = [Case("jetmoe-tiny", "huggingface/transformers 00dcc6dd modeling_jetmoe.py", JetMoe, CONFIG, tensors, 2)]
