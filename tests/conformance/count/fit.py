"""Fits src/wire/count/model.bin: which pieces of text are one token, and what the characters of other pieces cost.

    fit.py CLAUDE_JSON CORPUS_JSON MODEL_BIN

CLAUDE_JSON is the vocabulary of the npm package @anthropic-ai/tokenizer (0.0.4). CORPUS_JSON is a list of [kind, text]
of a few thousand characters each; kinds that begin with `l-` are languages other than English. A fifth of the texts is
held out and measured. Needs tiktoken, numpy and scipy; takes about two minutes for 13 MB. The classes of characters must be
those of src/wire/count/text/classes.rs.
"""

import collections
import functools
import json
import math
import pathlib
import random
import sys
import unicodedata

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from reference import tokenizer

MASK, HASH, FILTER_BITS, KNOWN_MAX = (1 << 64) - 1, 0x9E3779B97F4A7C15, 1 << 19, 24
SIGNS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
SIZES = [128 * 128] + [64 * 64] * 5 + [16 * 64]
UNIT = 128


def fold(c):
    return c - 0xFEE0 if 0xFF01 <= c <= 0xFF5E else 0x20 if c in (0x3000, 0xA0) else c


def within(c, *ranges):
    return any(low <= c < high for low, high in ranges)


def kind(c):
    """0 white space, 1 letter, 2 digit, 3 sign."""
    if c == 0x20 or 9 <= c <= 13:
        return 0
    if within(c, (0x61, 0x7B), (0x41, 0x5B)) or c in (0xAA, 0xB5, 0xBA, 0x3005):
        return 1
    if within(c, (0x30, 0x3A)):
        return 2
    signs = (0, 0xC0), (0x2000, 0x2C00), (0x3000, 0x3040), (0xFE00, 0xFE10), (0xFE30, 0xFE70), (0xFF00, 0xFF66)
    return 3 if c in (0xD7, 0xF7) or c >= 0x1F000 or within(c, *signs) else 1


def near(c):
    if 97 <= c <= 122:
        return c - 97
    if 65 <= c <= 90:
        return 26 + c - 65
    if c < 128:
        sign = SIGNS.find(chr(c))
        return 52 if 48 <= c <= 57 else {32: 53, 10: 54, 9: 55}.get(c, 56 + sign if sign >= 0 else 88)
    table = [
        ((0x400, 0x530), 89),
        ((0xDF, 0x250), 90),
        ((0x1E00, 0x1F00), 90),
        ((0xC0, 0xDF), 91),
        ((0x370, 0x400), 92),
        ((0x590, 0x700), 92),
        ((0x900, 0xE80), 93),
        ((0xAC00, 0xD7B0), 93),
        ((0x3040, 0x3100), 94),
        ((0x4E00, 0xA000), 95),
        ((0x3000, 0x3040), 91),
        ((0xFF00, 0xFFF0), 91),
        ((0xA0, 0xC0), 91),
        ((0x2000, 0x2070), 91),
        ((0, 0x10000), 89),
    ]
    if 0x430 <= c < 0x450:
        return 96 + c - 0x430
    return next((number for bounds, number in table if within(c, bounds)), 88)


def far(c):
    letter = chr(c).lower()
    if c < 128:
        if letter.isalpha():
            return ord(letter) - 97
        groups = ["0123456789", " ", "\n\t\r", "\"'`", "()[]{}<>", ".,;:!?", "_-/\\"]
        return 26 + next((at for at, group in enumerate(groups) if letter in group), len(groups))
    if 0x430 <= c < 0x450:
        return 34 if letter in "аеиоу" else 35 if letter in "ыэюя" else 36
    if c in (0xE4, 0xF6, 0xFC, 0xDF):
        return 38
    bounds = [0x400, 0x530, 37], [0xDF, 0x100, 39], [0x100, 0x250, 40], [0x1E00, 0x1F00, 41], [0xC0, 0xDF, 42]
    bounds += [0x370, 0x400, 43], [0x590, 0x600, 44], [0x600, 0x700, 45], [0x900, 0xE00, 46], [0xE00, 0xE80, 47]
    bounds += [0x3040, 0x30A0, 48], [0x30A0, 0x3100, 49], [0xAC00, 0xD7B0, 50], [0x4E00, 0xA000, 51]
    bounds += [0x3000, 0x3040, 54], [0xFF00, 0xFFF0, 55], [0xA0, 0xC0, 56], [0x2000, 0x2070, 57]
    bounds += [0x2500, 0x2580, 58], [0x1F000, 0x20000, 59], [0, 0x2C00, 60], [0, 0x10000, 61]
    return next((number for low, high, number in bounds if low <= c < high), 62)


def pieces(chars):
    kinds = [kind(c) for c in chars]
    at = 0
    while at < len(chars):
        end = run(kinds, at)
        if kinds[at] == 0 and end < len(chars):
            if end - at > 1:
                end -= 1
            elif chars[at] == 0x20:
                end = run(kinds, end)
        yield at, end
        at = end


def run(kinds, at):
    end = at + 1
    while end < len(kinds) and kinds[end] == kinds[at]:
        end += 1
    return end


