#!/bin/bash
# Two hospitals with presets of one name on the same weights: stores of different networks are never mixed, and a
# name that says otherwise than the preset is refused. A tiny checked-in network on the real slides.
. "$(dirname "$0")/embed_lib.bash"
tiny=$LOB_SOURCE/tests/oracles/vit/tiny-timm

hospital() { # DIR OUTPUT [ENCODER_KEYS]: its own my.yaml, the same weights
  study "$work/$1" 1
  sed "s/^output:.*/output: $2/" "$tiny/preset.yaml" >"$work/$1/my.yaml"
  sed -i "s|^output|encoder: {config: my.yaml, weights: $tiny/weights.safetensors${3:-}}\ntiles: {mpp: 2.0}\noutput|" \
    "$work/$1/study.yaml"
}
embed() { # DIR
  "$LOBULE" plan "$work/$1/study.yaml" >"$work/$1/log" 2>&1 && "$LOBULE" embed "$work/$1/study.yaml" >>"$work/$1/log" 2>&1
  expect "embed of $1" 0 $?
}
together() { # A B: check of a study over both stores
  sed -e '/^encoder\|^tiles/d' -e "s|^output|features: [$work/$1/out, $work/$2/out]\noutput|" "$work/$1/study.yaml" \
    >"$work/$1/both.yaml"
  "$LOBULE" check "$work/$1/both.yaml" >"$work/both.log" 2>&1
}

for hospital in "class class" "mean mean" "again class"; do
  read -r dir output <<<"$hospital"
  hospital "$dir" "$output"
  embed "$dir"
done
expect "both are stored as the preset" my "$("$LOBULE" store ls --json "$work/mean/out" 2>/dev/null |
  grep -o '"encoder": *"[^"]*"' | head -1 | cut -d'"' -f4)"
together class mean; expect "class tokens with means" 2 $?
expect "it is said what differs" 1 "$(grep -c 'transform: .*output=class,.*output=mean,' "$work/both.log")"
# The same network is no reason: all that is said is that both hospitals send the same slides.
together class again; expect "the same network twice" 0 "$(grep -c transform "$work/both.log")"
expect "what is wrong instead" 1 "$(grep -c 'slide cmu-1 is in .* and in ' "$work/both.log")"

# An unfinished or finished store does not take rows of the other network either.
cp "$work/mean/my.yaml" "$work/class/my.yaml"
"$LOBULE" embed "$work/class/study.yaml" >"$work/log" 2>&1; expect "a changed preset" 2 $?
expect "the change is said" 1 "$(grep -c 'transform: ' "$work/log")"

hospital named class ', name: uni'
"$LOBULE" check "$work/named/study.yaml" >"$work/log" 2>&1; expect "a name that says otherwise" 2 $?
expect "the name is said" 1 "$(grep -c 'name is uni, but config' "$work/log")"
hospital vit class ', name: vit'
"$LOBULE" check "$work/vit/study.yaml" >"$work/log" 2>&1; expect "the network's name" 0 $?
expect "the preset is named" 1 "$(grep -c 'for my$' "$work/log")"
finish
