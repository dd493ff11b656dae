#!/usr/bin/env python3
"""Damages slides in thousands of ways and reads them in isolated readers.

usage: mutated_slides.py BUILD_DIR SLIDES_DIR [COPIES_A_FORMAT] [SEED]

Formats: Aperio JPEG, generic tiled TIFF, Aperio JPEG 2000, cut out of the real slides by make_slide.py. Damage: bytes
flipped, stretches overwritten by other stretches, files cut or lengthened; half of it inside one tile's data only.
Fails where the reading program dies, where a copy takes longer than the readers' limits allow, or where damage inside
one tile changes a pixel of another.
"""
import collections
import os
import random
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
FORMATS = [("aperio-jpeg", "CMU-1-Small-Region.svs", "svs", "aperio"),
           ("generic-jpeg", "CMU-1-Small-Region.svs", "tif", "generic"),
           ("aperio-jp2k", "TCGA-CR-7395-01A-01-TS1.svs", "svs", "aperio")]
TILES = 3            # a side
MOST_SECONDS = 60    # 2 s to open, twice; 20 s for the overview; 2 x 2 s for each of at most 4 killing tiles in a row; slack


def tiles_of(data):
    """side, and (offset, size) of each tile, of what make_slide.py wrote (little-endian, one directory)."""
    at = int.from_bytes(data[4:8], "little")
    tags = {}
    for i in range(int.from_bytes(data[at:at + 2], "little")):
        entry = data[at + 2 + 12 * i:][:12]
        tags[int.from_bytes(entry[:2], "little")] = int.from_bytes(entry[8:12], "little")

    def column(tag):
        return [int.from_bytes(data[tags[tag] + 4 * i:][:4], "little") for i in range(TILES * TILES)]
    return tags[322] & 0xFFFF, list(zip(column(324), column(325)))


def damage(data, rng):
    """A damaged copy, and the index of the only tile touched (None: anything may be)."""
    out = bytearray(data)
    _, tiles = tiles_of(data)
    if rng.random() < 0.5:
        tile = rng.randrange(len(tiles))
        start, size = tiles[tile]
    else:
        tile, start, size = None, 0, len(out)
    kind = rng.choice(["flip", "copy"] if tile is not None else ["flip", "copy", "cut", "insert", "header"])
    if kind == "flip":
        for _ in range(rng.choice([1, 3, 30, 300])):
            out[start + rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == "copy":
        length = min(rng.choice([4, 60, 900]), size // 2)
        source, target = rng.randrange(len(out) - length), start + rng.randrange(size - length)
        out[target:target + length] = out[source:source + length]
    elif kind == "cut":
        del out[rng.randrange(len(out)):]
    elif kind == "insert":
        place = rng.randrange(len(out))
        out[place:place] = out[:rng.choice([1, 100, 5000])]
    else:
        directory = int.from_bytes(data[4:8], "little")
        for _ in range(rng.choice([1, 2, 8])):
            out[rng.choice([rng.randrange(8), directory + rng.randrange(len(out) - directory)])] = rng.randrange(256)
    return bytes(out), tile


def outside(words, tile, side):
    """The tiles told in `words` that do not touch the damaged tile's square."""
    x0, y0 = tile % TILES * side, tile // TILES * side
    found = []
    for word in words:
        x, y = map(int, word[1:].split(","))
        if not (x < x0 + side and x + 224 > x0 and y < y0 + side and y + 224 > y0):
            found.append(word)
    return found


def campaign(name, source, ending, vendor, program, slides, copies, rng, work):
    original = os.path.join(work, f"original.{ending}")
    subprocess.run([sys.executable, os.path.join(HERE, "make_slide.py"), os.path.join(slides, source), original,
                    str(TILES), str(TILES), "0.5", vendor], check=True)
    data = open(original, "rb").read()
    side, _ = tiles_of(data)
    states, kinds, slowest, wrong = collections.Counter(), collections.Counter(), 0, 0
    with subprocess.Popen([program, original], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        for i in range(copies):
            mutant, tile = damage(data, rng)
            path = os.path.join(work, f"copy{i}.{ending}")
            with open(path, "wb") as file:
                file.write(mutant)
            reader.stdin.write(path + "\n")
            reader.stdin.flush()
            line = reader.stdout.readline()
            if not line:
                print(f"{name}: the program died over copy {i}, kept as {path}")
                os._exit(1)
            state, seconds, *rest = line.split()
            states[state] += 1
            slowest = max(slowest, float(seconds))
            if state in ("refused", "lost"):
                text = " ".join(rest)
                kinds["killed" if "the reader" in text else "told"] += 1
                # OpenSlide decodes the first tile of a JPEG 2000 slide when it opens it.
                wrong += tile is not None and tile > 0 and state == "refused"
            else:
                kinds["unreadable tiles"] += sum(w[0] == "u" for w in rest)
                kinds["silently different tiles"] += sum(w[0] == "d" for w in rest)
                if tile is not None and outside(rest, tile, side):
                    wrong += 1
                    print(f"{name}: damage in tile {tile} shows at {outside(rest, tile, side)}")
            os.unlink(path)
        reader.stdin.close()
        code = reader.wait()
    print(f"{name}: {copies} copies, {dict(states)}, {dict(kinds)}, slowest {slowest:.1f} s, wrong {wrong}, exit {code}",
          flush=True)
    return code == 0 and wrong == 0 and slowest < MOST_SECONDS


def main():
    build, slides = sys.argv[1:3]
    copies = int(sys.argv[3]) if len(sys.argv) > 3 else 700
    rng = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    program = os.path.join(build, "mutated_slides")
    if not os.access(program, os.X_OK):
        program = os.path.join(build, "tests", "mutated_slides")
    with tempfile.TemporaryDirectory() as work:
        good = [campaign(*form, program, slides, copies, rng, work) for form in FORMATS]
    sys.exit(0 if all(good) else 1)


main()
