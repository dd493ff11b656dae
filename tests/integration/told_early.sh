#!/bin/bash
# What the tables alone can tell is told before a slide is touched; a lock binds only once a held-out center was opened.
set -u
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
failures=0
fail() { echo "told_early: FAILED: $*"; failures=$((failures + 1)); }
expect() { [ "$2" = "$3" ] && echo "told_early: ok: $1" || fail "$1: expected $2, got $3"; }
said() { grep -qF -- "$2" "$dir/log" && echo "told_early: ok: $1" || { cat "$dir/log"; fail "$1: '$2' was not said"; }; }
lobule() { "$LOBULE" "$@" >"$dir/out" 2>"$dir/log"; }

lobule demo "$dir/b" --bags --patients 24 --centers 3 --tiles 4 --dim 8 || { cat "$dir/log"; exit 1; }
study=$dir/b/study.yaml
sed 's/benefit: true/benefit: false/; s/^validation.*/validation: {seeds: 1, bootstrap: 20}/' "$study" >"$dir/b/plain.yaml"

for case in 's/kind: abmil/kind: nosuch/|bad.yaml:10: model.kind: nosuch' 's/rfs_event, landmark/never, landmark/|no event among' \
            's/^covariates.*/covariates: [one]/|no covariate varies'; do
  sed "${case%%|*}" "$dir/b/plain.yaml" >"$dir/b/bad.yaml"
  sed -i '1s/$/,never,one/; 2,$s/$/,0,7/' "$dir/b/patients.csv"
  for command in check run; do
    lobule $command "$dir/b/bad.yaml"; expect "$command: ${case%%|*}" 2 $?; said "$command" "${case##*|}"
  done
  [ ! -e "$dir/b/out/lock.json" ] || fail "a lock was made for ${case%%|*}"
  sed -i 's/,[^,]*,[^,]*$//' "$dir/b/patients.csv"
done

lobule check "$study" --json; expect "check" 0 $?
sed '/^features/d; s/^cohort.*/&\nencoder: {name: uno}/' "$dir/b/plain.yaml" >"$dir/b/bad.yaml"
lobule check "$dir/b/bad.yaml"; expect "an unknown encoder" 2 $?; said "its line" "bad.yaml:4: encoder uno is unknown"
sed '/^arms/d; s/^model.*/model: {benefit: true}/; s/1825\]/90000]/' "$study" >"$dir/b/bad.yaml"
lobule check "$dir/b/bad.yaml"; expect "benefit without arms" 0 $?; said "it" "names no arms"; said "a late horizon" "horizon 90000 is beyond all follow-up"
"$LOBULE" check "$study" --json >/dev/full 2>"$dir/log"; expect "standard output on a full disk" 1 $?
"$LOBULE" status "$dir" >&- 2>&-; expect "no standard output at all" 2 $?

mkdir "$dir/b/kept" && mv "$dir"/b/features/P0000[1-9]* "$dir/b/kept"
sed 's#^features.*#features: none#' "$dir/b/plain.yaml" >"$dir/b/empty.yaml"; mkdir "$dir/b/none"
lobule run "$dir/b/empty.yaml"; expect "no features at all" 2 $?
lobule run "$dir/b/plain.yaml"; expect "another study file, nothing opened yet" 0 $?
said "locked anew" "locked anew"
"$LOBULE" status "$dir/b/out" >"$dir/log"; said "status of the validation" "stage validate: done"
grep -Eq 'models ([0-9]+) of \1 trained, rank 0 trained [1-9][0-9]* epochs' "$dir/log" || { cat "$dir/log"; fail "status tells of no models"; }
mv "$dir"/b/kept/* "$dir/b/features"
lobule run "$dir/b/plain.yaml"; expect "more features after the opening" 2 $?
said "the difference" "changed: features"

mv "$dir"/b/features/P0000[1-9]* "$dir/b/kept"
lobule train "$dir/b/plain.yaml"; expect "train" 0 $?
before=$(cksum <"$dir/b/out/predictions.csv")
lobule predict "$dir/b/out/model.h5" "$dir/b/plain.yaml"; expect "predict over a validation" 2 $?; said "predict" "give --output DIR"
expect "held-out predictions" "$before" "$(cksum <"$dir/b/out/predictions.csv")"

for share in 0/2 3/2 half 1/2x; do
  lobule plan --share $share "$study"; expect "--share $share" 2 $?; said "--share $share" "--share $share: expected a part of the slides"
done
lobule validate --share 1/2 "$study"; expect "--share where it does not apply" 2 $?

tiny=$LOB_SOURCE/tests/oracles/vit/tiny-timm
sed "/^features/d; s#^cohort.*#&\nencoder: {config: $tiny/preset.yaml, weights: $tiny/weights.safetensors}#; s#^output.*#output: tiny#" \
  "$dir/b/plain.yaml" >"$dir/b/tiny.yaml"
for command in "validate nosuch" "check tiny" "plan tiny"; do
  for limit in 200 250 300 320 400; do # MB: it starts or not, has room for all or not; it never waits for memory
    (ulimit -v $((limit * 1000)); exec timeout -k 1 20 "$LOBULE" ${command% *} "$dir/b/${command#* }.yaml") >"$dir/out" 2>"$dir/log"
    case $? in
      1 | 2 | 3 | 127) ;;
      *) cat "$dir/log"; fail "$command with $limit MB of memory" ;;
    esac
    cat "$dir/log" >>"$dir/memory"
  done
  mv "$dir/memory" "$dir/log"; said "$command: too little memory for products of matrices" "OpenBLAS needs a buffer of 128 MiB"
done

: >"$dir/b/file"
sed 's#^output.*#output: file/out#' "$dir/b/plain.yaml" >"$dir/b/nowhere.yaml"
lobule validate "$dir/b/nowhere.yaml"; expect "an output folder that cannot be" 2 $?; said "it" "cannot make this folder"

sed '/^features/d; s#^output.*#output: unread#' "$dir/b/plain.yaml" >"$dir/b/unread.yaml"
lobule run "$dir/b/unread.yaml"; expect "no slide can be read" 2 $?; said "it" "no slide could be read"

mkdir "$dir/two"; printf 'patient_id,center,t,e\np,A,10,1\nq,B,20,1\n' >"$dir/two/patients.csv"
printf 'slide_id,patient_id,center,path\ns,p,A,x.svs\nt,q,B,./x.svs\n' >"$dir/two/slides.csv"
printf 'study: two\ncohort: {slides: slides.csv, patients: patients.csv}\nendpoints: [{name: r, time: t, event: e}]\n' >"$dir/two/study.yaml"
lobule check "$dir/two/study.yaml"; expect "one scan of two patients" 2 $?; said "one scan" "is the same file as slide 's' of patient 'p'"
[ "$failures" = 0 ]
