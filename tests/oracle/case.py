# SPDX-License-Identifier: Apache-2.0
"""One tiny checkpoint: what is drawn, what runs on it, and the folder it is written to."""
import json
import math
import random
from dataclasses import dataclass
from typing import Callable

import store
from decoder import greedy
from plain import rms

BATCH, NEW_TOKENS = 3, 8
MIN_GAP = 1e-3   # of a chosen score over the next, relative to both: far above float32 rounding
MIN_LEAD = 0.02  # of a greedy logit over the next
MIN_EFFECT = 0.02  # of rms of the logits: what a setting must do to them


@dataclass
class Case:
    name: str
    source: str      # file and version that the model was written from
    model: type      # a Decoder
    config: dict     # in the family's released keys
    tensors: Callable  # config -> [(name, shape[, init[, gain]])]
    seed: int        # of the first draw; a draw with a near tie is given up for the next
    matters: tuple = ()  # ("key.of.config", other value): each must change the logits
    length: int = 12   # tokens of a prompt
    shards: int = 2
    avoid: tuple = ()  # ids that a source treats apart (padding, end): in no prompt and no answer
    stored: Callable = None  # (tensors, seed) -> tensors as stored, where it is not float32

    def drawn(self, seed):
        out = {}
        for name, shape, *how in self.tensors(self.config):
            if name in out:
                raise ValueError(f"{self.name}: {name} is there twice")
            out[name] = store.draw(seed, name, shape, *how)
        return self.stored(out, seed) if self.stored else out

    def run(self, seed):
        """(tensors, prompts, traced rows, greedy ids, smallest lead), or None near a tie."""
        tensors = self.drawn(seed)
        model = self.model(self.config, tensors)
        source = random.Random(f"{seed} prompts")
        known = [t for t in range(len(model.w(model.embedding))) if t not in self.avoid]
        prompts = [[known[int(source.random() * len(known))] for _ in range(self.length)]
                   for _ in range(BATCH)]
        for ids in prompts:
            model.forward(ids)
        trace, lead, follow = model.trace, math.inf, []
        if min(model.gaps, default=1) < MIN_GAP:
            return None
        model.trace = {}
        for ids in prompts:
            after, margin = greedy(model, ids, NEW_TOKENS)
            follow.append(after)
            lead = min(lead, margin)
        if min(model.gaps, default=1) < MIN_GAP or lead < MIN_LEAD or any(
                t in self.avoid for ids in follow for t in ids):
            return None
        return tensors, prompts, trace, follow, lead

    def check_matters(self, tensors, prompts, logits):
        """@throws ValueError: a setting that this case is there for could be ignored unseen"""
        want = [x for row in logits[:self.length] for x in row]
        for key, value in self.matters:
            got = self.model(changed(self.config, key.split("."), value), tensors).forward(prompts[0])
            effect = rms([a - b for a, b in zip((x for row in got for x in row), want, strict=True)]) / rms(want)
            if effect < MIN_EFFECT:
                raise ValueError(f"{self.name}: {key} = {value} changes the logits by {effect:.1e} of rms, "
                                 f"want {MIN_EFFECT}")

    def write(self, folder):
        """Returns the seed it took."""
        seed, result = self.seed, None
        while result is None:
            result = self.run(seed)
            seed += result is None
        tensors, prompts, trace, follow, lead = result
        self.check_matters(tensors, prompts, trace["logits"])
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        (folder / "config.json").write_text(json.dumps(self.config, indent=1, sort_keys=True) + "\n")
        store.write_checkpoint(folder, tensors, self.shards)
        golden = {"golden.input_ids": whole(prompts), "golden.greedy_ids": whole(follow)}
        for name, rows in trace.items():
            golden["golden." + name] = named(name, rows, self.length)
        layers = sorted({int(name.split(".")[1]) for name in trace if name.endswith("router_logits")})
        store.write(folder / "golden.safetensors", golden, {
            "format": "moe-golden-model/1", "family": self.config["model_type"], "case": self.name,
            "moe_layers": json.dumps(layers), "math_dtype": "F64", "seed": str(seed),
            "provenance": json.dumps({"script": "tests/oracle/generate.py", "source": self.source}),
            "greedy_min_margin": f"{lead:.4f}"})
        return seed


def changed(config, keys, value):
    head, *rest = keys
    return config | {head: changed(config[head], rest, value) if rest else value}


def whole(rows):
    return store.Tensor.of([len(rows), len(rows[0])], [x for row in rows for x in row], "I64")


def named(name, rows, length):
    """Rows of all sequences: routing [B S, .], the rest [B, S, .]."""
    if name.endswith("topk_idx"):
        return whole(rows)
    if rms([x for row in rows for x in row]) < 1e-3:
        raise ValueError(f"{name}: vanishes, so it would compare nothing")
    routing = name.endswith(("router_logits", "topk_weight"))
    shape = [len(rows)] if routing else [len(rows) // length, length]
    return store.Tensor.of(shape + [len(rows[0])], [x for row in rows for x in row])
