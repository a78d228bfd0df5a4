#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A supervised run under Slurm: saved and requeued when its time is up or a node is lost.
#   sbatch --nodes 4 --ntasks-per-node 8 launch/cluster/slurm.sh run --model olmoe --stateful --save-to /scratch/me/olmoe
#SBATCH --job-name=switchyard
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail

switchyard=${SWITCHYARD:-switchyard}
if (($# == 0)); then
  echo "slurm.sh: got no command, want one of switchyard's and its options" >&2
  exit 2
fi
echo "slurm.sh: job ${SLURM_JOB_ID:-none}, start $((${SLURM_RESTART_COUNT:-0} + 1))" >&2

# "node[1-3]" and "8(x3)" as node1:8,node2:8,...
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST" |
  sed "s/\$/:${SLURM_NTASKS_PER_NODE:?want --ntasks-per-node}/" | paste -sd,)

# Slurm signals this shell 120 s before the end (B:), which waits for nobody in the foreground.
"$switchyard" supervise --hosts "$hosts" --shrink-on-loss --grace 100 -- "$@" &
supervisor=$!
trap 'kill -USR1 $supervisor' USR1 TERM
wait $supervisor
status=$?
while kill -0 $supervisor 2>/dev/null; do # a trap ends wait before the supervisor has ended
  wait $supervisor
  status=$?
done

# 75: saved, or lost for now; a later start goes on from the last checkpoint.
if ((status == 75)); then scontrol requeue "$SLURM_JOB_ID"; fi
exit $status
