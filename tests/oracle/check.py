#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs these models against official vectors: tests/oracle/check.py [GOLDEN].

The seven whole models, and the routed block of every family here that has one. Prints the worst error of each
over rms and leaves with 1 if one is not float32 rounding.
"""
import json
import sys
from pathlib import Path

import store
from decoder import greedy
from families import (dbrx, deepseek, glm, glm_dsa, grok1, jamba, jetmoe, llama4, official, phimoe, variants)
from plain import rms

FAMILIES = {"mixtral": official.Mixtral, "qwen2_moe": official.Qwen2Moe, "qwen3_moe": official.Qwen3Moe,
            "olmoe": official.Olmoe, "deepseek_v3": official.DeepseekV3, "gpt_oss": official.GptOss,
            "arctic": official.Arctic}
BLOCKS = {"dbrx": dbrx.Dbrx, "deepseek_v2": deepseek.DeepseekV2, "glm4_moe": glm.Glm4Moe,
          "glm_moe_dsa": glm_dsa.GlmMoeDsa, "gpt_oss_mxfp4": variants.GptOssMxfp4, "grok1": grok1.Grok1,
          "jamba": jamba.Jamba, "jetmoe": jetmoe.JetMoe, "llama4": llama4.Llama4, "phimoe": phimoe.Phimoe}
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


def check_block(path, family):
    """The routed block alone: the family's own routing, experts and what is always on."""
    tensors, about = store.read(path)
    config = json.loads(about["config"])
    model = family.__new__(family)  # a block's config is too small to prepare attention from
    model.c = {"num_experts_per_tok": config.get("num_selected_experts")} | config
    model.tensors, model.cache, model.trace, model.gaps = tensors, {}, {}, []
    prefix = about["tensor_prefix"].removeprefix("language_model.").removesuffix("moe/")
    got = [model.moe(0, prefix, row) for row in tensors["golden.hidden_in"].nested()]
    want = tensors["golden.output"].values()
    error = max(abs(a - b) for a, b in zip(flat(got), want, strict=True)) / rms(want)
    seen, golden = model.trace, {name: tensors["golden." + name].nested() for name in ("topk_idx", "topk_weight")}
    pairs = (routing(seen["layer.0.topk_idx"], seen["layer.0.topk_weight"]),
             routing(golden["topk_idx"], golden["topk_weight"]))
    same = all(a[0] == b[0] and abs(a[1] - b[1]) < 2e-6 * max(1, abs(b[1]))
               for mine, theirs in zip(*pairs) for a, b in zip(mine, theirs, strict=True))
    print(f"block {path.stem:16} worst {error:.2e} of rms, routing {'equal' if same else 'DIFFERS'}", flush=True)
    return error < LIMIT and same


def main():
    here = Path(__file__).resolve().parent
    golden = Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent / "golden"
    folders = [f for f in sorted((golden / "models").iterdir()) if (f / "config.json").exists()]
    good = []
    for folder in folders:
        family = FAMILIES[json.loads((folder / "config.json").read_text())["model_type"]]
        good.append(check(folder, family))
    if len(good) < len(FAMILIES):
        sys.exit(f"check: {golden} has {len(good)} whole models, want {len(FAMILIES)}")
    good += [check_block(golden / "moe" / f"{name}.safetensors", family) for name, family in BLOCKS.items()]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
