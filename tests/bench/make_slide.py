#!/usr/bin/env python3
"""Makes a slide out of another one's compressed tiles, without decoding them.

usage: make_slide.py SOURCE.svs OUT COLUMNS ROWS MPP aperio|generic

The new slide has COLUMNS x ROWS whole tiles, the source's first level repeated as often as needed, one level, and
the given um per pixel: as an Aperio SVS says it, or as the resolution of a generic tiled TIFF. Reads classic TIFF.
"""
import struct
import sys

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


def read_directory(data):
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (n,) = struct.unpack_from(order + "H", data, at)
    tags = {}
    for i in range(n):
        tag, kind, count = struct.unpack_from(order + "HHI", data, at + 2 + 12 * i)
        size, place = SIZES[kind] * count, at + 2 + 12 * i + 8
        if size > 4:
            (place,) = struct.unpack_from(order + "I", data, place)
        raw = data[place:place + size]
        if kind in (3, 4):
            raw = struct.unpack(order + f"{count}{'H' if kind == 3 else 'I'}", raw)
        tags[tag] = raw
    return tags


def compressed_tiles(data, tags):
    width, height, side = tags[256][0], tags[257][0], tags[322][0]
    across, columns, rows = -(-width // side), width // side, height // tags[323][0]
    return [[data[tags[324][r * across + c]:][:tags[325][r * across + c]] for c in range(columns)]
            for r in range(rows)]


def new_tags(tags, columns, rows, mpp, vendor):
    side = tags[322][0]
    out = {256: ("I", [columns * side]), 257: ("I", [rows * side]), 258: ("H", [8, 8, 8]),
           259: ("H", list(tags[259])), 262: ("H", list(tags[262])), 277: ("H", [3]), 284: ("H", [1]),
           322: ("H", [side]), 323: ("H", [tags[323][0]])}
    if 347 in tags:
        out[347] = ("B", tags[347])
    if 530 in tags:
        out[530] = ("H", list(tags[530]))
    if vendor == "aperio":
        text = f"Aperio Image Library v10.0.51\r\n{columns * side}x{rows * side} |AppMag = 20|MPP = {mpp}\0"
        out[270] = ("A", text.encode())
    else:
        out[282] = out[283] = ("R", [(round(10000 / mpp * 1000), 1000)])
        out[296] = ("H", [3])
    return out


def encode(kind, values):
    if kind in "AB":
        return {"A": 2, "B": 7}[kind], len(values), bytes(values)
    if kind == "R":
        return 5, len(values), b"".join(struct.pack("<II", *v) for v in values)
    return {"H": 3, "I": 4}[kind], len(values), struct.pack(f"<{len(values)}{kind}", *values)


def main():
    source, out, columns, rows, mpp, vendor = sys.argv[1:7]
    columns, rows = int(columns), int(rows)
    data = open(source, "rb").read()
    tags = read_directory(data)
    tiles = compressed_tiles(data, tags)
    body, offsets, counts = bytearray(b"II*\0\0\0\0\0"), [], []
    for r in range(rows):
        for c in range(columns):
            tile = tiles[r % len(tiles)][c % len(tiles[0])]
            offsets.append(len(body))
            counts.append(len(tile))
            body += tile + b"\0" * (len(tile) % 2)
    entries = new_tags(tags, columns, rows, float(mpp), vendor)
    entries[324], entries[325] = ("I", offsets), ("I", counts)
    directory = b""
    for tag in sorted(entries):
        kind, count, raw = encode(*entries[tag])
        if len(raw) > 4:
            value = struct.pack("<I", len(body))
            body += raw + b"\0" * (len(raw) % 2)
        else:
            value = raw.ljust(4, b"\0")
        directory += struct.pack("<HHI", tag, kind, count) + value
    struct.pack_into("<I", body, 4, len(body))
    body += struct.pack("<H", len(entries)) + directory + b"\0\0\0\0"
    with open(out, "wb") as file:
        file.write(body)


main()
