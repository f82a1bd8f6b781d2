"""Small independent codecs for the tests: PNG (all bit depths, interlaced when writing) and baseline JPEG, in plain Python and NumPy.

Written from the specifications (RFC 2083, ITU-T T.81) and sharing no code with Pillow, so that agreement means something.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png_encode(samples: np.ndarray, colour_type: int, depth: int, *, palette: np.ndarray | None = None, trns: bytes = b"",
               interlaced: bool = False, extra: bytes = b"") -> bytes:
    """(H, W, C) integers below 2**depth -> a PNG file, filter 0. ``extra``: ready chunks before IDAT."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def rows(part: np.ndarray) -> bytes:
        if not part.size:
            return b""
        lines = []
        for row in part.reshape(part.shape[0], -1):
            if depth == 16:
                data = row.astype(">u2").tobytes()
            else:
                bits = (row[:, None].astype(np.uint8) >> np.arange(depth - 1, -1, -1, dtype=np.uint8)) & 1
                data = np.packbits(bits.ravel()).tobytes()
            lines.append(b"\0" + data)
        return b"".join(lines)

    height, width = samples.shape[:2]
    raw = b"".join(rows(samples[y::dy, x::dx]) for y, x, dy, dx in ADAM7) if interlaced else rows(samples)
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced)))
    if palette is not None:
        out += chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    if trns:
        out += chunk(b"tRNS", trns)
    return out + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def png_decode(data: bytes) -> np.ndarray:
    """A non-interlaced PNG -> (H, W, 4) float RGBA in 0..255 (16 bits divided by 257)."""
    position, found, idat = 8, {}, b""
    while position < len(data):
        (length,), kind = struct.unpack(">I", data[position:position + 4]), data[position + 4:position + 8]
        body = data[position + 8:position + 8 + length]
        if kind == b"IDAT":
            idat += body
        else:
            found[kind] = body
        position += 12 + length
    width, height, depth, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", found[b"IHDR"])
    assert not interlaced
    channels = CHANNELS[colour_type]
    samples = _png_samples(zlib.decompress(idat), height, width, channels, depth)
    return _png_colours(samples, colour_type, depth, found.get(b"PLTE"), found.get(b"tRNS"))