class Filter:
    def __init__(self, encoding):
        self.bits = np.zeros(FILTER_BITS, bool)
        for token in encoding.token_byte_values():
            try:
                text = token.decode()
            except UnicodeDecodeError:
                continue
            chars = [fold(ord(c)) for c in text]
            long_enough = len(text) > 1 or text and ord(text) > 127
            if long_enough and len(text) <= KNOWN_MAX and (not text.strip() or len(list(pieces(chars))) == 1):
                self.bits[self.places(tuple(chars))] = True
        self.knows = functools.cache(lambda piece: bool(self.bits[self.places(piece)].all()))

    @staticmethod
    def places(piece):
        value = 0
        for c in piece:
            value = ((((value << 5) | (value >> 59)) & MASK) ^ c) * HASH & MASK
        value = (value ^ value >> 32) * HASH & MASK
        return [value >> shift & FILTER_BITS - 1 for shift in (45, 26, 7)]


def starts(encoding, text):
    """How many tokens begin within each character; the tokenizer sees the text in NFKC."""
    normal, owner = [], []
    for at, c in enumerate(text):
        for part in unicodedata.normalize("NFKC", c):
            normal.append(part)
            owner += [at] * len(part.encode())
    counts, place = np.zeros(len(text), np.int64), 0
    for token in encoding.encode_ordinary("".join(normal)):
        counts[owner[place]] += 1
        place += len(encoding.decode_single_token_bytes(token))
    return counts


def read(encoding, known, text):
    """One-token pieces; of the other characters their cells in the tables and their tokens; where pieces begin; all tokens."""
    chars = [fold(ord(c)) for c in text]
    size = len(chars)
    tokens = starts(encoding, text)
    missed, first, place, hits = np.zeros(size, bool), np.zeros(size, bool), np.zeros(size, np.int64), 0
    for at, end in pieces(chars):
        piece = tuple(chars[at:end])
        if len(piece) == 1 and piece[0] < 128 or len(piece) <= KNOWN_MAX and known.knows(piece):
            hits += 1
            continue
        missed[at:end] = first[at] = True
        place[at:end] = np.minimum(np.arange(end - at), 15)
    rare = [0x4E00 <= c < 0xA000 and not known.knows((c,)) for c in chars]
    close = np.array([54] + [88 if odd else near(c) for c, odd in zip(chars, rare)])
    coarse = np.array([28, 28] + [52 if odd else far(c) for c, odd in zip(chars, rare)] + [28, 28])
    before2, before, this, after, after2 = (coarse[at : at + size] for at in range(5))
    pairs = (before2, this), (before, after), (this, after), (before2, before), (this, after2)
    cells = [close[:-1] * 128 + close[1:]] + [one * 64 + other for one, other in pairs] + [place * 64 + this]
    offsets = np.cumsum([0] + SIZES[:-1])
    cells = np.stack([cell + offset for cell, offset in zip(cells, offsets)], 1)
    return hits, cells[missed], tokens[missed], np.flatnonzero(first[missed]), int(tokens.sum())


def weight(kind_of):
    """Languages have less text than code; the corpus of the committed model had more Dutch than it needed."""
    if kind_of in ("l-nl", "rs"):
        return {"l-nl": 1.0, "rs": 0.8}[kind_of]
    return 9.0 if kind_of == "l-ja" else 6.0 if kind_of.startswith("l-") else 1.2


def solve(rows):
    cells = np.concatenate([row[1] for _, row in rows])
    tokens = np.concatenate([row[2] for _, row in rows]).astype(float)
    weights = np.concatenate([np.full(len(row[2]), math.sqrt(weight(kind_of))) for kind_of, row in rows])
    count, width = cells.shape
    ends = np.arange(0, count * width + 1, width)
    matrix = scipy.sparse.csr_matrix((np.repeat(weights, width), cells.ravel(), ends), shape=(count, sum(SIZES)))
    return scipy.sparse.linalg.lsqr(matrix, tokens * weights, damp=2.0, iter_lim=120)[0]


def main():
    vocabulary, corpus, target = sys.argv[1:]
    encoding = tokenizer(vocabulary)
    texts = json.loads(pathlib.Path(corpus).read_text())
    random.Random(1).shuffle(texts)
    known = Filter(encoding)
    rows = [(kind_of, read(encoding, known, text)) for kind_of, text in texts]
    cut = len(rows) * 4 // 5
    table = np.clip(np.round(solve(rows[:cut]) * UNIT), -127, 127).astype(np.int8)
    errors = collections.defaultdict(list)
    for kind_of, (hits, cells, tokens, first, total) in rows[cut:]:
        parts = table[cells].sum(1, dtype=np.int64) if len(tokens) else np.zeros(0)
        cost = np.maximum(np.add.reduceat(parts, first), 2 * UNIT).sum() / UNIT if len(tokens) else 0
        errors[kind_of].append((hits + cost) / total - 1)
    for kind_of, found in sorted(errors.items()):
        print(f"{kind_of}: mean {100 * np.mean(np.abs(found)):.1f} %, worst {100 * np.max(np.abs(found)):.1f} %")
    every = np.abs(np.concatenate(list(errors.values())))
    print(f"all: mean {100 * every.mean():.2f} %, worst {100 * every.max():.1f} %, over 10 %: {(every > 0.1).sum()} of {len(every)}")
    bits = np.packbits(known.bits, bitorder="little").tobytes()
    pathlib.Path(target).write_bytes(bits + table.tobytes())


if __name__ == "__main__":
    main()
