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


@pytest.mark.bug(3, 17)
@pytest.mark.parametrize("bits", BITS)
def test_out_is_filled_and_nothing_else(isa, bits):
    """Bug classes 3 and 17: out inside a larger array, at every alignment to a vector, dirty before."""
    rng = np.random.default_rng(bits)
    codes = rng.integers(0, 256, (3, 333), np.uint8)
    packed = ref.pack_bits(codes, bits)
    for offset in [*range(65), 100]:
        for result, function in [
            (packed, lambda out: lb.pack_bits(codes, bits, out=out)),
            (ref.unpack_bits(packed, bits, 333), lambda out: lb.unpack_bits(packed, bits, 333, out=out)),
            (ref.unpack_bits(packed, bits, 333, True), lambda out: lb.unpack_bits(packed, bits, 333, True, out=out)),
        ]:
            around = np.full(offset + result.size + 64, 0xEE, np.uint8)
            out = around[offset : offset + result.size].view(result.dtype).reshape(result.shape)
            assert function(out) is out
            assert_same(out, result)
            assert (around[:offset] == 0xEE).all()
            assert (around[offset + result.size :] == 0xEE).all()


@pytest.mark.parametrize("bits", [1, 4, 7, 8])
def test_large_results_are_the_same(isa, bits):
    """From 16 MiB on, results are streamed past the caches: rows that end within a byte, and a misaligned out."""
    rows, count = 1029, 16385
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (rows, count), np.uint8)
    packed = np.empty((rows, (count * bits + 7) // 8), np.uint8)
    few = 64  # rows that are not streamed
    assert lb.pack_bits(codes, bits, out=packed) is packed
    for first in (0, 500, rows - few):
        assert_same(packed[first : first + few], lb.pack_bits(codes[first : first + few], bits))
    around = np.full(rows * count + 7, 0xEE, np.uint8)
    out = around[3:-4].reshape(rows, count)
    assert lb.unpack_bits(packed, bits, count, out=out) is out
    assert_same(out, codes)
    assert (around[:3] == 0xEE).all()
    assert (around[-4:] == 0xEE).all()


@pytest.mark.bug(21)
def test_out_must_fit():
    """Bug class 21: an out that would need a conversion, or cannot be written, is refused."""
    codes, packed = np.zeros((4, 16), np.uint8), np.zeros((4, 8), np.uint8)
    read_only = np.zeros((4, 8), np.uint8)
    read_only.flags.writeable = False
    for out, error, words in [
        ([0], TypeError, "out: list, expected a numpy array"),
        (np.zeros((4, 8), np.int8), TypeError, "out: dtype int8, expected uint8"),
        (np.zeros((4, 9), np.uint8), ValueError, r"out: shape \(4, 9\), expected \(4, 8\)"),
        (np.zeros(32, np.uint8), ValueError, r"out: shape \(32,\), expected \(4, 8\)"),
        (read_only, ValueError, "out: a read-only array"),
        (np.zeros((8, 4), np.uint8).T, ValueError, "out: strides"),
        (np.zeros((4, 16), np.uint8)[:, :8], ValueError, "out: strides .* expected a C-contiguous array"),
        (codes.reshape(8, 8)[2:6], ValueError, "out: shares memory with codes"),
    ]:
        with pytest.raises(error, match=words):
            lb.pack_bits(codes, 4, out=out)
    for out, error, words in [
        (np.zeros((4, 16), np.int8), TypeError, "out: dtype int8, expected uint8"),
        (np.zeros((4, 15), np.uint8), ValueError, r"out: shape \(4, 15\), expected \(4, 16\)"),
        (np.lib.stride_tricks.as_strided(packed, (4, 16), (8, 0)), ValueError, "out: "),
    ]:
        with pytest.raises(error, match=words):
            lb.unpack_bits(packed, 4, 16, out=out)
    with pytest.raises(TypeError, match="out: dtype uint8, expected int8"):
        lb.unpack_bits(packed, 4, 16, True, out=np.zeros((4, 16), np.uint8))
    with pytest.raises(ValueError, match="out: shares memory with b"):
        lb.unpack_bits(packed, 8, 8, out=packed)


@pytest.mark.bug(22)
def test_out_beside_its_input():
    """Bug class 22: two halves of one array do not overlap."""
    both = np.arange(96, dtype=np.uint8)
    packed = lb.pack_bits(both[:64], 4, out=both[64:])
    assert_same(packed, ref.pack_bits(np.arange(64, dtype=np.uint8), 4))
