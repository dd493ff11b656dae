#!/bin/bash
# train and predict as a whole: a center that final training never saw is scored as by the validation fold that
# held it out; the number of ranks changes nothing; a locked model stays; damage, another encoder and a missing
# column are refused.
. "$(dirname "$0")/expect_lib.bash"
run() { # RANKS ARGUMENTS...
  local ranks=$1
  shift
  launch "$ranks" "$LOBULE" "$@" >"$work/last" 2>&1
  local code=$?
  cat "$work/last" >>"$work/log"
  return $code
}
said() { grep -q -- "$1" "$work/last" && echo yes || echo no; }
digest() { cat "$1"/{predictions,metrics,meta}.csv "$1"/attention/*.csv 2>&1 | sha256sum | cut -c1-16; }

# A study of its own in DIR with the demo's rows for which the awk condition on the center ($2 of patients.csv,
# $3 of slides.csv, here `c`) holds.
part() { # DIR CONDITION
  mkdir "$1"
  cp "$work/demo/study.yaml" "$1"
  ln -s "$work/demo/features" "$1/features"
  awk -F, "NR == 1 {print; next} {c = \$2} $2" "$work/demo/patients.csv" >"$1/patients.csv"
  awk -F, "NR == 1 {print; next} {c = \$3} $2" "$work/demo/slides.csv" >"$1/slides.csv"
}

# Rows of B for the keys (the first KEYS columns) that A has: every number the same to 1e-5, every text equal.
# Prints the number of rows compared, or what differs.
compare() { # KEYS A B, each without header
  awk -F, -v keys="$1" '
    function key(  i, k) { k = $1; for (i = 2; i <= keys; i++) k = k "," $i; return k }
    NR == FNR { other[key()] = $0; next }
    {
      if (!(key() in other)) { print "absent: " key(); exit }
      n = split(other[key()], b, ",")
      if (n != NF) { print "columns: " key(); exit }
      for (i = keys + 1; i <= NF; i++) {
        d = $i - b[i]
        number = $i ~ /^-?[0-9.]+(e-?[0-9]+)?$/ && b[i] ~ /^-?[0-9.]+(e-?[0-9]+)?$/
        if (number ? d > 1e-5 || d < -1e-5 : $i != b[i]) { print key() ": " $i " and " b[i]; exit }
      }
      rows++
    }
    END { print rows + 0 }' "$3" "$2"
}

"$LOBULE" demo --bags --patients 90 --centers 3 --tiles 24 "$work/demo" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
sed -i 's/^model: .*/model: {kind: abmil, epochs: 12, benefit: false}/; s/seeds: 5/seeds: 2/' "$work/demo/study.yaml"
# The center in the middle is left out, so that the patients after it have other numbers in the two studies.
left=center-02
part "$work/rest" "c != \"$left\""
part "$work/new" "c == \"$left\""

run 1 validate "$work/demo/study.yaml"
expect "validation, exit code" 0 $?
run 1 train "$work/rest/study.yaml"
expect "training without $left, exit code" 0 $?
model=$work/rest/out/model.h5
locked=$(sha256sum <"$model")
run 1 predict "$model" "$work/new/study.yaml"
expect "prediction of $left, exit code" 0 $?

# Columns 5 and 6 say repeat and fold, which differ.
scores() { grep ",$left," "$1" | cut -d, -f1-4,7-; }
scores "$work/demo/out/predictions.csv" >"$work/a"
scores "$work/new/out/predictions.csv" >"$work/b"
expect "scores of $left as by its fold, rows" "$(wc -l <"$work/a")" "$(compare 4 "$work/a" "$work/b")"
expect "there are such rows" yes "$([ -s "$work/a" ] && echo yes || echo no)"
grep ",$left," "$work/demo/out/metrics.csv" >"$work/a"
grep ",$left," "$work/new/out/metrics.csv" >"$work/b"
expect "metrics of $left as by its fold, rows" "$(wc -l <"$work/a")" "$(compare 4 "$work/a" "$work/b")"
hash=$(sed -n 's/.*SHA-256 \([0-9a-f]*\)$/\1/p' "$work/log" | head -1)
expect "provenance names the model" 1 "$(grep -c "\"predicted_with_model_sha256\": \"$hash\"" "$work/new/out/provenance.json")"
wanted=$(digest "$work/new/out")

run 1 predict "$model" "$work/demo/study.yaml"
expect "over a validation's tables: exit code, reason" "2 yes" "$? $(said 'holds a validation')"

run 3 train --output "$work/three" "$work/rest/study.yaml"
expect "trained by 3 ranks: the same file" "$locked" "$(sha256sum <"$work/three/model.h5")"
run 3 predict "$model" --output "$work/new3" "$work/new/study.yaml"
expect "predicted by 3 ranks: the same tables" "$wanted" "$(digest "$work/new3")"

