#!/bin/bash
# A ViT with weights from a file on the real slides: rows against PyTorch on the same tiles, fp32 and bf16, and
# weights of every bad kind refused before a slide is opened, with one rank and with two.
. "$(dirname "$0")/embed_lib.bash"
python=/usr/bin/python3
$python -c 'import torch, h5py, PIL, numpy' 2>/dev/null ||
  { echo "skipped: $python has no torch, h5py, Pillow or numpy"; exit 77; }
oracle=$LOB_SOURCE/tests/oracles/vit_store.py
tiles=$LOB_BINARY_DIR/tests/encoder_tiles
$python "$oracle" make "$work" || { fail "the weights cannot be made"; finish; }

vit_study() { # DIR WEIGHTS PRECISION
  study "$1" 1
  sed -i "s|^output|encoder: {name: vit, config: $work/preset.yaml, weights: $work/$2, precision: $3, batch: 4}\ntiles: {mpp: 1.0}\noutput|" \
    "$1/study.yaml"
}
compare() { # WHAT DIR LEAST_COSINE
  local store=$2/out/store/part-0001.h5 id path mpp
  while read -r id path mpp; do
    $python "$oracle" coords "$store" "$id" >"$work/coords" &&
      "$tiles" "$DATA/slides/$path" "$mpp" 1.0 224 <"$work/coords" >"$work/tiles"
    expect "tiles of $id" 0 $?
    $python "$oracle" check "$work" "$store" "$id" "$work/tiles" 224 "$3"; expect "$1 rows of $id are PyTorch's" 0 $?
  done <<<"cmu-1 CMU-1-Small-Region.svs 0
tcga-1 TCGA-CR-7395-01A-01-TS1.svs 0.25"
}
embed() { # RANKS DIR
  run "$1" "$2" plan && run "$1" "$2" embed
}

vit_study "$work/fp32" weights.safetensors fp32
embed 2 "$work/fp32"; expect "embed with fp32" 0 $?
compare fp32 "$work/fp32" 0.99999

same_rows() { # PRECISION: other rank counts give the store that two ranks gave, to the bit
  local ranks
  for ranks in 1 3; do
    vit_study "$work/$1-$ranks" weights.safetensors "$1"
    embed $ranks "$work/$1-$ranks"; expect "embed with $1 on $ranks ranks" 0 $?
    expect "$1: rows of $ranks ranks are those of two" "$(digest "$work/$1/out/store/part-0001.h5")" \
      "$(digest "$work/$1-$ranks/out/store/part-0001.h5")"
  done
}
same_rows fp32

vit_study "$work/bf16" weights.safetensors bf16
embed 2 "$work/bf16"; code=$?
if grep -qE 'needs (oneDNN|a CPU with AVX512-BF16)' "$work/bf16/log"; then
  expect "bf16 is refused where it cannot be had" 2 $code
  say "partly skipped, this machine cannot: bf16, $(grep -oE 'needs (oneDNN|a CPU with AVX512-BF16)' "$work/bf16/log" | head -1)"
else
  expect "embed with bf16" 0 $code
  compare bf16 "$work/bf16" 0.999
  same_rows bf16
fi

refused() { # FILE MESSAGE
  local ranks dir
  for ranks in 1 2; do
    dir=$work/bad-$1-$ranks
    vit_study "$dir" "$1" fp32
    launch $ranks timeout 60 "$LOBULE" run "$dir/study.yaml" >"$dir/log" 2>&1
    expect "$1 with $ranks ranks" 2 $?
    # That its horizons lie beyond the follow-up of two patients is said of the study, not of the weights.
    expect "$1: said once, $2" 1 "$(grep -v 'warning: ' "$dir/log" | grep -cE "$2")"
    expect "$1: nothing is planned" no "$([ -e "$dir/out/store/part-0001.h5" ] && echo yes || echo no)"
  done
}
cd "$work" || exit 1
refused truncated.safetensors 'truncated|end|outside|beyond|size'
refused header.safetensors 'header'
refused missing.safetensors '1 missing: blocks.1.norm2.weight'
refused other.safetensors 'of another shape'
refused nan.safetensors 'blocks.1.mlp.fc1.weight.*(NaN|finite)'
refused hostile.bin 'system|opcode|forbidden|pickle'
expect "the pickle's code did not run" no "$([ -e hostile-code-ran ] && echo yes || echo no)"
finish