def _png_samples(raw: bytes, height: int, width: int, channels: int, depth: int) -> np.ndarray:
    stride, step = -(-width * channels * depth // 8), max(1, channels * depth // 8)
    previous, lines = [0] * stride, []
    for y in range(height):
        method, line = raw[y * (stride + 1)], list(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for x in range(stride):
            a, b = line[x - step] if x >= step else 0, previous[x]
            c = previous[x - step] if x >= step else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line[x] = (line[x] + (0, a, b, (a + b) // 2, paeth)[method]) & 255
        lines.append(line)
        previous = line
    packed = np.array(lines, np.uint8)
    if depth == 16:
        return (packed[:, 0::2].astype(int) * 256 + packed[:, 1::2]).reshape(height, width, channels)
    bits = np.unpackbits(packed, axis=1).reshape(height, -1, depth).astype(int)
    return (bits @ (1 << np.arange(depth - 1, -1, -1)))[:, :width * channels].reshape(height, width, channels)


def _png_colours(samples: np.ndarray, colour_type: int, depth: int, palette: bytes | None, trns: bytes | None) -> np.ndarray:
    full = 255.0 / (2**depth - 1)
    alpha = np.full(samples.shape[:2], 255.0)
    if colour_type == 3:
        table = np.frombuffer(palette, np.uint8).reshape(-1, 3)
        alphas = np.full(256, 255.0)
        alphas[:len(trns or b"")] = list(trns or b"")
        return np.dstack([table[samples[..., 0]].astype(float), alphas[samples[..., 0]]])
    if trns:
        key = np.frombuffer(trns, ">u2").astype(int)
        alpha = np.where((samples == key).all(axis=2), 0.0, 255.0)
    if colour_type in (4, 6):
        alpha, samples = samples[..., -1] * full, samples[..., :-1]
    return np.dstack([np.broadcast_to(samples * full, (*samples.shape[:2], 3)), alpha])


def over_white(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) in 0..255 -> (H, W, 3)."""
    alpha = rgba[..., 3:] / 255.0
    return rgba[..., :3] * alpha + 255.0 * (1.0 - alpha)


ZIGZAG = sorted(range(64), key=lambda n: (n // 8 + n % 8, n // 8 if (n // 8 + n % 8) % 2 else n % 8))


class JpegDecoder:
    """Baseline JPEG. ``components``: (H, W, C) float as stored (YCbCr, CMYK as in the file); ``adobe``: transform or None.

    Chroma of half the width or height is doubled by the triangle filter (3/4 of the nearer sample, 1/4 of the other) that T.871 suggests
    with its centred samples and that viewers use.
    """

    def __init__(self, data: bytes):
        self.quantisers, self.trees, self.adobe, position = {}, {}, None, 2
        while True:
            marker, length = data[position + 1], struct.unpack(">H", data[position + 2:position + 4])[0]
            body = data[position + 4:position + 2 + length]
            position += 2 + length
            if marker == 0xDB:
                for start in range(0, len(body), 65):
                    assert body[start] < 16, "8-bit tables only"
                    self.quantisers[body[start]] = np.frombuffer(body[start + 1:start + 65], np.uint8).astype(float)
            elif marker == 0xC4:
                self._huffman(body)
            elif marker == 0xEE:
                self.adobe = body[11]
            elif marker in (0xC0, 0xC1):
                self.height, self.width, count = struct.unpack(">HHB", body[1:6])
                self.parts = [tuple(body[6 + 3 * n:9 + 3 * n]) for n in range(count)]
            elif marker == 0xDA:
                tables = {body[1 + 2 * n]: body[2 + 2 * n] for n in range(body[0])}
                self.components = self._scan(data[position:], tables)
                return
            assert marker != 0xC2, "baseline only"

    def _huffman(self, body: bytes) -> None:
        position = 0
        while position < len(body):
            name, counts = body[position], body[position + 1:position + 17]
            position, code, tree = position + 17, 0, {}
            for length, count in enumerate(counts, 1):
                for _ in range(count):
                    tree[length, code] = body[position]
                    position, code = position + 1, code + 1
                code <<= 1
            self.trees[name] = tree

    def _scan(self, data: bytes, tables: dict[int, int]) -> np.ndarray:
        bits = "".join(f"{byte:08b}" for byte in data[:data.index(b"\xff\xd9")].replace(b"\xff\x00", b"\xff"))
        position, predictors = 0, [0] * len(self.parts)

        def symbol(tree: dict) -> int:
            nonlocal position
            for length in range(1, 17):
                found = tree.get((length, int(bits[position:position + length], 2)))
                if found is not None:
                    position += length
                    return found
            raise AssertionError("bad code")

        def number(size: int) -> int:
            nonlocal position
            if not size:
                return 0
            value = int(bits[position:position + size], 2)
            position += size
            return value if value >> (size - 1) else value - (1 << size) + 1

        n = np.arange(8)
        cosine = np.cos((2 * n[:, None] + 1) * n * np.pi / 16) * np.where(n, 0.5, np.sqrt(1 / 8))
        tall, wide = (max(part[1] >> shift & 15 for part in self.parts) for shift in (0, 4))
        rows, columns = -(-self.height // (8 * tall)), -(-self.width // (8 * wide))
        planes = [np.zeros((rows * 8 * (sampling & 15), columns * 8 * (sampling >> 4))) for _, sampling, _ in self.parts]
        assert len(self.parts) > 1 or self.parts[0][1] == 0x11
        for block in range(rows * columns):
            for index, part in ((index, part) for index, (_, sampling, _) in enumerate(self.parts) for part in np.ndindex(sampling & 15, sampling >> 4)):
                name, sampling, quantiser = self.parts[index]
                values, k = np.zeros(64), 1
                predictors[index] += number(symbol(self.trees[tables[name] >> 4]))
                values[0] = predictors[index]
                while k < 64:
                    run = symbol(self.trees[16 + (tables[name] & 15)])
                    if run == 0:
                        break
                    k += run >> 4
                    values[k] = number(run & 15)
                    k += 1
                plane = np.zeros(64)
                plane[ZIGZAG] = values * self.quantisers[quantiser]
                y, x = (8 * (at * size + inner) for at, size, inner in zip(divmod(block, columns), (sampling & 15, sampling >> 4), part, strict=True))
                planes[index][y:y + 8, x:x + 8] = cosine @ plane.reshape(8, 8) @ cosine.T + 128
        return np.stack([self._full(np.clip(np.rint(plane), 0, 255), tall // (part[1] & 15), wide // (part[1] >> 4))
                         for plane, part in zip(planes, self.parts, strict=True)], axis=-1)

    def _full(self, plane: np.ndarray, down: int, across: int) -> np.ndarray:
        """A component at the picture's size; without what pads it to whole blocks, which must not leak in at the edges."""
        plane = plane[:-(-self.height // down), :-(-self.width // across)]
        plane = _doubled(plane) if down == 2 else plane
        plane = _doubled(plane.T).T if across == 2 else plane
        return plane[:self.height, :self.width]


def _doubled(plane: np.ndarray) -> np.ndarray:
    """Twice as many rows; beyond the edge the last row goes on."""
    out = np.repeat(plane, 2, axis=0) * 0.75
    out[0::2] += 0.25 * np.concatenate([plane[:1], plane[:-1]])
    out[1::2] += 0.25 * np.concatenate([plane[1:], plane[-1:]])
    return out


def ycc_to_rgb(ycc: np.ndarray) -> np.ndarray:
    """JFIF: full-range BT.601."""
    y, cb, cr = ycc[..., 0], ycc[..., 1] - 128, ycc[..., 2] - 128
    return np.clip(np.rint(np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)), 0, 255)


def jpeg_decode(data: bytes) -> np.ndarray:
    """-> (H, W, 3) float RGB in 0..255; four components in Adobe's inverted polarity."""
    decoder = JpegDecoder(data)
    parts = decoder.components
    if parts.shape[2] == 1:
        return np.repeat(parts, 3, axis=2)
    if parts.shape[2] == 3:
        return ycc_to_rgb(parts)
    inverted = np.dstack([255 - ycc_to_rgb(parts), parts[..., 3]]) if decoder.adobe == 2 else parts
    return inverted[..., :3] * inverted[..., 3:] / 255.0


def lab_to_srgb(lab: np.ndarray) -> np.ndarray:
    """(..., 3) CIE L*a*b* of illuminant D50 -> sRGB in 0..255, adapted to D65 by Bradford's matrix (ICC.1:2010; IEC 61966-2-1)."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29)**2 * (f - 4 / 29)) * np.array([0.9642, 1.0, 0.8249])
    bradford = np.array([[0.9555766, -0.0230393, 0.0631636], [-0.0282895, 1.0099416, 0.0210077], [0.0122982, -0.0204830, 1.3299098]])
    to_rgb = np.array([[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]])
    linear = np.clip(xyz @ (to_rgb @ bradford).T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear**(1 / 2.4) - 0.055)
