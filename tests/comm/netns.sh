#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A cluster on one machine: network namespaces on a bridge, each end of each link limited, and
# mpirun with one daemon a namespace. Ranks of one namespace share memory, others have only TCP.
#
#   tests/comm/netns.sh [-n NODES] [-r RANKS_A_NODE] [-b RATE] [-q] COMMAND [ARGUMENT...]
#
# Prints, when COMMAND has ended, what every node sent and received (interface counters, mpirun's
# own traffic included) to stderr, -q: nothing. Leaves with COMMAND's status, or with 77, and a
# message, where the system does not let it make namespaces. Several may run at once.
set -eu
nodes=4 ranks=2 rate=200mbit quiet=false
while getopts n:r:b:q option; do
  case $option in
    n) nodes=$OPTARG ;;
    r) ranks=$OPTARG ;;
    b) rate=$OPTARG ;;
    q) quiet=true ;;
    *) sed -n '3,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { echo "netns: no command, want netns.sh [options] COMMAND" >&2; exit 2; }

skip() { echo "netns: SKIPPED: $1" >&2; exit 77; }
for tool in ip tc unshare mpirun setsid; do
  command -v $tool > /dev/null || PATH=$PATH:/usr/sbin:/sbin
  command -v $tool > /dev/null || skip "no $tool here"
done
# A name of this run's own, short: interfaces have at most 15 letters.
me=sy$$
work=$(mktemp -d "${TMPDIR:-/tmp}/$me.XXXXXX")

clean() {
  trap - EXIT INT TERM HUP
  for i in $(seq "$nodes"); do
    # What is left in a namespace would keep it alive, and its memory.
    for pid in $(ip netns pids "$me-$i" 2> /dev/null); do kill -9 "$pid" 2> /dev/null || true; done
    ip netns del "$me-$i" 2> /dev/null || true
    ip link del "$me.$i" 2> /dev/null || true
  done
  ip link del "$me" 2> /dev/null || true
  rm -rf "$work"
}
# Runs of this script that were killed with -9 could not clean up: whoever comes next does it.
sweep() {
  for name in $(ip netns list 2> /dev/null | sed -n 's/^\(sy[0-9][0-9]*-[0-9][0-9]*\).*/\1/p'); do
    owner=${name%-*} && owner=${owner#sy}
    [ -d "/proc/$owner" ] && continue
    for pid in $(ip netns pids "$name"); do kill -9 "$pid" 2> /dev/null || true; done
    ip netns del "$name" 2> /dev/null || true
    ip link del "sy$owner.${name#*-}" 2> /dev/null || true
    ip link del "sy$owner" 2> /dev/null || true
    rm -rf "${TMPDIR:-/tmp}/sy$owner."??????
  done
}
sweep
trap clean EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

ip link add "$me" type bridge 2> "$work/why" || skip "no right to make a bridge: $(cat "$work/why")"
ip link set "$me" up
hosts=
for i in $(seq "$nodes"); do
  ip netns add "$me-$i" 2> "$work/why" || skip "no right to make a namespace: $(cat "$work/why")"
  ip link add "$me.$i" type veth peer name eth0 netns "$me-$i" 2> "$work/why" ||
    skip "no right to make a link: $(cat "$work/why")"
  ip link set "$me.$i" master "$me" up
  # Large frames, as clusters have: counters then show little but what was sent.
  ip link set "$me.$i" mtu 9000
  ip -n "$me-$i" link set eth0 mtu 9000
  ip -n "$me-$i" addr add "10.77.0.$i/24" dev eth0
  ip -n "$me-$i" link set eth0 up
  ip -n "$me-$i" link set lo up
  # The same everywhere, whatever the machine prefers; reno is what every namespace may choose.
  ip netns exec "$me-$i" sysctl -qw net.ipv4.tcp_congestion_control=reno 2> /dev/null || true
  # Both ends: what a node sends, and what the switch sends to it.
  tc -n "$me-$i" qdisc add dev eth0 root tbf rate "$rate" burst 64kb limit 3mb 2> "$work/why" ||
    skip "no right to limit a link: $(cat "$work/why")"
  tc qdisc add dev "$me.$i" root tbf rate "$rate" burst 64kb limit 3mb
  hosts=$hosts,10.77.0.$i:$ranks
done

# A host name of its own makes each namespace a node to MPI (MPI_Comm_split_type and vader ask it).
cat > "$work/agent" << END
#!/bin/sh
host=\$1; shift
i=\${host##*.}
exec ip netns exec $me-\$i unshare -u sh -c "hostname $me-\$i; \$*"
END
chmod +x "$work/agent"
counters() {  # sent and received bytes of node $1
  ip netns exec "$me-$1" sed -n 's/^ *eth0: *//p' /proc/net/dev | awk '{ print $9, $1 }'
}
for i in $(seq "$nodes"); do counters "$i" > "$work/before.$i"; done
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
status=0
ip netns exec "$me-1" unshare -u sh -c "hostname $me-1"' && exec "$@"' sh mpirun \
  --mca plm_rsh_agent "$work/agent" --mca oob_tcp_if_include 10.77.0.0/24 \
  --mca pml ob1 --mca btl tcp,self,vader --mca btl_tcp_if_include 10.77.0.0/24 \
  --mca btl_vader_single_copy_mechanism none --mca orte_tmpdir_base "$work" \
  --oversubscribe --mca mpi_yield_when_idle 1 --bind-to none --map-by slot \
  -H "${hosts#,}" -np $((nodes * ranks)) "$@" &
child=$!
wait $child || status=$?
if ! $quiet; then
  for i in $(seq "$nodes"); do
    { cat "$work/before.$i"; counters "$i"; } | xargs echo |
      awk -v i="$i" '{ printf "netns: node %d sent %d bytes, received %d\n", i, $3 - $1, $4 - $2 }' >&2
  done
fi
exit $status
