#!/bin/bash
# Cox's loss and gradient, patients shared out over 1, 2, 3, 5 ranks: the same digits.
set -u
: "${LOB_SOURCE:?root of the source}" "${LOB_BINARY_DIR:?root of the build}"
. "$LOB_SOURCE/jobs/launch.sh"
program=$LOB_BINARY_DIR/tests/model_cox_ranks
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
for ranks in 1 2 3 5; do
  launch $ranks "$program" >"$work/$ranks" 2>"$work/errors" ||
    { echo "FAILED: $ranks ranks: exit $?"; cat "$work/errors"; failures=1; }
  if [ "$(grep -c ^loss "$work/$ranks")" = 3 ] && cmp -s "$work/1" "$work/$ranks"; then
    echo "ok: $ranks ranks give the loss and gradient of one"
  else
    echo "FAILED: $ranks ranks differ from one"
    failures=1
  fi
done
exit $failures
