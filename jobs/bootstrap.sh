#!/bin/bash
# Makes sure everything lobule needs to build is there: installs it where apt and rights exist, else names each missing piece.
# usage: jobs/bootstrap.sh [--no-install] [--tests] [--slurm] [--oracles]
# Pieces marked optional or oracle (what tests compare with) may stay missing; they are named.
set -u
install=yes tests=no slurm=no oracles=no
for arg in "$@"; do
  case $arg in
    --no-install) install=no ;;
    --tests) tests=yes ;;
    --slurm) slurm=yes ;;
    --oracles) oracles=yes ;;
    -h|--help) sed -n '2,4s/^# //p' "$0"; exit 0 ;;
    *) echo "bootstrap: unknown option $arg (see --help)" >&2; exit 2 ;;
  esac
done

# piece | how to see that it is there | Debian/Ubuntu package | Spack | conda | usual module
pieces='
C compiler|cc --version|build-essential|gcc|c-compiler|gcc
CMake >= 3.22|cmake --version|cmake|cmake|cmake|cmake
Ninja|ninja --version|ninja-build|ninja|ninja|ninja
pkg-config|pkg-config --version|pkg-config|pkgconf|pkg-config|pkgconf
MPI compiler|mpicc --version|libopenmpi-dev|openmpi|openmpi|openmpi
mpirun|mpirun --version|openmpi-bin|openmpi|openmpi|openmpi
parallel HDF5|h5pcc.openmpi -showconfig >/dev/null 2>&1 || h5pcc -showconfig|libhdf5-openmpi-dev|hdf5+mpi|hdf5=*=mpi_openmpi*|hdf5-parallel
OpenSlide|pkg-config --exists openslide|libopenslide-dev|openslide|openslide|openslide
OpenBLAS|ls /usr/lib/*/openblas-serial/libopenblas.so >/dev/null 2>&1 || pkg-config --exists openblas|libopenblas-serial-dev|openblas threads=none|openblas|openblas
GLib|pkg-config --exists glib-2.0|libglib2.0-dev|glib|glib|glib
libyaml|pkg-config --exists yaml-0.1|libyaml-dev|libyaml|yaml|libyaml
libcsv|printf "#include <csv.h>\n" \| cc -E - |libcsv-dev|libcsv|libcsv|libcsv
jansson|pkg-config --exists jansson|libjansson-dev|jansson|jansson|jansson
libtiff|pkg-config --exists libtiff-4|libtiff-dev|libtiff|libtiff|libtiff
libjpeg|pkg-config --exists libjpeg|libjpeg-dev|libjpeg-turbo|libjpeg-turbo|libjpeg-turbo
libpng|pkg-config --exists libpng|libpng-dev|libpng|libpng|libpng
cairo|pkg-config --exists cairo|libcairo2-dev|cairo|cairo|cairo
libcrypto|pkg-config --exists libcrypto|libssl-dev|openssl|openssl|openssl
optional: oneDNN 2 or 3, for precision bf16|printf "#include <dnnl.h>\n" \| cc -E -|libdnnl-dev|onednn|onednn|onednn
'
if [ $tests = yes ]; then pieces+='
Criterion|printf "#include <criterion/criterion.h>\n" \| cc -E - |libcriterion-dev|criterion|criterion|criterion
h5dump, h5diff|h5dump --version|hdf5-tools|hdf5|hdf5|hdf5
process tools|pgrep -V|procps|procps|procps-ng|procps
Python 3 with h5py and Pillow|/usr/bin/python3 -c "import h5py, PIL, numpy"|python3-h5py python3-pil python3-numpy|py-h5py|h5py|python
'; fi
if [ $slurm = yes ]; then pieces+='
Slurm|slurmctld -V|slurm-wlm|slurm|-|slurm
munge|munged --version|munge|munge|-|munge
ip|ip -V|iproute2|iproute2|iproute2|-
'; fi
if [ $oracles = yes ]; then pieces+='
oracle: OpenCV for Python|/usr/bin/python3 -c "import cv2"|python3-opencv|opencv+python3|opencv|opencv
oracle: PyTorch|/usr/bin/python3 -c "import torch"|python3-torch|py-torch|pytorch|pytorch
oracle: R survival|Rscript -e "library(survival)"|r-base-core r-cran-survival|r-survival|r-survival|R
oracle: R metafor, pROC|Rscript -e "library(metafor); library(pROC)"|r-cran-metafor r-cran-proc|r-metafor|r-metafor|R
oracle: Chromium|chromium --version|chromium|-|-|-
'; fi

missing=() packages=() extras=() needed=0
while IFS= read -r line; do
  [ -n "$line" ] || continue
  line=${line//'\|'/$'\x01'}; line=${line//||/$'\x02'}
  IFS='|' read -r name probe deb spack conda module <<<"$line"
  probe=${probe//$'\x01'/|}; probe=${probe//$'\x02'/||}
  if ! (eval "$probe") >/dev/null 2>&1; then
    missing+=("$name: Debian '$deb', Spack '$spack', conda '$conda', module '$module'")
    case $name in
      optional:*|oracle:*) extras+=("$name|$deb") ;;
      *) packages+=($deb); needed=$((needed + 1)) ;;
    esac
  fi
done <<<"$pieces"

[ ${#missing[@]} -eq 0 ] && { echo "bootstrap: everything is there"; exit 0; }
sudo=; [ "$(id -u)" = 0 ] || sudo=$(command -v sudo)
if [ $install = no ] || ! command -v apt-get >/dev/null || { [ "$(id -u)" != 0 ] && ! $sudo -n true 2>/dev/null; }; then
  echo "bootstrap: missing, and not installed here:" >&2
  printf '  %s\n' "${missing[@]}" >&2
  [ $needed = 0 ] || exit 2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
install() { $sudo apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1; }
give_up() { tail -20 "$log" >&2; echo "bootstrap: apt-get failed; its output is in $log" >&2; exit 1; }
$sudo apt-get update >"$log" 2>&1 || [ $needed = 0 ] || give_up
if [ $needed -gt 0 ]; then
  echo "bootstrap: installing ${packages[*]}"
  install "${packages[@]}" || give_up
fi
for extra in "${extras[@]}"; do
  echo "bootstrap: installing ${extra#*|}"
  install ${extra#*|} || echo "bootstrap: ${extra%|*} is not to be had here (Debian ${extra#*|}); going on without" >&2
done
rm -f "$log"
echo "bootstrap: done"
