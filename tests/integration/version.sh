#!/bin/bash
# The commit that is built in: from a repository, from an archive of one, and from neither.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "$1" >&2; exit 1; }
command -v git >/dev/null || { echo "git is not here"; exit 77; }

ask() { # FOLDER: what would be built in there
    cmake -DSOURCE="$1" -DOUT="$work/commit.h" -DGIT="$(command -v git)" -P "$1/src/base/commit.cmake"
    sed 's/.*"\(.*\)"/\1/' "$work/commit.h"
}
commit() { git -C "$work/tree" -c user.name=t -c user.email=t@t commit -qam "$1"; }

mkdir -p "$work/tree/src/base"
cp "$LOB_SOURCE/src/base/commit.cmake" "$LOB_SOURCE/src/base/commit.txt" "$work/tree/src/base/"
cp "$LOB_SOURCE/.gitattributes" "$work/tree/"
[ "$(ask "$work/tree")" = unknown ] || fail "no repository, but a commit"

git -C "$work/tree" init -q
git -C "$work/tree" add -A
commit one
first=$(git -C "$work/tree" rev-parse HEAD)
[ "$(ask "$work/tree")" = "$first" ] || fail "not the commit checked out"
touch -d '2001-01-01' "$work/commit.h"
ask "$work/tree" >/dev/null
[ "$(stat -c %Y "$work/commit.h")" -lt 1000000000 ] || fail "written again without need"
echo "# more" >>"$work/tree/src/base/commit.cmake"
[ "$(ask "$work/tree")" = "$first-changed" ] || fail "a change that is not committed is not told"
commit two
[ "$(ask "$work/tree")" = "$(git -C "$work/tree" rev-parse HEAD)" ] || fail "the next commit is not noticed"

# Unpacked inside another repository, which has commits of its own.
mkdir "$work/tree/unpacked"
git -C "$work/tree" archive "$first" | tar -x -C "$work/tree/unpacked"
[ "$(ask "$work/tree/unpacked")" = "$first" ] || fail "an archive does not know its commit"

"$LOBULE" --version | grep -qE '^lobule [0-9.]+ \(([0-9a-f]{40}(-changed)?|unknown)\)$' || fail "$("$LOBULE" --version)"
