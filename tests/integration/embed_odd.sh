#!/bin/bash
# Files that are no slides, and slides that are odd: each ends in the right state with a reason a user understands, the
# rest is done.
. "$(dirname "$0")/embed_lib.bash"
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
dir=$work/s; files=$work/files
study "$dir" 1
mkdir -p "$files/folder.svs"
python3 - "$files" <<'P'
import random, struct, sys
def tiff(name, width, height, colour):
    """A tiled TIFF without compression, 0.5 um per pixel."""
    side, rng = 256, random.Random(1)
    across, down = -(-width // side), -(-height // side)
    tiles = [bytes(v for _ in range(side * side) for v in colour(rng)) for _ in range(across * down)]
    offsets, at = [], 8
    for tile in tiles:
        offsets.append(at)
        at += len(tile)
    extra = at
    entries = [(256, 4, width), (257, 4, height), (258, 3, None), (259, 3, 1), (262, 3, 2), (277, 3, 3), (282, 5, None),
               (283, 5, None), (284, 3, 1), (296, 3, 3), (322, 4, side), (323, 4, side), (324, 4, None), (325, 4, None)]
    tail = struct.pack("<3HH", 8, 8, 8, 0) + struct.pack("<II", 20000, 1)
    arrays = extra + len(tail)
    n = len(tiles)
    where = {258: (3, extra), 282: (1, extra + 8), 283: (1, extra + 8),
             324: (n, arrays if n > 1 else offsets[0]), 325: (n, arrays + 4 * n if n > 1 else len(tiles[0]))}
    if n > 1:
        tail += struct.pack(f"<{n}I", *offsets) + struct.pack(f"<{n}I", *map(len, tiles))
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in entries:
        count, value = where[tag] if value is None else (1, value)
        directory += struct.pack("<HHI", tag, kind, count) + (struct.pack("<HH", value, 0) if kind == 3 and count == 1 else struct.pack("<I", value))
    with open(f"{sys.argv[1]}/{name}.tif", "wb") as file:
        file.write(struct.pack("<2sHI", b"II", 42, extra + len(tail)) + b"".join(tiles) + tail + directory + bytes(4))
tiff("white", 1200, 1000, lambda rng: (244, 244, 244))
tiff("tissue", 1200, 1000, lambda rng: (190 + rng.randrange(30), 110 + rng.randrange(30), 165 + rng.randrange(30)))
tiff("pixel", 1, 1, lambda rng: (200, 120, 180))
tiff("vanishing", 1200, 1000, lambda rng: (190 + rng.randrange(30), 110 + rng.randrange(30), 165 + rng.randrange(30)))
P
: >"$files/empty.svs"
mkfifo "$files/fifo.svs"
printf '\377\330\377\340\0\020JFIF\0' >"$files/jpeg.svs"
cp "$files/tissue.tif" "$files/closed.tif"; chmod 000 "$files/closed.tif"
for f in empty.svs folder.svs fifo.svs jpeg.svs white.tif tissue.tif pixel.tif vanishing.tif gone.svs closed.tif; do
  [ $f = closed.tif ] && [ "$(id -u)" = 0 ] && { say "skipped: root may read every file" >&2; continue; }
  echo "${f%.*},p1,A,$files/$f,"
done >>"$dir/slides.csv"
run 2 "$dir" plan; expect "plan" 3 $?
rm "$files/vanishing.tif"
run 2 "$dir" embed; expect "embed" 3 $?
state() { # ID STATE WORDS
  line=$(grep "^$1," "$dir/out/slides.csv")
  expect "$1" "$2" "$(echo "$line" | cut -d, -f4)"
  echo "$line" | grep -q "$3" || fail "$1: '$3' is not in: $line"
}
state empty failed "the file is empty"
state folder failed "a folder"
state fifo failed "not a regular file"
state jpeg failed "a JPEG file"
state gone failed "not there"
state white failed "no tile of 224 px"
state pixel failed "no tile of 224 px"
state vanishing failed "not there"
state tissue done ""
state cmu-1 done ""
state tcga-1 done ""
[ "$(id -u)" = 0 ] || state closed failed "may not be read"
expect "tiles of the slide that is all tissue" 20 "$(grep '^tissue,' "$dir/out/slides.csv" | cut -d, -f8)"
sleep 1
expect "processes left behind" 0 "$(leftovers)"
finish
