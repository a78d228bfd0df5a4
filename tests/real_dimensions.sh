#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One MoE layer of every preset at its real dimensions, with synthetic weights, over two ranks. The
# largest takes about 11 GB in MXFP4.
#   tests/real_dimensions.sh PROGRAM [TYPE [MODEL...]]
set -euo pipefail
program=$1
weights=${2:-mxfp4}
shift $(($# < 2 ? $# : 2))
models=("$@")
if ((${#models[@]} == 0)); then
  mapfile -t models < <("$program" models --json - | python3 -c '
import json, sys
print("\n".join(model["name"] for model in json.load(sys.stdin)["models"]))')
fi
printf '%-28s %10s %9s %9s %9s %9s  %s\n' model weights,GB load,s step,ms tokens/s peak,GB digest
for model in "${models[@]}"; do
  python3 - "$program" "$weights" "$model" <<'PYTHON'
import json, resource, subprocess, sys
program, weights, model = sys.argv[1:]
done = subprocess.run(
    ["mpirun", "-n", "2", "--oversubscribe", program, "run", "--model", model, "--layers", "1",
     "--tokens", "16", "--steps", "2", "--warmup", "1", "--weights", weights,
     "--deadline", "3600", "--json", "-"], stdout=subprocess.PIPE, check=True)
run = json.loads(done.stdout)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # of the largest process
print(f"{model:28} {2e-9 * run['weight_bytes_largest_rank']:10.2f} {run['load_s']:9.1f} "
      f"{1e3 * run['seconds'] / run['steps']:9.1f} {run['tokens_per_s']:9.1f} {1e-9 * peak:9.2f}  "
      f"{run['output_digest'][:12]}", flush=True)
PYTHON
done
