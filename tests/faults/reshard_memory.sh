#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Offline reshard of a checkpoint in bounded memory: makes released weights of so many GiB, imports,
# reshards and exports them, and compares. Fails if reshard's peak resident memory exceeds the limit.
# usage: tests/faults/reshard_memory.sh PROGRAM [GIB [LIMIT_MIB]]
set -euo pipefail
program=$1 gib=${2:-4} limit=${3:-320}
work=$(mktemp -d "${TMPDIR:-/tmp}/reshard.XXXXXX")
trap 'rm -rf "$work"' EXIT

# One mixtral-like layer whose experts are GIB large: 8 experts of 3 matrices [width, 1024] in float32.
python3 - "$work/released" "$gib" "$(dirname "$0")/../golden/models/mixtral-tiny/config.json" <<'END'
import json, os, struct, sys
folder, gib, like = sys.argv[1], float(sys.argv[2]), sys.argv[3]
os.mkdir(folder)
hidden, experts = 1024, 8
width = int(gib * 2**30 / (experts * 3 * hidden * 4))
config = json.load(open(like))
config.update(hidden_size=hidden, intermediate_size=width, num_hidden_layers=1, num_attention_heads=8,
              num_key_value_heads=2, vocab_size=96)
json.dump(config, open(folder + "/config.json", "w"))
shapes = {"lm_head.weight": [96, hidden], "model.embed_tokens.weight": [96, hidden],
          "model.norm.weight": [hidden]}
layer = "model.layers.0."
shapes |= {layer + "input_layernorm.weight": [hidden], layer + "post_attention_layernorm.weight": [hidden],
           layer + "self_attn.q_proj.weight": [hidden, hidden], layer + "self_attn.k_proj.weight": [256, hidden],
           layer + "self_attn.v_proj.weight": [256, hidden], layer + "self_attn.o_proj.weight": [hidden, hidden],
           layer + "block_sparse_moe.gate.weight": [experts, hidden]}
for e in range(experts):
    for name, shape in ("w1", [width, hidden]), ("w2", [hidden, width]), ("w3", [width, hidden]):
        shapes[f"{layer}block_sparse_moe.experts.{e}.{name}.weight"] = shape
header, at = {}, 0
for name, shape in shapes.items():
    size = 4
    for extent in shape: size *= extent
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
    at += size
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(folder + "/model.safetensors", "wb") as out:
    out.write(struct.pack("<Q", len(text)) + text)
    piece, done = os.urandom(1 << 20), 0
    while done < at:
        block = struct.pack("<Q", done) + piece[8:]  # no two blocks alike
        out.write(block[:at - done])
        done += len(block)
END

# peak NAME COMMAND...: runs it, and says its peak resident memory in MiB.
peak() {
  local name=$1
  shift
  python3 - "$name" "$@" <<'END'
import resource, subprocess, sys, time
begin = time.time()
status = subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL).returncode
mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(f"{sys.argv[1]}: {time.time() - begin:.1f} s, peak {mib:.0f} MiB")
open("/dev/stderr", "w").close()
sys.exit(status if status else (0 if mib < float(__import__("os").environ["LIMIT"]) else 3))
END
}
export LIMIT=$limit
peak import "$program" checkpoint import "$work/released" --output "$work/one" --files 2
cmp_size=$(stat -c %s "$work/released/model.safetensors")
peak reshard "$program" checkpoint reshard "$work/one" --output "$work/other" --files 5 --max-memory 256M
rm -rf "$work/one"
peak export "$program" checkpoint export "$work/other" --output "$work/back"
cmp "$work/released/model.safetensors" "$work/back/model.safetensors"
echo "$cmp_size bytes went through 2 and 5 files and came back equal"
