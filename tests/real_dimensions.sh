#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One MoE layer of every preset at its real dimensions, with synthetic weights, over two ranks of this
# machine. The largest takes about 10 GB in MXFP4.
#   tests/real_dimensions.sh PROGRAM [FILE [TYPE [MODEL...]]]
# FILE (default real_dimensions.jsonl) gets a line a model; models that have one already, in this
# type, are not run again, so the script can be stopped and goes on where it was. Ends with a table.
# SECONDS_AT_MOST=200: begins no model after so many seconds, and leaves with 75 if some are left.
set -euo pipefail
exec python3 - "$@" <<'PYTHON'
import json, os, pathlib, subprocess, sys, threading, time

program = sys.argv[1]
results = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "real_dimensions.jsonl")
weights = sys.argv[3] if len(sys.argv) > 3 else "mxfp4"
BATCHES = (16, 512)  # tokens a step, all ranks together
RANKS = 2
at_most = float(os.environ.get("SECONDS_AT_MOST", "inf"))
started = time.monotonic()


def switchyard(*words):
    return json.loads(subprocess.run([program, *words, "--json", "-"], stdout=subprocess.PIPE, check=True).stdout)


def field(text, name):
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(name + ":"))


def children_of(pid):
    try:
        tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
        mine = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return mine + [deep for child in mine for deep in children_of(child)]


def memory_of(ranks):
    """Bytes in private memory of these processes, and in shared memory of the machine."""
    private = 0
    for pid in ranks:
        try:
            private += field(pathlib.Path(f"/proc/{pid}/status").read_text(), "RssAnon")
        except OSError:
            pass
    return private, field(pathlib.Path("/proc/meminfo").read_text(), "Shmem")


def run(model, tokens):
    """One run, and the most memory that all its ranks had together, shared memory counted once."""
    before = memory_of([])[1]
    job = subprocess.Popen(
        ["mpirun", "-n", str(RANKS), "--oversubscribe", program, "run", "--model", model,
         "--layers", "1", "--tokens", str(tokens), "--steps", "3", "--warmup", "1",
         "--weights", weights, "--deadline", "3600", "--json", "-"], stdout=subprocess.PIPE)
    most = 0
    done = threading.Event()

    def watch():
        nonlocal most
        while not done.wait(0.05):
            private, shared = memory_of(children_of(job.pid))
            most = max(most, private + max(0, shared - before))

    watcher = threading.Thread(target=watch)
    watcher.start()
    text = job.communicate()[0]
    done.set()
    watcher.join()
    if job.returncode != 0:
        sys.exit(f"{model}: exit status {job.returncode}")
    return json.loads(text) | {"peak_bytes": most}


def table(lines):
    print(f"| model | experts | expert | weights GB | load s | "
          + " | ".join(f"tokens/s at {tokens}" for tokens in BATCHES) + " | peak GB |")
    print("|" + "---|" * (6 + len(BATCHES)))
    for line in lines:
        rates = " | ".join(f"{rate:.0f}" if rate >= 100 else f"{rate:.1f}" for rate in line["tokens_per_s"])
        print(f"| {line['model']} | {line['experts']}, top {line['topk']} | {line['hidden']} x {line['width']} | "
              f"{1e-9 * line['weight_bytes']:.2f} | {line['load_s']:.1f} | {rates} | {1e-9 * line['peak_bytes']:.2f} |")


have = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
have = {line["model"]: line for line in have if line["weights"] == weights}
models = sys.argv[4:] or [model["name"] for model in switchyard("models")["models"]]
left = False
for model in models:
    if model in have:
        continue
    if time.monotonic() - started > at_most:
        left = True
        break
    shown = switchyard("models", "show", model)
    runs = [run(model, tokens) for tokens in BATCHES]
    line = {
        "model": model, "weights": weights, "ranks": RANKS, "tokens": BATCHES,
        "experts": shown["routed_experts"], "topk": shown["top_k"],
        "hidden": shown["hidden_size"], "width": shown["moe_intermediate_size"],
        "weight_bytes": RANKS * runs[0]["weight_bytes_largest_rank"],
        "load_s": min(run["load_s"] for run in runs),
        "tokens_per_s": [run["tokens_per_s"] for run in runs],
        "peak_bytes": max(run["peak_bytes"] for run in runs),
        "digests": [run["output_digest"] for run in runs],
    }
    have[model] = line
    with results.open("a") as out:
        print(json.dumps(line), file=out)
table([have[model] for model in models if model in have])
sys.exit(75 if left else 0)
PYTHON
