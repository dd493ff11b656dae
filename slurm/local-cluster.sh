#!/bin/bash
# A real Slurm of several virtual nodes on one computer, for tests and for trying batch scripts. Needs root, slurm-wlm, munge, iproute2.
# usage: local-cluster.sh up DIR [NODES [CPUS]]      start; DIR is a short path for its state (default 3 nodes of 2 CPUs)
#        local-cluster.sh sh DIR COMMAND...          run a command on the head node (sbatch, squeue ...)
#        local-cluster.sh node-down DIR K            cut the power of node nK
#        local-cluster.sh node-up DIR K              start it again
#        local-cluster.sh down DIR                   end everything
# Each node is a set of namespaces of its own (mount, host name, processes, network), so host names differ and ports never collide.
set -u
die() { echo "local-cluster: $*" >&2; exit 2; }
[ $# -ge 2 ] || { sed -n '2,8s/^# //p' "$0"; exit 2; }
verb=$1 dir=$(realpath -m "$2"); shift 2
self=$(realpath "$0")
export SLURM_CONF=$dir/slurm.conf

enter_head() { nsenter -t "$(cat "$dir/run/head.pid")" -m -u -n -p -- "$@"; }

write_conf() { # NODES CPUS
  cat >"$SLURM_CONF" <<CONF
ClusterName=local
SlurmctldHost=head(10.77.0.254)
SlurmUser=root
AuthInfo=socket=$dir/munge/socket,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
TmpFS=$dir/tmp/%n
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1
MpiDefault=pmix
ReturnToService=2
RequeueExit=75
KillWait=5
SlurmdTimeout=5
MessageTimeout=5
TCPTimeout=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MailProg=/bin/true
NodeName=n[1-$1] NodeAddr=10.77.0.[1-$1] CPUs=$2 RealMemory=4000 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES MaxTime=60 PriorityTier=1 State=UP
PartitionName=high Nodes=ALL MaxTime=60 PriorityTier=10 State=UP
CONF
  # The default fence of PMIx now and then crashes jobs in MPI_Init; the ring does not.
  echo PMIxCollFence=ring >"$dir/mpi.conf"
}

node_up() { # K, inside the head's namespaces
  unshare --mount --uts --net --pid --fork --kill-child --mount-proc --propagation private bash -c "
    hostname n$1
    for d in /dev/shm $dir/tmp/n$1 $dir/spool/n$1; do mount -t tmpfs tmpfs \$d; done
    ip link set lo up
    until ip addr add 10.77.0.$1/24 dev eth0 2>/dev/null; do sleep 0.01; done
    ip link set eth0 up
    while :; do slurmd -D -N n$1 >/dev/null 2>&1; sleep 3; done" </dev/null >/dev/null 2>&1 &
  echo $! >"$dir/run/host.n$1"
  disown
  local init=
  until init=$(pgrep -P "$(cat "$dir/run/host.n$1")"); do sleep 0.01; done
  ip link add "v$1" type veth peer name eth0 netns "$init"
  ip link set "v$1" master br0 up
}

head_main() { # NODES CPUS, as process 1 of the head's namespaces
  hostname head
  ip link set lo up
  ip link add br0 type bridge
  ip addr add 10.77.0.254/24 dev br0
  ip link set br0 up
  { echo 127.0.0.1 localhost; echo 10.77.0.254 head; for i in $(seq "$1"); do echo "10.77.0.$i n$i"; done; } >"$dir/hosts"
  mount --bind "$dir/hosts" /etc/hosts
  (umask 077; head -c 1024 /dev/urandom >"$dir/munge/key")
  # Forced: it would refuse a folder that only its owner may enter.
  munged -F --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/pid" \
    --log-file="$dir/munge/log" --seed-file="$dir/munge/seed" 2>/dev/null &
  until [ -S "$dir/munge/socket" ]; do sleep 0.01; done
  slurmctld -D -c 2>/dev/null &
  for i in $(seq "$1"); do node_up "$i"; done
  for _ in $(seq 600); do
    [ "$(sinfo -h -N -p low -t idle -o %N 2>/dev/null | wc -l)" = "$1" ] && { touch "$dir/run/ready"; break; }
    sleep 0.05
  done
  while :; do sleep 3600 & wait $!; done
}

case $verb in
  up)
    nodes=${1:-3} cpus=${2:-2}
    [ "$(id -u)" = 0 ] || die "needs root: every node gets namespaces of its own"
    for tool in slurmctld slurmd munged unshare nsenter ip pgrep; do
      command -v $tool >/dev/null || PATH=$PATH:/usr/sbin command -v $tool >/dev/null || die "$tool is missing (Debian: slurm-wlm munge iproute2 util-linux procps)"
    done
    [ ! -e "$dir/run/head.pid" ] || ! kill -0 "$(cat "$dir/run/holder.pid")" 2>/dev/null || die "$dir is up already"
    rm -rf "$dir"/{state,log,run,tmp,spool,munge}
    mkdir -p "$dir"/{munge,state,log,run,tmp,spool}
    for i in $(seq "$nodes"); do mkdir -p "$dir"/{tmp,spool}/n$i; done
    write_conf "$nodes" "$cpus"
    PATH=$PATH:/usr/sbin:/sbin setsid unshare --mount --net --uts --pid --fork --kill-child --mount-proc --propagation private \
      bash "$self" __head "$dir" "$nodes" "$cpus" </dev/null >"$dir/log/head.log" 2>&1 &
    echo $! >"$dir/run/holder.pid"
    disown
    for _ in $(seq 700); do [ -e "$dir/run/ready" ] && break; sleep 0.05; done
    pgrep -P "$(cat "$dir/run/holder.pid")" >"$dir/run/head.pid" || true
    [ -e "$dir/run/ready" ] || { tail -5 "$dir"/log/*.log "$dir"/munge/log >&2; bash "$self" down "$dir"; die "the nodes did not come up"; }
    echo "local-cluster: $nodes nodes are up; SLURM_CONF=$SLURM_CONF"
    ;;
  __head) head_main "$@" ;;
  sh) enter_head "$@" ;;
  node-down) enter_head bash -c 'kill -KILL "$(cat "$1")"' - "$dir/run/host.n$1" ;;
  node-up) enter_head bash "$self" __node "$dir" "$1" ;;
  __node) node_up "$1" ;;
  down)
    [ -e "$dir/run/holder.pid" ] || die "$dir is not up"
    kill -KILL "$(cat "$dir/run/holder.pid")" 2>/dev/null
    rm -f "$dir/run/holder.pid" "$dir/run/head.pid"
    ;;
  *) die "unknown verb $verb (up, sh, node-down, node-up, down)" ;;
esac
