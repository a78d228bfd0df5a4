#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Repeats the oracle: its parts against official whole models and blocks, and two of its own folders,
# whose bytes must come out as they are stored. Without python3 it says so and leaves with 77.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v python3 >/dev/null; then
  echo "oracle: SKIPPED, nothing was compared: there is no python3 here" >&2
  exit 77
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export PYTHONDONTWRITEBYTECODE=1
python3 "$here/check.py"
for case in jamba-tiny deepseek-v3-fp8-tiny; do
  python3 "$here/generate.py" --out "$out" "$case"
  diff -r "$here/../golden/oracle/$case" "$out/$case"
done
