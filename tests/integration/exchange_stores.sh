#!/bin/bash
# Each hospital embeds at home and sends its store: a study over the three gives predictions.csv to the byte of the
# study over one. Stores that were made differently are refused, with the difference. Splits written for other
# tools and read back give the same predictions again.
. "$(dirname "$0")/cohort_lib.bash"
draw_cohort
cd "$work" || exit 1

# study FILE FEATURES OUT: the drawn study's endpoints on given features
derive() {
  sed -e "s|^cohort:.*|cohort: {slides: $cohort/slides.csv, patients: $cohort/patients.csv}|" \
    -e "s|^features:.*||" -e "s|benefit: true|benefit: false|" -e "s|^output:.*||" "$study" >"$1"
  printf 'features: %s\noutput: %s\n' "$2" "$3" >>"$1"
}

# One center's tables and study, planned and embedded on its own.
hospital() { # CENTER [tiles]
  mkdir -p "$1"
  awk -F, -v c="$1" -v from="$cohort/" 'BEGIN { OFS = "," } NR > 1 && $3 != c { next } NR > 1 { $4 = from $4 } { print }' \
    "$cohort/slides.csv" >"$1/slides.csv"
  awk -F, -v c="$1" 'NR == 1 || $2 == c' "$cohort/patients.csv" >"$1/patients.csv"
  printf 'study: %s\ncohort: {slides: slides.csv, patients: patients.csv}\nvalidation: {scheme: loco}\n%s\n' "$1" "${2:-}" >"$1/study.yaml"
  "$LOBULE" plan "$1/study.yaml" >>"$1/log" 2>&1 && "$LOBULE" embed "$1/study.yaml" >>"$1/log" 2>&1
}
centers=$(tail -n +2 "$cohort/patients.csv" | cut -d, -f2 | sort -u)
for center in $centers; do
  hospital "$center"; expect "$center embeds at home" 0 $?
done

derive one.yaml "$cohort/undisturbed" one
derive three.yaml "[$(for c in $(echo "$centers" | tac); do printf '%s, ' "$work/$c/out"; done | sed 's/, $//')]" three
"$LOBULE" check three.yaml >check.log 2>&1; expect "check of three stores" 0 $?
"$LOBULE" validate one.yaml >one.log 2>&1; expect "one store" 0 $?
"$LOBULE" validate three.yaml >three.log 2>&1; expect "three stores" 0 $?
for table in predictions.csv metrics.csv folds.csv; do
  expect "$table" same "$(cmp -s "one/$table" "three/$table" && echo same || echo different)"
done
expect "there are predictions" yes "$([ "$(wc -l <one/predictions.csv)" -gt 15 ] && echo yes || echo no)"
[ "$failures" = 0 ] || tail -5 one.log three.log

# Another tiling, or another encoder: refused before anything is trained, by check too.
last=$(echo "$centers" | tail -1)
mv "$last" kept
hospital "$last" "tiles: {mpp: 1.0}"; expect "$last with other tiles" 0 $?
derive differ.yaml "[$(for c in $centers; do printf '%s, ' "$work/$c/out"; done | sed 's/, $//')]" differ
for command in validate check; do
  "$LOBULE" $command differ.yaml >differ.log 2>&1; expect "$command refuses" 2 $?
  expect "and names the difference" 1 "$(grep -c 'tile mpp.* 0.5.* 1' differ.log)"
done
rm -rf "$last" && mv kept "$last"
cp -r "$last" other
derive twice.yaml "[$work/other/out, $(for c in $centers; do printf '%s, ' "$work/$c/out"; done | sed 's/, $//')]" twice
"$LOBULE" validate twice.yaml >twice.log 2>&1; expect "a slide in two stores" 2 $?
printf 'x' | dd of="$last/out/store/part-0001.h5" bs=1 seek=$(($(stat -c %s "$last/out/store/part-0001.h5") - 10)) conv=notrunc status=none
rm -rf three
"$LOBULE" validate three.yaml >damaged.log 2>&1; expect "a damaged store" 1 $?
expect "and where" 1 "$(grep -c "$last/out.*slide .* damaged" damaged.log)"

# Splits: written for others, read back.
for format in stamp pathobench folds; do
  "$LOBULE" splits --format $format --to "$work/splits.$format" one.yaml 2>>splits.log; expect "splits for $format" 0 $?
  sed "s|^output:.*|output: $format|" one.yaml >"$format.yaml"
  sed -i "s|scheme: loco|scheme: folds, file: $work/splits.$format|" "$format.yaml"
  grep -q "splits.$format" "$format.yaml" || printf 'validation: {scheme: folds, file: %s, seeds: 1}\n' "$work/splits.$format" >>"$format.yaml"
  "$LOBULE" validate "$format.yaml" >"$format.log" 2>&1; expect "validate by $format" 0 $?
  expect "the same predictions" same "$(cmp -s one/predictions.csv "$format/predictions.csv" && echo same || echo different)"
done
"$LOBULE" splits --format zarr --to x one.yaml >/dev/null 2>&1; expect "an unknown format" 2 $?
finish
