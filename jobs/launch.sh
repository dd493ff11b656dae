# Sourced: launch RANKS COMMAND... runs a command under mpirun as a laptop or a container needs it.
launch() {
  local ranks=$1; shift
  local env=(OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none)
  # Open MPI refuses root unless told twice; in a container there is nobody else.
  [ "$(id -u)" != 0 ] || env+=(OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1)
  if [ "$ranks" -le 1 ]; then "$@"; else env "${env[@]}" mpirun --oversubscribe -n "$ranks" "$@"; fi
}
