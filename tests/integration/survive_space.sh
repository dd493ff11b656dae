#!/bin/bash
# Before a core-hour is spent: no room, no inodes, a quota too small, an MPI-IO module that does not work and an encoder
# that computes something else than before are refused with a clear word; and with the cause gone the same command completes.
. "$(dirname "$0")/survive_lib.bash"
command -v h5diff >/dev/null || { echo "skipped: h5diff (hdf5-tools) is missing"; exit 77; }
volume() { # OPTIONS of mkfs.ext4: a small file system of its own in $work/v
  umount -l "$work/v" 2>/dev/null
  rm -f "$work/image" && truncate -s 24M "$work/image" && mkdir -p "$work/v" && mkfs.ext4 -q -F "$@" "$work/image" >"$work/mkfs.log" 2>&1 &&
    mount -o loop "$work/image" "$work/v" 2>>"$work/mkfs.log" && chmod 777 "$work/v"
}
refused() { # WHAT WORD CODE COMMAND...
  "${@:4}" >"$work/said" 2>&1; expect "$1" "$3" $?
  grep -qi "$2" "$work/said" && say "ok: says why: $(grep -i "$2" "$work/said" | head -1 | cut -c1-200)" || { fail "$1: no '$2' in what it said"; tail -3 "$work/said"; }
}
limit() { # USER BLOCKS_KIB INODES: the user's quota on the volume
  python3 - "$(findmnt -no SOURCE "$work/v")" "$@" <<'PY'
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
device, user, blocks, inodes = sys.argv[1].encode(), *map(int, sys.argv[2:])
quota = struct.pack("QQQQQQQQI4x", blocks, 0, 0, inodes, 0, 0, 0, 0, 1 | 4)
Q_SETQUOTA, USRQUOTA = 0x800008, 0
if libc.quotactl((Q_SETQUOTA << 8) | USRQUOTA, device, user, quota) != 0:
    sys.exit(f"quotactl: errno {ctypes.get_errno()}")
PY
}

if [ "$(id -u)" = 0 ] && command -v mkfs.ext4 setpriv findmnt >/dev/null && volume -N 48; then
  trap 'umount -l "$work/v" 2>/dev/null; rm -rf "$work"' EXIT
  refused "plan without inodes" 'inodes' 1 "$LOBULE" plan --output "$work/v/out" "$study"
  chmod 711 "$work"
  if volume -O quota -E quotatype=usrquota && limit 65534 64 0; then
    as_nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
    if "${as_nobody[@]}" test -x "$LOBULE" -a -r "$study"; then
      refused "plan with too small a quota" "user's quota" 1 "${as_nobody[@]}" "$LOBULE" plan --output "$work/v/out" "$study"
      limit 65534 0 20
      refused "plan with too small a quota of files" "user's quota of 20 files" 1 "${as_nobody[@]}" "$LOBULE" plan --output "$work/v/out" "$study"
      limit 65534 0 0
      "${as_nobody[@]}" "$LOBULE" plan --output "$work/v/out" "$study" >"$work/said" 2>&1; expect "plan once the quota is gone" 0 $?
    else
      partly_skipped "quotas (another user cannot read the program or the cohort)"
    fi
  else
    partly_impossible "quotas (this kernel mounts no ext4 with quotas)"
  fi
else
  partly_skipped "inodes and quotas (no right to mount a file system, or no mkfs.ext4)"
fi

sed 's/^output:.*/site: {mpiio: nothing}\noutput: out/' "$tiny" >"$cohort/bad-module.yaml"
refused "an MPI-IO module there is not" 'mpi-io' 1 launch 2 timeout 100 "$LOBULE" plan --output "$work/module" "$cohort/bad-module.yaml"
sed 's/^output:.*/site: {mpiio: romio321, stripe_count: 2}\noutput: out/' "$tiny" >"$cohort/romio.yaml"
of=$cohort/romio.yaml run 2 plan "$work/romio"; expect "plan with ROMIO and stripes" 0 $?
of=$cohort/romio.yaml run 2 embed "$work/romio"; expect "embed with ROMIO and stripes" 0 $?
# Its unused bytes differ from the other module's, so that the files are compared by their contents.
h5diff "$work/romio/store/part-0001.h5" "$cohort/tiny-out/store/part-0001.h5"; expect "contents of the store through ROMIO" 0 $?

out=$work/other
of=$tiny run 1 plan "$out" && of=$tiny begin 1 "$out" && await_ranges 2 "$out" && cut_power
[ -s "$out/store/encoder-test" ] || fail "no row of the test tile was kept"
cp "$out/store/encoder-test" "$work/kept"
python3 - "$out/store/encoder-test" <<'PY'
import struct, sys
data = open(sys.argv[1], "rb").read()
head = data.index(b"\n") + 1
row = struct.unpack(f"<{(len(data) - head) // 4}f", data[head:])
open(sys.argv[1], "wb").write(data[:head] + struct.pack(f"<{len(row)}f", *(1.1 * v for v in row)))
PY
refused "an encoder that computes something else" 'another row of the test tile' 1 "$LOBULE" embed --output "$out" "$tiny"
cp "$work/kept" "$out/store/encoder-test"
of=$tiny run 1 embed "$out"; expect "embed once it computes as before" 0 $?
expect "store" "$(cat "$cohort/tiny-calm")" "$(digest "$out")"
expect "files of the self-check left behind" 0 "$(find "$work" -name 'selfcheck*' -o -name '.lobule-room*' | wc -l)"
finish
