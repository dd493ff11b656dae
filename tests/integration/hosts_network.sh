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
  TMPDIR=${work%/*} LOB_HOSTS_INSIDE=1 exec unshare --mount --net --uts --pid --fork --kill-child --mount-proc --propagation private bash "$0"
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
    shape="2 ms there and back, 50 Mbit/s" least_ms=2
  elif slow tc dev "w$1" tbf rate 50mbit burst 64kb latency 50ms && slow nsenter -t "$init" -n tc dev eth0 tbf rate 50mbit burst 64kb latency 50ms; then
    shape="50 Mbit/s, no delay (this kernel has no netem)" least_ms=0
  else
    skip "this kernel has neither netem nor tbf: the network between hosts cannot be slowed"
  fi
}
for k in $(seq $hosts); do host_up "$k"; done
[ $least_ms = 2 ] || partly_impossible "latency between hosts (this kernel has no netem)"
# What the network is, as a program sees it: the time of a connection, and of 2 MB to another host.
nsenter -t "$(cat "$work/init.2")" -n /usr/bin/python3 -c '
import socket
with socket.create_server(("10.78.0.2", 7100)) as s:
    for _ in range(6):
        c, _ = s.accept()
        while c.recv(1 << 16): pass
        c.close()' &
server=$!
nsenter -t "$(cat "$work/init.1")" -n /usr/bin/python3 - $least_ms <<'PY'
import socket, sys, time
def connect():
    for _ in range(200):
        start = time.monotonic()
        try:
            return socket.create_connection(("10.78.0.2", 7100)), time.monotonic() - start
        except ConnectionRefusedError:
            time.sleep(0.05)
    sys.exit("nobody listens on the other host")
waits = []
for _ in range(5):
    c, seconds = connect()
    waits.append(seconds)
    c.close()
c, _ = connect()
start = time.monotonic()
c.sendall(bytes(2_000_000))
c.shutdown(socket.SHUT_WR)
c.recv(1)
mbit = 16 / (time.monotonic() - start)
print(f"hosts_network: a connection takes {1e3 * min(waits):.2f} ms, 2 MB travel at {mbit:.0f} Mbit/s")
sys.exit(min(waits) < 1e-3 * float(sys.argv[1]) or mbit > 60)
PY
expect "the network is as slow as asked for" 0 $?
wait $server
# What ssh would be: mpirun starts its daemons by it.
cat >"$work/rsh" <<R
#!/bin/bash
host=\$1; shift
exec nsenter -t "\$(cat "$work/init.\${host#h}")" -m -u -n -p -- bash -c "cd $work; \$*"
R
chmod +x "$work/rsh"
bytes() { awk '$1 ~ /^w[0-9]+:$/ { sum += $2 } END { print sum + 0 }' /proc/net/dev; }
across() { # STAGE OUT [options of lobule]: four ranks on three hosts
  mpirun --host h1:2,h2:1,h3:1 -n 4 --mca plm_rsh_agent "$work/rsh" --mca plm rsh --mca btl_tcp_if_include 10.78.0.0/24 \
    --mca oob_tcp_if_include 10.78.0.0/24 --mca oob_tcp_keepalive_time 2 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 2 \
    --mca mpi_yield_when_idle 1 --mca hwloc_base_binding_policy none "$LOBULE" "$1" --output "$2" "${@:3}" "$study" >>"$work/log" 2>&1
}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
started=$SECONDS
across plan "$work/net"; expect "plan across three hosts" 0 $?
before=$(bytes)
across embed "$work/net"; expect "embed across three hosts" 0 $?
crossed=$(($(bytes) - before))
expect "store" "$(cat "$cohort/calm")" "$(digest "$work/net")"
# The start of MPI and the self-check cross the network, too: a job of one slide says how much they are.
across plan "$work/one" --share 1/1000; expect "plan of one slide" 0 $?
before=$(bytes)
across embed "$work/one" --share 1/1000; expect "embed of one slide" 0 $?
started_bytes=$(($(bytes) - before))
more=$(($(ranges "$work/net") - $(ranges "$work/one")))
say "$crossed bytes crossed the interfaces of the hosts during embed, $started_bytes in a job of one slide; $more ranges more"
# Three ranges of four are worked on away from rank 0: a task there, a result back.
[ $((crossed - started_bytes)) -gt $((more * 300)) ] || fail "the ranges' messages did not cross the network"
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
