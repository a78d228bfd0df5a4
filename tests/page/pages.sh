#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: pages.sh PROGRAM DIRECTORY [--shots]
# Makes pages of every kind in DIRECTORY and looks at them with browser.py: a study, a trace with a
# placement, thousands of ranks, and results whose names are long and look like markup.
set -eu
program=$(realpath "$1")
out=$2
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v python3 >/dev/null; then
  echo "pages: SKIPPED, no page was looked at: there is no python3 here" >&2
  exit 77
fi
rm -rf "$out"
mkdir -p "$out"
cd "$out"
"$program" report "$here/study.json" --output study.html >/dev/null

"$program" trace synth --workload zipf:1.1 --experts 64 --top-k 4 --layers 12 --tokens 256 --steps 20 \
  --output zipf.sytrace >/dev/null
"$program" place plan --trace zipf.sytrace --ranks 8 --ranks-per-node 4 --slots 10 --policy copies \
  --out copies.txt >/dev/null
"$program" place compare --trace zipf.sytrace --ranks 8 --slots 10 --windows 2 --json compare.json >/dev/null
"$program" report zipf.sytrace copies.txt compare.json --output placed.html >/dev/null
"$program" report zipf.sytrace --ranks 1536 --title "Fifteen hundred ranks" --output many.html >/dev/null

long='a<b>&"quoted" model of a name that goes on and on and does not end where a phone does'
for ranks in 1 2 3; do
  name="run$ranks<&>.json"
  printf '{"command":"run","ranks":%d,"steps":1,"seconds":0.0%d,"tokens_per_s":1,"model":"%s",' \
    $ranks $ranks "$(echo "$long $ranks" | sed 's/"/\\"/g')" >"$name"
  printf '"phases":[{"name":"dispatch","mean_ms":%d,"mean_wait_ms":0.5},{"name":"experts","mean_ms":3}]}' $ranks \
    >>"$name"
done
"$program" report run*.json --title "$long" --output strange.html >/dev/null
shots=
[ "${3:-}" != --shots ] || shots="--shots shots"
export PYTHONDONTWRITEBYTECODE=1
# shellcheck disable=SC2086  # nothing, or two words
exec python3 "$here/browser.py" $shots study.html placed.html many.html strange.html
