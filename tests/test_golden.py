"""Golden hashes: results that every CPU must give. tests/make_golden.py made them with lowbit.reference."""

import json

import pytest
from helpers import F32, assert_telling, quantize_keywords, quantized, unpacked_zero_point
from make_golden import PATH, cases, digest, reference_digest

import lowbit as lb

GOLDEN = json.loads(PATH.read_text())


def test_every_case_has_a_hash():
    assert list(GOLDEN) == list(cases())
    assert len(set(GOLDEN.values())) == len(GOLDEN)


@pytest.mark.bug(8)
@pytest.mark.parametrize("name", [name for number, name in enumerate(GOLDEN) if number % 4 == 0])
def test_reference(name):
    """The file and the reference agree: numpy on this CPU does the arithmetic that the contract describes."""
    assert reference_digest(*cases()[name]) == GOLDEN[name]


@pytest.mark.bug(8)
@pytest.mark.parametrize("name", GOLDEN)
def test_kernels(isa, name):
    """Bug class 8: contraction of a * b + c shows as another hash on CPUs and compilers that fuse."""
    kind, arguments = cases()[name]
    given = dict(arguments)
    if kind == "matmul_int":
        got = [lb.matmul_int(given.pop("a"), given.pop("b"), **given)]
    elif kind == "fake_quantize":
        grad = given.pop("grad")
        got = [lb.fake_quantize(**given), *lb.fake_quantize_gradient(grad, **given)]
    elif kind == "quantize":
        q = lb.quantize(
            given["x"],
            given["format"],
            group_size=given["group_size"],
            scale_dtype=given["scale_dtype"],
            **quantize_keywords(given["convention"]),
        )
        got = [q.unpack(), q.scale, unpacked_zero_point(q), q.dequantize()]
    else:
        group_size = given["group_size"]
        packed = lb.pack_weights(
            quantized(
                given["codes"],
                given["scale"],
                given["zero_point"],
                given["format"],
                axis=0 if group_size is None else None,
                group_size=group_size,
            )
        )
        keywords = {name: given.get(name) for name in ("bias", "activation", "residual")} | {"compute": given["kind"]}
        if given["kind"] != "float32":
            keywords["act_group_size"] = given["act_group_size"]
        got = [lb.matmul(given["x"], packed, **keywords)]
        assert_telling(got[0][3:] if len(got[0]) > 3 else got[0][:1])
        assert got[0].dtype == F32
    assert digest(*got) == GOLDEN[name]
