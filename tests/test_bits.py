"""pack_bits and unpack_bits: against the reference, and against bytes worked out by hand."""

import numpy as np
import pytest
from helpers import assert_same, assert_telling

import lowbit as lb
from lowbit import reference as ref

BITS = range(1, 9)


def test_golden_bytes(isa):
    """Bug class 15: nibble order. Bytes from the definition, not from any packer of ours."""
    golden = [
        (4, [1, 14, 3], [0xE1, 0x03]),
        (4, [0, 15, 7, 8, 9], [0xF0, 0x87, 0x09]),
        (2, [3, 0, 2, 1, 1], [0b01100011, 0b01]),
        (1, [1, 0, 0, 0, 0, 0, 0, 0, 1], [1, 1]),
        (3, [0, 1, 2, 3, 4, 5, 6, 7], [0b10001000, 0b11000110, 0b11111010]),
        (5, [31, 0, 31], [0x1F, 0x7C]),
        (6, [63, 0, 33], [0x3F, 0x10, 0x02]),
        (7, [127, 0, 65], [0x7F, 0x40, 0x10]),
        (8, [128, 127, 255], [0x80, 0x7F, 0xFF]),
    ]
    for bits, codes, packed in golden:
        codes, packed = np.array(codes, np.uint8), np.array(packed, np.uint8)
        assert_same(lb.pack_bits(codes, bits), packed, f"{bits} bits")
        assert_same(lb.unpack_bits(packed, bits, len(codes)), codes, f"{bits} bits")


@pytest.mark.bug(1)
@pytest.mark.parametrize("bits", BITS)
def test_every_length(isa, bits):
    """Bug class 1: tails. Lengths past four vectors of 64 bytes."""
    rng = np.random.default_rng(bits)
    data = rng.integers(0, 256, 600, np.uint8)
    for count in [*range(4 * 64 + 4), 511, 512, 513, 600]:
        codes = data[:count]
        packed = lb.pack_bits(codes, bits)
        assert_same(packed, ref.pack_bits(codes, bits), f"pack {count}")
        low = codes & np.uint8((1 << bits) - 1)
        assert_same(lb.unpack_bits(packed, bits, count), low, f"unpack {count}")
        sign = 1 << (bits - 1)
        signed = ((low ^ sign).astype(np.int16) - sign).astype(np.int8)
        assert_same(lb.unpack_bits(packed, bits, count, signed=True), signed, f"unpack signed {count}")


@pytest.mark.bug(31)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 33), (5, 1), (1, 130), (0, 5), (4, 0)])
def test_rows_start_on_a_byte(isa, bits, shape):
    codes = np.random.default_rng(bits).integers(0, 256, shape, np.uint8)
    if codes.size:
        codes.flat[0], codes.flat[-1] = 0, 255
    packed = lb.pack_bits(codes, bits)
    assert_same(packed, ref.pack_bits(codes, bits))
    for signed in (False, True):
        back = lb.unpack_bits(packed, bits, shape[-1], signed)
        assert_same(back, ref.unpack_bits(packed, bits, shape[-1], signed))
    if codes.size > 20 and bits > 2:
        assert_telling(back)


@pytest.mark.parametrize("bits", BITS)
def test_only_the_low_bits_count(isa, bits):
    codes = np.arange(256, dtype=np.uint8)
    assert_same(lb.pack_bits(codes.view(np.int8), bits), lb.pack_bits(codes & np.uint8((1 << bits) - 1), bits))


@pytest.mark.parametrize("bits", BITS)
def test_bits_past_the_end_are_ignored(isa, bits):
    count = 11
    packed = lb.pack_bits(np.zeros(count, np.uint8), bits)
    if count * bits % 8:
        packed[-1] |= (0xFF << (count * bits % 8)) & 0xFF
    assert not lb.unpack_bits(packed, bits, count).any()


def test_golden_bytes_at_odd_lengths_of_rows(isa):
    codes = np.array([[1, 2, 3], [4, 5, 6]], np.int8)
    assert lb.pack_bits(codes, 4).tolist() == [[0x21, 0x03], [0x54, 0x06]]
