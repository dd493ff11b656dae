#!/bin/bash
# Ranks on three hosts of their own, each with a host name, processes, shared memory and a network address: the job's
# messages cross real interfaces, slowed where the kernel can; the store is that of one host. A host that
# vanishes ends the job, and the same command completes.
. "$(dirname "$0")/cohort_lib.bash"
skip() { echo "skipped: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "hosts of their own namespaces need root"
PATH=$PATH:/usr/sbin:/sbin
for tool in mpirun unshare nsenter ip tc; do
  command -v $tool >/dev/null || skip "$tool is missing (Debian: openmpi-bin util-linux iproute2)"
done
unshare --mount --uts --pid --net --fork true 2>/dev/null || skip "this machine lets root make no namespaces"
# The head of the little network is this script itself, in a namespace that ends with it.
if [ -z "${LOB_HOSTS_INSIDE:-}" ]; then
  draw_cohort
  rm -rf "$work"
  LOB_HOSTS_INSIDE=1 exec unshare --mount --net --uts --pid --fork --kill-child --mount-proc --propagation private bash "$0"
fi
draw_cohort
hosts=3
hostname head
ip link set lo up
ip link add br0 type bridge && ip addr add 10.78.0.254/24 dev br0 && ip link set br0 up || skip "this machine makes no bridge"
{ echo 127.0.0.1 localhost; echo 10.78.0.254 head; for k in $(seq $hosts); do echo "10.78.0.$k h$k"; done; } >"$work/hosts"
mount --bind "$work/hosts" /etc/hosts
slow() { # [nsenter ...] tc dev DEVICE QDISC...
  local before=()
  while [ "$1" != dev ]; do before+=("$1"); shift; done
  "${before[@]}" qdisc add "$1" "$2" root "${@:3}" 2>/dev/null
}
host_up() { # K
  local init=
  unshare --mount --uts --net --pid --fork --kill-child --mount-proc --propagation private bash -c "
    hostname h$1; mount -t tmpfs tmpfs /dev/shm; ip link set lo up
    until ip addr add 10.78.0.$1/24 dev eth0 2>/dev/null; do sleep 0.01; done
    ip link set eth0 up; touch $work/up.$1; exec sleep infinity" </dev/null >/dev/null 2>&1 &
  echo $! >"$work/host.$1"
  disown
  until init=$(pgrep -P "$(cat "$work/host.$1")"); do sleep 0.01; done
  echo "$init" >"$work/init.$1"
  ip link add "w$1" type veth peer name eth0 netns "$init"
  ip link set "w$1" master br0 up
  until [ -e "$work/up.$1" ]; do sleep 0.01; done
  # Both ways; a kernel without netem can still hold back the rate.
  if slow tc dev "w$1" netem delay 1ms rate 50mbit && slow nsenter -t "$init" -n tc dev eth0 netem delay 1ms rate 50mbit; then
    shape="2 ms there and back, 50 Mbit/s"
  elif slow tc dev "w$1" tbf rate 50mbit burst 64kb latency 50ms && slow nsenter -t "$init" -n tc dev eth0 tbf rate 50mbit burst 64kb latency 50ms; then
    shape="50 Mbit/s, no delay (this kernel has no netem)"
  else
    shape="not slowed (this kernel has neither netem nor tbf)"
  fi
}
for k in $(seq $hosts); do host_up "$k"; done
# What ssh would be: mpirun starts its daemons by it.
cat >"$work/rsh" <<R
#!/bin/bash
host=\$1; shift
exec nsenter -t "\$(cat "$work/init.\${host#h}")" -m -u -n -p -- bash -c "cd $work; \$*"
R
chmod +x "$work/rsh"
bytes() { awk '$1 ~ /^w[0-9]+:$/ { sum += $2 } END { print sum + 0 }' /proc/net/dev; }
across() { # STAGE OUT [options of mpirun]: four ranks on three hosts
  mpirun --host h1:2,h2:1,h3:1 -n 4 --mca plm_rsh_agent "$work/rsh" --mca plm rsh --mca btl_tcp_if_include 10.78.0.0/24 \
    --mca oob_tcp_if_include 10.78.0.0/24 --mca oob_tcp_keepalive_time 2 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 2 \
    --mca mpi_yield_when_idle 1 --mca hwloc_base_binding_policy none "$LOBULE" "$1" --output "$2" "$study" >>"$work/log" 2>&1
}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
started=$SECONDS
across plan "$work/net"; expect "plan across three hosts" 0 $?
before=$(bytes)
across embed "$work/net"; expect "embed across three hosts" 0 $?
crossed=$(($(bytes) - before))
expect "store" "$(cat "$cohort/calm")" "$(digest "$work/net")"
say "$crossed bytes crossed the interfaces of the hosts during embed"
[ $crossed -gt 20000 ] || fail "hardly anything crossed the network"
say "plan and embed took $((SECONDS - started)) s; between hosts: $shape"

# NFS would be refused here: hosts are counted, not ranks.
LOB_TEST_FILESYSTEM=NFS mpirun -x LOB_TEST_FILESYSTEM --host h1:1,h2:1 -n 2 --mca plm_rsh_agent "$work/rsh" --mca plm rsh --mca btl_tcp_if_include 10.78.0.0/24 \
  --mca oob_tcp_if_include 10.78.0.0/24 "$LOBULE" plan --output "$work/nfs" "$study" >"$work/nfs.log" 2>&1; expect "several hosts on NFS" 2 $?
grep -q 'lies on NFS' "$work/nfs.log" || fail "does not name NFS"

across plan "$work/lost"; expect "plan" 0 $?
across embed "$work/lost" &
job=$!
while kill -0 $job 2>/dev/null && [ "$(ranges "$work/lost")" -lt 3 ]; do sleep 0.05; done
kill -KILL "$(cat "$work/host.3")"
wait $job; rc=$?
[ $rc != 0 ] || fail "the loss of a host went unnoticed"
say "a host lost with $(ranges "$work/lost") ranges journalled: exit code $rc"
ip link del w3 2>/dev/null
rm -f "$work/up.3"
host_up 3
across embed "$work/lost"; expect "embed once the host is back" 0 $?
expect "store" "$(cat "$cohort/calm")" "$(digest "$work/lost")"
[ $failures = 0 ] || tail -5 "$work/log"
finish
