#!/bin/bash
# Fuzzes the two parsers of weights files under AddressSanitizer and UndefinedBehaviorSanitizer, from the files of
# tests/oracles/vit and the pickles inside them. Needs clang with libFuzzer.
#
#   fuzz_weights.sh [SECONDS [CORPUS]]        SECONDS: 600; CORPUS is kept and grows where it is given
#
# Exits 0 where nothing was found, 1 where something was (the input's path is said), 77 where there is no clang.
set -eu
seconds=${1:-600} root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
corpus=${2:-$work/corpus}
mkdir -p "$corpus"
echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { return d && n < 0; }' >"$work/try.c"
clang -fsanitize=fuzzer "$work/try.c" -o "$work/try" 2>/dev/null ||
  { echo "skipped: no clang with libFuzzer here"; exit 77; }

# The first byte of an input: even, the rest is a file; odd, it is a pickle.
python3 - "$root/tests/oracles/vit" "$corpus" <<'P'
import os
import sys
import zipfile

for case in sorted(os.listdir(sys.argv[1])):
    for name in ("weights.safetensors", "pytorch_model.bin"):
        path = os.path.join(sys.argv[1], case, name)
        if not os.path.exists(path):
            continue
        data = open(path, "rb").read()
        open(os.path.join(sys.argv[2], f"{case}-{name}"), "wb").write(b"\0" + data)
        if name.endswith(".bin"):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.namelist():
                    if entry.endswith("/data.pkl"):
                        open(os.path.join(sys.argv[2], f"{case}-pickle"), "wb").write(b"\1" + archive.read(entry))
P

cd "$root"
# shellcheck disable=SC2046
clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -D_GNU_SOURCE -Isrc \
  $(pkg-config --cflags glib-2.0 jansson) tests/bench/fuzz_weights.c src/encoder/weights*.c \
  src/base/{error,half,checksum}.c $(pkg-config --libs glib-2.0 jansson libcrypto) -o "$work/fuzz_weights"
mkdir -p "$work/found"
code=0
"$work/fuzz_weights" "$corpus" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -timeout=20 \
  -print_final_stats=1 -artifact_prefix="$work/found/" >"$work/log" 2>&1 || code=$?
grep -E '^(stat::|Done|SUMMARY)|ERROR:' "$work/log" || tail -20 "$work/log"
[ $code = 0 ] && { echo "nothing found in $seconds s"; exit 0; }
kept=$(mktemp -d "${TMPDIR:-/tmp}/fuzz_weights.XXXXXX")
cp "$work"/found/* "$work/log" "$kept/" 2>/dev/null || true
echo "found something (exit $code): $kept"
exit 1
