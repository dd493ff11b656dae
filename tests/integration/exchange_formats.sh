#!/bin/bash
# A store as TRIDENT's, CLAM's and STAMP's files, seen by h5py; back again with the same bits; AtlasPatch's and
# Slideflow's files; and a study over a folder of them gives the predictions of the store.
. "$(dirname "$0")/cohort_lib.bash"
python=
for candidate in python3 /usr/bin/python3; do
  "$candidate" -c 'import h5py' 2>/dev/null && python=$candidate && break
done
[ -n "$python" ] || { echo "skipped: no python3 with h5py (Debian: python3-h5py)"; exit 77; }
draw_cohort
cd "$work" || exit 1
oracles=$LOB_SOURCE/tests/oracles
store=$cohort/undisturbed/store/part-0001.h5
{
  echo slide_id,patient_id,center,mpp
  "$LOBULE" store ls "$store" 2>/dev/null | tail -n +2 | awk -F'\t' 'BEGIN { OFS = "," } { print $1, $2, $3, $8 }'
} >slides.csv

for format in trident clam stamp; do
  "$LOBULE" store export "$store" --format $format --to $format 2>>log; expect "export to $format" 0 $?
  "$python" "$oracles/exchange_h5py.py" "$store" $format $format; expect "as $format's own" 0 $?
  options=(--slides slides.csv --float16)
  [ $format != clam ] || options+=(--encoder texture --tile-size 224 --tile-mpp 0.5)
  "$LOBULE" store import $format --to $format.h5 "${options[@]}" 2>>log; expect "import from $format" 0 $?
  "$python" "$oracles/exchange_foreign.py" same "$store" $format.h5 0; expect "the same bits and places" 0 $?
done

mkdir one two
"$python" "$oracles/exchange_foreign.py" atlaspatch trident one
"$LOBULE" store import one --to one.h5 --slides slides.csv --float16 2>>log; expect "import from AtlasPatch" 0 $?
"$python" "$oracles/exchange_foreign.py" same "$store" one.h5 0; expect "the same bits and places" 0 $?
"$LOBULE" store ls one.h5 2>&1 | grep -q 'encoder texture'; expect "its encoder is known" 0 $?
"$python" "$oracles/exchange_foreign.py" atlaspatch trident two uni
"$LOBULE" store import two --to two.h5 --slides slides.csv 2>two.log; expect "two encoders in a file" 2 $?
expect "both are named" 1 "$(grep -c 'features of 2 encoders (texture, uni)' two.log)"
"$LOBULE" store import two --to two.h5 --slides slides.csv --encoder uni 2>>log; expect "one of the two" 0 $?
"$LOBULE" store ls two.h5 2>&1 | grep -q 'encoder uni, 8 x float32'; expect "is the one asked for" 0 $?

if "$python" -c 'import torch' 2>/dev/null; then
  for ending in npz npy; do
    mkdir $ending
    "$python" "$oracles/exchange_foreign.py" slideflow $ending trident $ending slides.csv
    "$LOBULE" store import $ending --to $ending.h5 --slides slides.csv --float16 2>>log; expect "import from Slideflow, $ending" 0 $?
    "$python" "$oracles/exchange_foreign.py" same "$store" $ending.h5 1; expect "the same bits, places to a pixel" 0 $?
  done
  "$LOBULE" store ls npz.h5 2>&1 | grep -q 'UNIFeatures'; expect "its extractor is known" 0 $?
  "$LOBULE" store import npz --to x.h5 --slides slides.csv --encoder texture 2>x.log; expect "another encoder than it says" 2 $?
  sed -i 's/"tile_um": 112/"tile_um": "20x"/' npz/bags_config.json
  "$LOBULE" store import npz --to x.h5 --slides slides.csv 2>x.log; expect "a magnification for a size" 2 $?
  expect "is explained" 1 "$(grep -c 'a magnification says no size' x.log)"
  "$LOBULE" store import clam/pt_files --to x.h5 --slides slides.csv --encoder texture --tile-size 224 --tile-mpp 0.5 2>x.log
  expect "tensors without places are no store" 2 $?
else
  say "PyTorch is not here (Debian: python3-torch): Slideflow's bags are not tried"
fi

# Folders as they are: one row of predictions is like another.
derive() { # FILE FEATURES OUT
  sed -e "s|^cohort:.*|cohort: {slides: $cohort/slides.csv, patients: $cohort/patients.csv}|" \
    -e 's/bootstrap: [0-9]*/bootstrap: 50/' -e "s|^output:.*||" "$study" >"$1"
  printf 'features: %s\noutput: %s\n' "$2" "$3" >>"$1"
}
derive store.yaml "$cohort/undisturbed" by_store
"$LOBULE" validate store.yaml >>log 2>&1; expect "validate the store" 0 $?
for folder in clam stamp two clam/pt_files; do
  out=by_$(basename $folder)
  derive folder.yaml "$work/$folder" "$out"
  "$LOBULE" validate folder.yaml >>log 2>&1; expect "validate $folder" 0 $?
  expect "the store's predictions" same "$(cmp -s by_store/predictions.csv "$out/predictions.csv" && echo same || echo different)"
done
[ "$failures" = 0 ] || tail -20 log
finish
