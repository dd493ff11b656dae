#!/usr/bin/env python3
"""Numbers for tests/unit/base_numbers.c, from Python alone: its integers, struct's binary16, CRC-32C
by polynomial division. Prints C initialisers."""
import math
import struct

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def fnv(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return h


def stream(seed, text):
    key = mix(mix((seed + GAMMA) & MASK) ^ fnv(text))
    counter = 0
    while True:
        counter += 1
        yield mix((key + counter * GAMMA) & MASK)


def crc32c(data):
    """Long division of the message polynomial, bit by bit, with reflected bits."""
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            top = (crc ^ (byte >> bit)) & 1
            crc = (crc >> 1) ^ (0x82F63B78 if top else 0)
    return crc ^ 0xFFFFFFFF


def main():
    for seed, text in ((1, "fold/2/seed/1"), (0, ""), (MASK, "patient-\u00e4")):
        draws = stream(seed, text)
        print("u64", seed, repr(text), ["0x%016X" % next(draws) for _ in range(3)])
    draws = stream(7, "normal")
    uniforms = [(next(draws) >> 11) * 2.0 ** -53 for _ in range(2)]
    radius = math.sqrt(-2 * math.log(1 - uniforms[0]))
    print("normal", [repr(radius * math.cos(2 * math.pi * uniforms[1])),
                     repr(radius * math.sin(2 * math.pi * uniforms[1]))])
    print("uniform", [repr(u) for u in uniforms], "exponential", repr(-math.log(1 - uniforms[0])))
    for data in (b"123456789", bytes(32), bytes(range(32)), b"\xff" * 32):
        print("crc32c", data[:9], "0x%08X" % crc32c(data))
    for value in (0.1, 1 / 3, 65504.0, 65519.99, 6e-8, 2.0 ** -25, 2.0 ** -25 * 1.0001, 6.1e-5, 1.00048828125,
                  1.00146484375, -2.5):
        value = struct.unpack("f", struct.pack("f", value))[0]
        print("half", repr(value), "0x%04X" % struct.unpack("H", struct.pack("e", value))[0])


if __name__ == "__main__":
    main()