# Patients are shared out over the ranks whatever the site says of groups, streamed too; what a node cannot hold is told.
site() { sed "\$ a site: {$1}" "$work/new/study.yaml" >"$work/new/site.yaml"; }
mkdir "$work/disk"
site "groups: 2, stream: $work/disk"
run 3 predict "$model" --output "$work/streamed" "$work/new/site.yaml"
expect "streamed by 3 ranks, site.groups 2: exit code, the same tables" "0 $wanted" "$? $(digest "$work/streamed")"
expect "patients are shared out" yes "$(said 'shared out over 3 ranks')"
patients=$(($(wc -l <"$work/new/patients.csv") - 1))
site "memory_gib: $(awk -v b=$((patients * 24 * 48 * 2)) 'BEGIN { printf "%.9f", 0.7 * b / 1073741824 }')"
LOB_TEST_NODE_RANKS=1 run 2 predict "$model" --output "$work/spread" "$work/new/site.yaml"
expect "two nodes (pretended) hold the cohort together: exit code, the same tables" "0 $wanted" "$? $(digest "$work/spread")"
site 'memory_gib: 0.000001'
run 3 predict "$model" --output "$work/small" "$work/new/site.yaml"
expect "too little memory: exit code, reason" "2 yes" "$? $(said 'site.memory_gib')"

run 1 train "$work/rest/study.yaml"
expect "the same training again: exit code, trained" "0 no" "$? $(said 'trained final')"
mv "$model" "$work/aside"
rm "$work/rest/out/train/final-0.bin"
run 1 train "$work/rest/study.yaml"
expect "cut off after some networks: exit code, networks trained (the seeds of one train together)" "0 2" "$? $(grep -c 'trained final' "$work/last")"
expect "cut off after some networks: the same file" "$locked" "$(sha256sum <"$model")"
rm "$model"
printf '\x55' | dd of="$work/rest/out/train/final-1.bin" bs=1 seek=200 conv=notrunc 2>/dev/null
run 1 train "$work/rest/study.yaml"
expect "a damaged network is trained again" "$locked yes" "$(sha256sum <"$model") $(said 'trained again')"
sed 's/epochs: 12/epochs: 13/' "$work/rest/study.yaml" >"$work/rest/other.yaml"
run 1 train "$work/rest/other.yaml"
expect "another study in the same folder, exit code" 2 $?
rm -r "$work/rest/out/lock.json" "$work/rest/out/train"
run 1 train "$work/rest/other.yaml"
expect "another model over a locked one: exit code, reason" "2 yes" "$? $(said 'never replaced')"
expect "the locked one stays" "$locked" "$(sha256sum <"$model")"

# One bit of one byte: in the seal, in HDF5's own bytes, in the content, at the very end.
size=$(stat -c %s "$model")
for at in 20 300 520 $((size / 3)) $((size / 2)) $((size - 1)); do
  cp "$model" "$work/damaged.h5"
  byte=$(od -An -tu1 -j "$at" -N 1 "$model" | tr -d ' ')
  printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$work/damaged.h5" bs=1 seek="$at" conv=notrunc 2>/dev/null
  run 1 predict "$work/damaged.h5" --output "$work/none" "$work/new/study.yaml"
  expect "byte $at of $size turned: exit code, reason" "2 yes" "$? $(said 'damaged\|not a model')"
done
head -c $((size / 2)) "$model" >"$work/damaged.h5"
run 1 predict "$work/damaged.h5" --output "$work/none" "$work/new/study.yaml"
expect "half a file: exit code" 2 $?
run 1 predict "$work/new/study.yaml" --output "$work/none" "$work/new/study.yaml"
expect "no model at all: exit code" 2 $?

sed 's/^endpoints:/endpoints: []/; /^  [#-]/d' "$work/new/study.yaml" >"$work/new/prospective.yaml"
run 1 predict "$model" --output "$work/prospective" "$work/new/prospective.yaml"
expect "without outcomes: exit code" 0 $?
expect "without outcomes: no metrics" no "$([ -e "$work/prospective/metrics.csv" ] && echo yes || echo no)"
lp() { # but what needs the outcome
  cut -d, -f1-4,11- "$1" | awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) skip[i] = $i ~ /_own$/; next }
    { line = $1; for (i = 2; i <= NF; i++) if (!skip[i]) line = line "," $i; print line }'
}
lp "$work/new/out/predictions.csv" >"$work/a"
lp "$work/prospective/predictions.csv" >"$work/b"
expect "without outcomes: the same scores" "$(wc -l <"$work/a")" "$(compare 4 "$work/a" "$work/b")"

mkdir "$work/lacking"
cp "$work/new/"{study.yaml,slides.csv} "$work/lacking"
ln -s "$work/demo/features" "$work/lacking/features"
cut -d, -f1,2,4- "$work/new/patients.csv" >"$work/lacking/patients.csv"
sed -i 's/^covariates: .*//' "$work/lacking/study.yaml"
run 1 predict "$model" "$work/lacking/study.yaml"
expect "no column age: exit code, reason" "2 yes" "$? $(said "covariate 'age'")"

# The features' files say who made them; the names are of one length, so that the files stay whole.
mkdir "$work/another"
cp -r "$work/new/"{study.yaml,patients.csv,slides.csv} "$work/another"
mkdir "$work/another/features"
for slide in $(tail -n +2 "$work/new/slides.csv" | cut -d, -f1); do
  LC_ALL=C sed 's/lobule-demo/another-one/' "$work/demo/features/$slide.h5" >"$work/another/features/$slide.h5"
done
run 1 predict "$model" "$work/another/study.yaml"
expect "another encoder: exit code, reason" "2 yes" "$? $(said "encoder: model 'lobule-demo', study's features 'another-one'")"

finish "$work/log"
