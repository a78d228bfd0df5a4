# SPDX-License-Identifier: Apache-2.0
"""Yuan2.0-M32: localized filtering before q and k, a router that attends over experts.

Source: IEIT-Yuan/Yuan2.0-M32 at bb14520a, 3rd_party/AutoGPTQ/auto_gptq/modeling/yuan_moe_hf_model.py.
Heads of q and k are cut from the concatenation [q, k], so the first half of the heads takes both of its
sides from q_proj and the second half from k_proj.
"""
import rotary
import shapes
from case import Case
from decoder import Decoder, softmax_top
from plain import add, dot, linear, rms_norm, silu, softmax, split, times


class Yuan(Decoder):
    def prepare(self):
        c = self.c
        self.heads = c["num_attention_heads"]
        self.head = c["attention_projection_size"] // self.heads
        self.rotary = rotary.Rotary(rotary.plain(10000, c["hidden_size"] // self.heads))

    def filtered(self, p, x):
        """Two convolutions of two taps, the past before the first token being zero in each."""
        rows = x
        for name in ("conv1", "conv2"):
            taps, bias = self.w(f"{p}{name}.weight"), self.w(f"{p}{name}.bias")
            old, new = ([[entry[t][0] for entry in out] for out in taps] for t in (0, 1))
            past, after = [0.0] * len(rows[0]), []
            for row in rows:
                after.append(add(add(linear(old, past), linear(new, row)), bias))
                past = row
            rows = after
        return [rms_norm(add(a, b), self.w(p + "output_layernorm.weight"), 1e-6) for a, b in zip(rows, x)]

    def qkv(self, i, x):
        p = f"model.layers.{i}.self_attn."
        v = [split(self.linear(p + "v_proj", row), self.head) for row in x]
        mixed = [split(self.linear(p + "q_proj", row) + self.linear(p + "k_proj", row), 2 * self.head)
                 for row in self.filtered(p + "lf_gate.", x)]
        q, k = ([[both[cut] for both in row] for row in mixed] for cut in (slice(self.head), slice(self.head, None)))
        return self.turned(q), self.turned(k), v

    def router(self, i, p, row):
        q, k, v = (self.linear(p + "gate." + n, row) for n in ("query", "key", "value"))
        return [dot(softmax([a * b for b in k]), v) for a in q]

    def route(self, i, p, logits):
        m = self.c["moe_config"]
        return softmax_top(self, logits, m["moe_top_k"], m["norm_topk_prob"])

    def expert(self, p, e, row):
        both = self.linear(f"{p}experts.{e}.w1", row)
        half = len(both) // 2
        return self.linear(f"{p}experts.{e}.w2", times([silu(g) for g in both[:half]], both[half:]))


def tensors(c):
    hidden, size, m = c["hidden_size"], c["attention_projection_size"], c["moe_config"]

    def mixer(p, i):
        p += "self_attn."
        return [(p + "q_proj.weight", [size, hidden], "", shapes.PEAKED),
                (p + "k_proj.weight", [size, hidden], "", shapes.PEAKED),
                (p + "v_proj.weight", [size, hidden]), (p + "o_proj.weight", [hidden, size]),
                (p + "lf_gate.conv1.weight", [hidden // 2, hidden, 2, 1], "wide", (2 * hidden) ** -0.5 * 1.5),
                (p + "lf_gate.conv1.bias", [hidden // 2]),
                (p + "lf_gate.conv2.weight", [hidden, hidden // 2, 2, 1], "wide", hidden ** -0.5 * 1.5),
                (p + "lf_gate.conv2.bias", [hidden]), (p + "lf_gate.output_layernorm.weight", [hidden])]

    def network(p, i):
        p += "mlp."
        out = [(f"{p}gate.{n}.weight", [m["moe_num_experts"], hidden], "", gain)
               for n, gain in (("query", 1.0), ("key", 0.7), ("value", 4.0))]
        for e in range(m["moe_num_experts"]):
            out += [(f"{p}experts.{e}.w1.weight", [2 * m["ffn_hidden_size"], hidden], "", 1.5),
                    (f"{p}experts.{e}.w2.weight", [hidden, m["ffn_hidden_size"]])]
        return out
    return shapes.decoder(c, mixer, network, tied=True)


CONFIG = {"architectures": ["YuanForCausalLM"], "model_type": "yuan", "hidden_act": "silu", "hidden_size": 24,
          "intermediate_size": 8, "attention_projection_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
          "use_moe": True, "moe_config": {"moe_num_experts": 6, "moe_top_k": 2, "norm_topk_prob": True,
                                          "gated_linear_unit": True, "ffn_hidden_size": 8},
          "causal_mask": True, "use_flash_attention": False, "dropout": 0.0, "reset_attention_mask": True,
          "reset_position_ids": True, "use_loss_mask": False, "eod_token": 63, "sep_token": 62, "mask_token_id": 61,
          "rms_norm_eps": 1e-6, "model_max_length": 256, "max_position_embeddings": 256, "vocab_size": 64,
          "tie_word_embeddings": True, "torch_dtype": "float32", "bos_token_id": 63, "eos_token_id": 63,
          "pad_token_id": 63}
CASES = [Case("yuan-tiny", "IEIT-Yuan/Yuan2.0-M32 bb14520a yuan_moe_hf_model.py", Yuan, CONFIG, tensors, 96, avoid=(63,),
         matters=(("moe_config.norm_topk_prob", False),))]
