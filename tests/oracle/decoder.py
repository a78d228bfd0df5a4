# SPDX-License-Identifier: Apache-2.0
"""What most whole models share: the walk through layers, attention over heads, routing, experts.

Source: huggingface/transformers v4.57.6, src/transformers/models/mixtral/modeling_mixtral.py, and
what each family of families/ changes.
"""
import math

import rotary
from plain import (add, best, clipped, dot, linear, rms_norm, scaled, sigmoid, silu, softmax, split,
                   times)


class Decoder:
    """One sequence at a time, everything computed anew for each token that is added.

    A family overrides what it does otherwise. `trace` collects the named rows of all sequences;
    `gaps` how far every choice was from its runner-up, relative to both.
    """
    embedding = "model.embed_tokens.weight"

    def __init__(self, config, tensors):
        self.c, self.tensors, self.cache = config, tensors, {}
        self.trace, self.gaps = {}, []
        self.layers = config["num_hidden_layers"]
        self.eps = config.get("rms_norm_eps")
        self.prepare()

    def prepare(self):
        c = self.c
        self.heads = c["num_attention_heads"]
        self.kv_heads = c.get("num_key_value_heads") or self.heads
        self.head = c.get("head_dim") or c["hidden_size"] // self.heads
        self.rotary = rotary.of_config(c, int(self.head * c.get("partial_rotary_factor", 1)))

    # ---- weights by name ----
    def w(self, name):
        if name not in self.cache:
            self.cache[name] = self.tensors[name].nested() if name in self.tensors else None
        return self.cache[name]

    def linear(self, name, row):
        return linear(self.w(name + ".weight"), row, self.w(name + ".bias"))

    def norm(self, name, row):
        return rms_norm(row, self.w(name + ".weight"), self.eps)

    def note(self, key, rows):
        self.trace.setdefault(key, []).extend(rows)

    # ---- the walk ----
    def forward(self, ids):
        """Logits [S][vocab] of one sequence."""
        x = self.embed(ids)
        self.note("embed", x)
        for i in range(self.layers):
            x = self.layer(i, x)
            self.note(f"layer.{i}.hidden", x)
        x = self.final_norm(x)
        self.note("final_norm", x)
        logits = [self.head_logits(row) for row in x]
        self.note("logits", logits)
        return logits

    def embed(self, ids):
        return [list(self.w(self.embedding)[t]) for t in ids]

    def final_norm(self, x):
        return [self.norm("model.norm", row) for row in x]

    def head_logits(self, row):
        name = "model.embed_tokens" if self.c.get("tie_word_embeddings") else "lm_head"
        return self.linear(name, row)

    def layer(self, i, x):
        p = f"model.layers.{i}."
        a = self.attention(i, [self.norm(p + "input_layernorm", row) for row in x])
        self.note(f"layer.{i}.attn_out", a)
        h = [add(r, s) for r, s in zip(x, a)]
        return [add(r, s) for r, s in zip(h, self.block(i, h, p + "post_attention_layernorm"))]

    def block(self, i, h, norm):
        u = [self.norm(norm, row) for row in h]
        self.note(f"layer.{i}.mlp_in", u)
        y = [self.mlp(i, row) for row in u]
        self.note(f"layer.{i}.mlp_out", y)
        return y

    # ---- attention over heads ----
    def visible(self, i, query, key):
        """May position `query` of layer i see `key` <= query?"""
        window = self.window(i)
        return not window or key > query - window

    def window(self, i):
        return self.c.get("sliding_window")

    def qkv(self, i, x):
        """q [S][heads][d], k and v [S][kv heads][d], after clips, norms and positions."""
        p = f"model.layers.{i}.self_attn."
        q, k, v = ([self.linear(p + n + "_proj", row) for row in x] for n in "qkv")
        q, k = self.norm_wide(p, q, k)
        if self.c.get("clip_qkv") is not None:
            q, k, v = ([clipped(row, self.c["clip_qkv"]) for row in rows] for rows in (q, k, v))
        q, k, v = ([split(row, self.head) for row in rows] for rows in (q, k, v))
        q, k = self.norm_heads(p, q, k)
        return self.turned(q), self.turned(k), v

    def norm_wide(self, p, q, k):
        return q, k

    def norm_heads(self, p, q, k):
        return q, k

    def turned(self, rows):
        return [[self.rotary(head, s) for head in row] for s, row in enumerate(rows)]

    def attention(self, i, x):
        q, k, v = self.qkv(i, x)
        mixed = self.attend(i, q, k, v, self.head ** -0.5, self.w(f"model.layers.{i}.self_attn.sinks"))
        return [self.linear(f"model.layers.{i}.self_attn.o_proj", row) for row in mixed]

    def attend(self, i, q, k, v, scale, sinks=None):
        """[S][heads * d of v]; head h reads k and v of head h / (heads / kv heads)."""
        out = []
        for s, row in enumerate(q):
            seen = [j for j in range(s + 1) if self.visible(i, s, j)]
            mixed, group = [], len(row) // len(k[0])
            for h, head in enumerate(row):
                scores = [self.capped(dot(head, k[j][h // group]) * scale) for j in seen]
                p = softmax(scores + ([sinks[h]] if sinks else []))
                mixed += [math.fsum(p[n] * v[j][h // group][d] for n, j in enumerate(seen))
                          for d in range(len(v[0][0]))]
            out.append(mixed)
        return out

    def capped(self, score):
        return score

    # ---- dense and routed networks ----
    def mlp(self, i, row):
        p = f"model.layers.{i}.mlp."
        return self.gated(p, row) if p + "gate_proj.weight" in self.tensors else self.moe(i, p, row)

    def gated(self, p, row, names=("gate_proj", "up_proj", "down_proj"), act=silu):
        gate, up, down = names
        return self.linear(p + down, times([act(g) for g in self.linear(p + gate, row)],
                                           self.linear(p + up, row)))

    def top(self, scores, k):
        """The k best, and notes how clear the choice was."""
        order = best(scores, len(scores))
        if k < len(scores) and scores[order[k]] > -math.inf:
            a, b = scores[order[k - 1]], scores[order[k]]
            self.gaps.append((a - b) / max(abs(a) + abs(b), 1e-30))
        return order[:k]

    def moe(self, i, p, row):
        logits = self.router(i, p, row)
        chosen, weights = self.route(i, p, logits)
        self.note_route(i, logits, chosen, weights)
        parts = [self.weighed(p, e, row, w) for e, w in zip(chosen, weights)]
        return [math.fsum(column) for column in zip(*parts, *self.always(p, row))]

    def note_route(self, i, logits, chosen, weights):
        self.note(f"layer.{i}.router_logits", [logits])
        self.note(f"layer.{i}.topk_idx", [chosen])
        self.note(f"layer.{i}.topk_weight", [weights])

    def router(self, i, p, row):
        return self.linear(p + "gate", row)

    def route(self, i, p, logits):
        raise NotImplementedError

    def weighed(self, p, e, row, weight):
        return scaled(self.expert(p, e, row), weight)

    def expert(self, p, e, row):
        return self.gated(f"{p}experts.{e}.", row)

    def always(self, p, row):
        """Results of what is there for every token."""
        return []


def softmax_top(model, logits, k, renormalise):
    """Softmax over all, the k best, divided by their sum or not."""
    scores = softmax(logits)
    chosen = model.top(scores, k)
    total = math.fsum(scores[e] for e in chosen) if renormalise else 1
    return chosen, [scores[e] / total for e in chosen]


def sigmoid_biased(model, logits, bias, k, groups, kept, renormalise, scale):
    """DeepSeek-V3: sigmoid; choice by score + bias in the groups whose two best sum highest."""
    scores = [sigmoid(z) for z in logits]
    choice = add(scores, bias)
    width = len(choice) // groups
    sums = [math.fsum(sorted(g)[-2:]) for g in split(choice, width)]
    inside = set(model.top(sums, kept))
    chosen = model.top([s if e // width in inside else -math.inf for e, s in enumerate(choice)], k)
    total = math.fsum(scores[e] for e in chosen) + 1e-20 if renormalise else 1
    return chosen, [scores[e] / total * scale for e in chosen]


def greedy(model, ids, count):
    """The `count` ids that follow, and the smallest lead of a winning logit."""
    ids, lead = list(ids), math.inf
    for _ in range(count):
        logits = model.forward(ids)[-1]
        first, second = best(logits, 2)
        lead = min(lead, logits[first] - logits[second])
        ids.append(first)
    return ids[-count:], lead
