#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the shared parts against the official whole models: tests/oracle/check.py [GOLDEN/models].

Prints the worst error of every model over rms and leaves with 1 if one is not float32 rounding.
"""
import json
import sys
from pathlib import Path

import store
from decoder import greedy
from families import official
from plain import rms

FAMILIES = {"mixtral": official.Mixtral, "qwen2_moe": official.Qwen2Moe, "qwen3_moe": official.Qwen3Moe,
            "olmoe": official.Olmoe, "deepseek_v3": official.DeepseekV3, "gpt_oss": official.GptOss,
            "arctic": official.Arctic}
LIMIT = 1e-5  # of rms; the official float32 runs are within 3e-6 of float64


def flat(rows):
    return [x for row in rows for x in row]


def routing(idx, weights):
    return [sorted(zip(map(int, i), w)) for i, w in zip(idx, weights)]


def check(folder, family):
    config = json.loads((folder / "config.json").read_text())
    golden, _ = store.read(folder / "golden.safetensors")
    golden = {name.removeprefix("golden."): t for name, t in golden.items()}
    model = family(config, store.read_checkpoint(folder))
    prompts = golden["input_ids"].nested()
    for ids in prompts:
        model.forward(ids)
    seen, worst, where = dict(model.trace), 0.0, ""
    for name, t in golden.items():
        if name in ("input_ids", "greedy_ids", "aux_loss") or name.endswith("topk_idx"):
            continue
        got, want = flat(seen[name]), t.values()
        if name.endswith("topk_weight"):
            ids = name.replace("weight", "idx")
            pairs = routing(seen[ids], seen[name]), routing(golden[ids].nested(), t.nested())
            got, want = ([w for row in side for pair in row for w in pair] for side in pairs)
        error = max(abs(a - b) for a, b in zip(got, want, strict=True)) / rms(want)
        worst, where = max((worst, where), (error, name))
    same = all(greedy(model, ids, 8)[0] == want for ids, want in zip(prompts, golden["greedy_ids"].nested()))
    print(f"{folder.name:22} worst {worst:.2e} of rms at {where}, greedy ids {'equal' if same else 'DIFFER'}",
          flush=True)
    return worst < LIMIT and same


def main():
    here = Path(__file__).resolve().parent
    models = Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent / "golden" / "models"
    folders = [f for f in sorted(models.iterdir()) if (f / "config.json").exists()]
    good = []
    for folder in folders:
        family = FAMILIES[json.loads((folder / "config.json").read_text())["model_type"]]
        good.append(check(folder, family))
    if len(good) < len(FAMILIES):
        sys.exit(f"check: {models} has {len(good)} models, want {len(FAMILIES)}")
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
