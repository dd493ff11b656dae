#!/bin/bash
# The rules that a compiler does not know: who may include what, file lengths, words that do not belong here.
set -u
cd "$(dirname "$0")/.."
bad=0
complain() { echo "lint: $1" >&2; bad=1; }

hits=$(grep -nE '#include *[<"](mpi|hdf5)\.h|#include *"(hdf5io|mpi|jobs)/' -r src) && complain "src/ must know neither MPI nor HDF5:
$hits"
hits=$(grep -nE '#include *"(mpi|jobs)/' -r hdf5io) && complain "hdf5io/ must not include mpi/ or jobs/:
$hits"
hits=$(grep -nE '#include *"jobs/' -r mpi) && complain "mpi/ must not include jobs/:
$hits"
hits=$(git ls-files '*.c' '*.h' | grep -v '^tests/' | xargs grep -nE '\b(atoi|atof|strcpy|strcat|sprintf|gets|strtok)\(' | grep -v 'cat(sprintf(') && complain "banned calls:
$hits"
while read -r n f; do
  [ "$f" = total ] || [ "$n" -le 600 ] || complain "$f has $n lines; 600 is the limit"
done < <(git ls-files '*.c' '*.h' | xargs wc -l)
hits=$(git ls-files | grep -vE '^tests/lint.sh$' | xargs grep -nIE '\b(TODO|FIXME|XXX)\b') && complain "unfinished:
$hits"
if command -v clang-format >/dev/null; then
  git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror 2>&1 | grep -m5 error && complain "not clang-formatted (clang-format -i FILE)"
else
  echo "lint: clang-format is not here, formatting was not checked"
fi
exit $bad
