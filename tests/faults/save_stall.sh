#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# F18: what a save every 50 steps costs a run, with and without it in turn.
#   save_stall.sh PROGRAM [ROUNDS=3] [DIRECTORY=.] [RUN'S OPTIONS...]
set -euo pipefail
program=$1
rounds=${2:-3}
folder=${3:-.}/save-stall-$$
shift $(($# < 3 ? $# : 3))
options=("$@")
if [ ${#options[@]} = 0 ]; then options=(--model olmoe --set routed_experts=16 --tokens 256); fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder"
one() { mpirun -q -n 2 "$program" run --stateful --steps 151 "${options[@]}" --json "$@" >/dev/null; }
for ((round = 0; round < rounds; ++round)); do
  one "$folder/plain-$round.json"
  rm -rf "$folder/saved"
  one "$folder/saving-$round.json" --save-to "$folder/saved" --save-every 50
done
python3 - "$folder" "$rounds" <<'END'
import json, statistics, sys
folder, rounds = sys.argv[1], int(sys.argv[2])
load = lambda name: json.load(open(f"{folder}/{name}.json"))
pairs = [(load(f"plain-{i}"), load(f"saving-{i}")) for i in range(rounds)]
assert all(p["state_digest"] == s["state_digest"] for p, s in pairs), "another state"
stalls = [100 * s["saving"]["save_stall_ms"] * 1e-3 * s["saving"]["begun_between_steps"] / s["seconds"] for _, s in pairs]
slower = [100 * (s["seconds"] / p["seconds"] - 1) for p, s in pairs]
last = pairs[-1][1]
print(f"F18: saves of {last['saving']['bytes'] / 1e6:.0f} MB, one every 50 steps of "
      f"{1e3 * last['seconds'] / last['steps']:.1f} ms: steps stood still for "
      f"{statistics.median(stalls):.2f} % of the time (most {max(stalls):.2f} %; "
      f"{last['saving']['save_stall_ms']:.2f} ms a save, {last['saving']['skipped']} left out), the whole run took "
      f"{statistics.median(slower):+.2f} % (from {min(slower):+.2f} to {max(slower):+.2f}); changing weights "
      f"took {100 * last['state_ms_per_step'] * last['steps'] * 1e-3 / last['seconds']:.2f} %")
sys.exit(0 if statistics.median(stalls) <= 3 else 1)
END
