#!/bin/bash
# masks and grid: pictures and polygons of slides and of a study; polygons given back as masks find the same
# tissue; the most attended tiles of chosen patients.
. "$(dirname "$0")/cohort_lib.bash"
draw_cohort
cd "$work" || exit 1

"$LOBULE" masks --geojson --output "$work/out" "$study" >masks.tsv 2>log; expect "masks" 0 $?
slides=$(($(wc -l <"$cohort/slides.csv") - 1))
expect "pictures" "$slides" "$(ls out/masks/*.overlay.png | wc -l)"
expect "polygons" "$slides" "$(ls out/masks/*.geojson | wc -l)"
expect "lines" $((slides + 1)) "$(wc -l <masks.tsv)"

# What planning took is what grid shows.
id=$(sed -n 2p masks.tsv | cut -f1)
"$LOBULE" grid --geojson --output "$work/out" --slide "$id" "$study" >grid.tsv 2>>log; expect "grid" 0 $?
tiles=$(sed -n 2p grid.tsv | cut -f3)
expect "grid's tiles are the store's" "$("$LOBULE" store ls "$cohort/undisturbed" 2>/dev/null | awk -F'\t' -v id="$id" '$1 == id { print $5 }')" "$tiles"
expect "a polygon a tile" "$tiles" "$(grep -c '"objectType":"tile"' "out/masks/$id.grid.geojson")"

# The folder that masks wrote, edited or not, is one that tissue: {method: masks} takes.
sed -e 's/^study:.*/&\ntissue: {method: masks, masks: MASKS}/' -e "s|MASKS|$work/out/masks|" "$study" >"$cohort/masks.yaml"
"$LOBULE" grid --output "$work/again" --slide "$id" "$cohort/masks.yaml" >again.tsv 2>>log; expect "grid by polygons" 0 $?
rm -f "$cohort/masks.yaml"
expect "the same tissue and tiles" "$(sed -n 2p grid.tsv)" "$(sed -n 2p again.tsv)"

# Without a study; a slide that is none is told, the others are drawn.
echo "no slide" >broken.svs
path=$(awk -F, -v id="$id" '$1 == id { print $4 }' "$cohort/slides.csv")
"$LOBULE" masks --output single "$cohort/$path" broken.svs >single.tsv 2>single.log; expect "masks of slides" 3 $?
expect "the good one is drawn" 1 "$(ls single/masks/*.overlay.png | wc -l)"
expect "the bad one has a reason" 1 "$(grep -c 'broken: ' single.log)"
"$LOBULE" masks --slide nobody --output out "$study" >/dev/null 2>&1; expect "nobody chosen" 2 $?
"$LOBULE" grid --mpp 0.25 "$study" >/dev/null 2>&1; expect "a scale for a study" 2 $?

# The most attended tiles, with places from the store.
"$LOBULE" grid --top-tiles --output "$work/none" "$study" >/dev/null 2>none.log; expect "top tiles before validate" 2 $?
mkdir -p top/store top/attention && cp "$cohort"/undisturbed/store/* top/store/
patient=$(awk -F, 'NR == 2 { print $2 }' "$cohort/slides.csv")
other=$(awk -F, -v p="$patient" 'NR > 1 && $2 != p { print $1 "," $2; exit }' "$cohort/slides.csv")
first=$(awk -F, 'NR == 2 { print $1 }' "$cohort/slides.csv")
{
  echo endpoint,repeat,patient_id,slide_id,tile,x,y,attention,times_uniform
  echo "rfs,0,$patient,$first,3,448,0,0.5,25"
  echo "rfs,0,$patient,$first,4,896,0,0.25,12.5"
  echo "rfs,0,${other#*,},${other%,*},1,0,0,0.5,25"
} >top/attention/top_tiles.csv
"$LOBULE" grid --top-tiles --patient "$patient" --output "$work/top" "$study" >/dev/null 2>>log; expect "top tiles" 0 $?
expect "the chosen patient's slide alone" "$first.top_tiles.geojson" "$(ls top/attention | grep geojson)"
expect "two tiles" 2 "$(grep -c '"name":"rfs, repeat 0' "top/attention/$first.top_tiles.geojson")"
expect "with scores" 1 "$(grep -c '"measurements":{"attention":0.5,"times uniform":25}' "top/attention/$first.top_tiles.geojson")"
[ "$failures" = 0 ] || cat log
finish
