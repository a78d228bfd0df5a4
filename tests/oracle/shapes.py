# SPDX-License-Identifier: Apache-2.0
"""Lists of (name, shape[, init[, gain]]) that families share. Matrices are [out, in]."""

PEAKED = 1.6  # gain of q, k and routers: attention and routing that are far from uniform


def norms(p, width, *names):
    return [(f"{p}{name}.weight", [width]) for name in names]


def ends(c, tied=False):
    """A tied table is small: a large one would have every token predict itself."""
    wide = [("model.embed_tokens.weight", [c["vocab_size"], c["hidden_size"]], "wide", 0.6 if tied else 1.0)]
    return wide, [("model.norm.weight", [c["hidden_size"]])] + (
        [] if tied else [("lm_head.weight", [c["vocab_size"], c["hidden_size"]], "", 2.0)])


def gated(p, hidden, width, names=("gate_proj", "up_proj", "down_proj")):
    gate, up, down = names
    return [(f"{p}{gate}.weight", [width, hidden], "", 1.5), (f"{p}{up}.weight", [width, hidden], "", 1.5),
            (f"{p}{down}.weight", [hidden, width])]


def experts(p, count, hidden, width, names=("gate_proj", "up_proj", "down_proj")):
    return [t for e in range(count) for t in gated(f"{p}experts.{e}.", hidden, width, names)]


def router(name, count, hidden):
    return [(name, [count, hidden], "", PEAKED)]


def heads(p, c, qkv_bias=False, o_bias=False, size=None):
    size = size or c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    hidden, out = c["hidden_size"], []
    for name, count in (("q", c["num_attention_heads"]), ("k", c["num_key_value_heads"]),
                        ("v", c["num_key_value_heads"])):
        out.append((f"{p}{name}_proj.weight", [count * size, hidden], "", 1 if name == "v" else PEAKED))
        if qkv_bias:
            out.append((f"{p}{name}_proj.bias", [count * size]))
    out.append((f"{p}o_proj.weight", [hidden, c["num_attention_heads"] * size]))
    return out + ([(f"{p}o_proj.bias", [hidden])] if o_bias else [])


def latent(p, c):
    """Latent attention: a head of q and k is nope + rope wide, of v its own."""
    count, hidden, rank = c["num_attention_heads"], c["hidden_size"], c["kv_lora_rank"]
    wide = c["qk_nope_head_dim"] + c["qk_rope_head_dim"]
    q = ([(f"{p}q_a_proj.weight", [c["q_lora_rank"], hidden]), (f"{p}q_a_layernorm.weight", [c["q_lora_rank"]]),
          (f"{p}q_b_proj.weight", [count * wide, c["q_lora_rank"]], "", PEAKED)] if c["q_lora_rank"]
         else [(f"{p}q_proj.weight", [count * wide, hidden], "", PEAKED)])
    return q + [(f"{p}kv_a_proj_with_mqa.weight", [rank + c["qk_rope_head_dim"], hidden], "", PEAKED),
                (f"{p}kv_a_layernorm.weight", [rank]),
                (f"{p}kv_b_proj.weight", [count * (c["qk_nope_head_dim"] + c["v_head_dim"]), rank], "", 1.3),
                (f"{p}o_proj.weight", [hidden, count * c["v_head_dim"]])]


def decoder(c, mixer, network, names=("input_layernorm", "post_attention_layernorm"), tied=False):
    """The common checkpoint: per layer two norms, mixer(p, i) and network(p, i)."""
    first, last = ends(c, tied)
    out = list(first)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        out += norms(p, c["hidden_size"], *names) + mixer(p, i) + network(p, i)
    return out + last
