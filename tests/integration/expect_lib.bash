# Sourced by the tests that drive the program: a folder of their own, launching, and words to report.
set -u
: "${LOBULE:?path of the program}" "${LOB_SOURCE:?root of the source}"
. "$LOB_SOURCE/jobs/launch.sh"
name=$(basename "$0" .sh)
failures=0
say() { echo "$name: $*"; }
fail() { say "FAILED: $*"; failures=$((failures + 1)); }
# A part that was left out, counted by tests/run.sh: for want of a right or a tool, or because this machine cannot do it.
partly_skipped() { say "partly skipped: $*"; }
partly_impossible() { say "partly skipped, this machine cannot: $*"; }
expect() { # WHAT WANTED GOT
  if [ "$2" = "$3" ]; then say "ok: $1 ($3)"; else fail "$1: expected $2, got $3"; fi
}
# The end of a test: with FILES, what they end with is shown where something failed.
finish() { # [FILE ...]
  [ "$failures" = 0 ] && exit 0
  [ $# = 0 ] || tail -n 40 "$@"
  exit 1
}
work=$(mktemp -d -t lob.XXXXXX)
trap 'rm -rf "$work"' EXIT
# Within it also what launchers that get killed leave behind.
export TMPDIR=$work/tmp
mkdir "$TMPDIR"
