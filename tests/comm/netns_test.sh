#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The test of the rig itself and of what runs on it: netns_test.sh EXCHANGE_TEST, with runtime_cross_bench beside it
set -eu
rig=$(dirname "$0")/netns.sh
fail() { echo "netns_test: $1" >&2; exit 1; }

# Every test of the exchanges, where nodes are nodes: 4 of 2 ranks, 3 of 1, 1 of 3.
for shape in "4 2" "3 1" "1 3"; do
  status=0
  "$rig" -q -n "${shape% *}" -r "${shape#* }" "$@" || status=$?
  [ $status -ne 77 ] || exit 77
  [ $status -eq 0 ] || fail "exchanges on nodes x ranks $shape: status $status, want 0"
done

# Every byte counted: rows deduplicated a node, at OLMoE's sizes, within 5 % of the plan.
"$rig" -q "$(dirname "$1")/runtime_cross_bench" --check --rounds 3 p2p alltoallv two-level:1 \
  two-level:8 two-level:4:bfloat16 two-level:4:int8 two-level:4:fp8 || fail "bytes or results"

left() { ip netns list | grep -c "^sy$1-" || true; }
# The status is the command's, and nothing is left behind.
status=0
"$rig" -q -n 2 -r 1 sh -c 'exit 3' || status=$?
[ $status -eq 3 ] || fail "status is $status, want the command's 3"

# Ended from outside it cleans up; killed, the next run does it.
for signal in TERM KILL; do
  "$rig" -q -n 2 -r 1 sleep 60 &
  rig_pid=$!
  for _ in $(seq 100); do
    [ "$(left $rig_pid)" -eq 2 ] && ip netns pids "sy$rig_pid-2" | grep -q . && break
    sleep 0.1
  done
  [ "$(left $rig_pid)" -eq 2 ] || fail "the rig did not start"
  kill -s $signal $rig_pid
  wait $rig_pid 2> /dev/null || true
  [ $signal = TERM ] || "$rig" -q -n 1 -r 1 true
  [ "$(left $rig_pid)" -eq 0 ] || fail "$(left $rig_pid) namespaces left after SIG$signal, want 0"
done
echo "netns_test: all as it should be"
