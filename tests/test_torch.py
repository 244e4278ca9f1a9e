"""lowbit.torch: autograd over CPU tensors, against torch's own fake quantization. Skipped where torch is missing."""

import importlib.util

import numpy as np
import pytest
from helpers import F32, assert_same, run_python

import lowbit as lb

has_torch = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not has_torch, reason="torch is not installed")
if has_torch:
    import torch

    import lowbit.torch as lt


@pytest.mark.skipif(has_torch, reason="torch is installed")
def test_without_torch_the_import_says_what_is_missing():
    with pytest.raises(ImportError, match=r"lowbit\.torch needs PyTorch.*pip install torch"):
        importlib.import_module("lowbit.torch")


def test_lowbit_does_not_import_torch():
    assert run_python("-c", "import lowbit, sys; sys.exit('torch' in sys.modules)").returncode == 0


def data(seed, shape, dtype=None):
    """Multiples of 1/64: with scales that are powers of two, torch's x * (1 / scale) is our x / scale exactly."""
    values = np.random.default_rng(seed).integers(-200, 201, shape) / 64
    return torch.tensor(values, dtype=dtype or torch.float32)


def assert_same_values(a, b):
    """Bit for bit, but torch has -0 for some zeros."""
    assert_same(a.detach().numpy() + F32(0), b.detach().numpy() + F32(0))


@needs_torch
@pytest.mark.parametrize("format", ["int8", "uint8", "int4", "uint4", "int2"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_forward_and_straight_through_equal_torch(format, axis):
    info = lb._formats.find_format(format)
    x = data(0, (6, 50)).requires_grad_()
    grad = data(1, (6, 50))
    zero = 0 if info.signed else 3
    step = 2 - info.bits
    scale = 2.0 ** (step if axis is None else step - torch.arange(x.shape[axis]) % 3)
    ours_x = x.detach().clone().requires_grad_()
    if axis is None:
        theirs = torch.fake_quantize_per_tensor_affine(x, float(scale), zero, info.qmin, info.qmax)
        ours = lt.fake_quantize(ours_x, torch.tensor(scale), torch.tensor(zero), format=format)
    else:
        zeros = torch.full((x.shape[axis],), zero, dtype=torch.int32)
        theirs = torch.fake_quantize_per_channel_affine(x, scale, zeros, axis, info.qmin, info.qmax)
        ours = lt.fake_quantize(ours_x, scale, zeros, format=format, axis=axis)
    assert_same_values(ours, theirs)
    theirs.backward(grad)
    ours.backward(grad)
    assert_same_values(ours_x.grad, x.grad)
    assert 0.02 < (ours_x.grad == 0).float().mean() < 0.9


@needs_torch
@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("lsq_scale", [False, True])
def test_learned_gradients_equal_torch(axis, lsq_scale):
    """torch's learnable fake quantization: gradients by x, scale and zero point, up to the order of its sums."""
    x, grad = data(2, (8, 300)), data(3, (8, 300))
    count = x.numel() if axis is None else x.shape[1]
    factor = 1 / np.sqrt(count * 127) if lsq_scale else 1.0
    scale = torch.tensor([2.0**-6]) if axis is None else 2.0 ** (-6 - torch.arange(8) % 2)
    zero = torch.full_like(scale, 5.0)
    theirs = [t.clone().requires_grad_() for t in (x, scale, zero)]
    if axis is None:
        y = torch._fake_quantize_learnable_per_tensor_affine(*theirs, -128, 127, factor)
    else:
        y = torch._fake_quantize_learnable_per_channel_affine(*theirs, axis, -128, 127, factor)
    y.backward(grad)
    own_shape = () if axis is None else (8,)
    ours = [t.clone().requires_grad_() for t in (x, scale.reshape(own_shape), zero.reshape(own_shape))]
    result = lt.fake_quantize(*ours, axis=axis, lsq_scale=lsq_scale)
    result.backward(grad)
    assert_same_values(result, y)
    assert_same_values(ours[0].grad, theirs[0].grad)
    for mine, other in zip(ours[1:], theirs[1:], strict=True):
        assert (other.grad != 0).all()
        np.testing.assert_allclose(mine.grad.numpy().ravel(), other.grad.numpy(), rtol=2e-5, atol=1e-4 * factor)


@needs_torch
def test_gradients_are_those_of_the_numpy_function():
    x, grad = torch.randn(5, 70), torch.randn(5, 70)
    leaves = [
        x.clone().requires_grad_(),
        torch.full((5, 3), 0.03).requires_grad_(),
        torch.zeros(5, 3, requires_grad=True),
    ]
    lt.fake_quantize(*leaves, format="int4", group_size=32).backward(grad)
    expected = lb.fake_quantize_gradient(
        grad.numpy(), x.numpy(), np.full((5, 3), 0.03, F32), np.zeros((5, 3), np.int8), format="int4", group_size=32
    )
    for leaf, wanted in zip(leaves, expected, strict=True):
        assert_same(leaf.grad.numpy(), wanted)


@needs_torch
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_16_bit_tensors(name):
    dtype = getattr(torch, name)
    x = data(4, (3, 40), dtype).requires_grad_()
    scale = torch.tensor(0.0625, requires_grad=True)
    y = lt.fake_quantize(x, scale)
    assert y.dtype == dtype
    expected = lb.fake_quantize(x.detach().float().numpy(), F32(0.0625))
    assert_same(y.detach().float().numpy(), torch.tensor(expected).to(dtype).float().numpy())
    y.backward(torch.ones_like(y))
    assert x.grad.dtype == dtype
    assert scale.grad.dtype == torch.float32


@needs_torch
def test_no_copy_of_the_input_and_odd_tensors():
    x = torch.randn(6, 10)
    assert lt._array("x", x).ctypes.data == x.data_ptr()
    assert lt._array("x", x.bfloat16()).dtype.name == "bfloat16"
    for view in (x.T, x[::2, 1:], x[:0], x[0, 0], x.expand(3, 6, 10)):
        y = lt.fake_quantize(view, torch.tensor(0.25))
        assert_same(y.numpy(), lb.fake_quantize(view.contiguous().numpy(), F32(0.25)))
    leaf = torch.randn(4, 5, requires_grad=True)
    lt.fake_quantize(leaf, torch.tensor(1.0)).sum().backward()  # an expanded gradient
    assert (leaf.grad == 1).all()


@needs_torch
def test_module_starts_as_lsq_says_and_learns():
    """A linear layer's int4 weights: training scale and weights brings the error far down from a bad start."""
    torch.manual_seed(0)
    target, inputs = torch.randn(16, 64), torch.randn(512, 64)
    weight = torch.nn.Parameter(target.clone())
    module = lt.FakeQuantize.from_data(weight, format="int4", axis=0)
    expected = 2 * target.abs().mean(dim=1) / np.sqrt(7)
    np.testing.assert_allclose(module.scale.detach(), expected, rtol=1e-6)
    assert {name for name, _ in module.named_parameters()} == {"scale"}
    module.scale.data *= 3  # a bad start
    optimizer = torch.optim.Adam([weight, *module.parameters()], lr=0.01)
    wanted = inputs @ target.T
    errors = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = ((inputs @ module(weight).T - wanted) ** 2).mean()
        loss.backward()
        optimizer.step()
        errors.append(float(loss.detach()))
    assert errors[-1] < errors[0] / 8
    q = module.quantize(weight)
    assert isinstance(q, lb.QuantizedArray)
    assert_same(q.dequantize(), module(weight).detach().numpy())


@needs_torch
def test_module_with_a_learned_zero_point():
    """Activations in [0, 4] and a zero point in the middle: it learns to move down."""
    torch.manual_seed(0)
    x = torch.rand(1000) * 4
    module = lt.FakeQuantize(torch.tensor(0.25), torch.tensor(8), format="uint4", learn_zero_point=True)
    assert {name for name, _ in module.named_parameters()} == {"scale", "zero_point"}
    before = float(((module(x) - x) ** 2).mean().detach())
    optimizer = torch.optim.Adam([{"params": [module.scale], "lr": 1e-3}, {"params": [module.zero_point], "lr": 0.1}])
    for _ in range(200):
        optimizer.zero_grad()
        loss = ((module(x) - x) ** 2).mean()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < before / 20
    assert module.zero_point < 4
    assert_same(module.quantize(x).dequantize(), module(x).detach().numpy())


@needs_torch
def test_module_details():
    module = lt.FakeQuantize.from_data(torch.randn(4, 70), format="int8", group_size=32)
    assert module.scale.shape == (4, 3)
    assert repr(module) == "FakeQuantize(int8, group_size=32, 12 scales)"
    again = lt.FakeQuantize(torch.ones(4, 3), format="int8", group_size=32)
    again.load_state_dict(module.state_dict())
    x = torch.randn(4, 70)
    assert_same(again(x).detach().numpy(), module(x).detach().numpy())
    assert lt.FakeQuantize.from_data(torch.zeros(5)).scale == 1
    uneven = torch.arange(1.0, 8.0)
    scale = lt.FakeQuantize.from_data(uneven, group_size=5).scale.detach().numpy()
    np.testing.assert_allclose(scale, 2 * np.array([3, 6.5]) / np.sqrt(127), rtol=1e-6)
    blocks = lt.FakeQuantize.from_data(torch.arange(15.0).reshape(3, 5), block_shape=(2, 3))
    np.testing.assert_allclose(blocks.scale.detach() * np.sqrt(127) / 2, [[3.5, 6], [11, 13.5]], rtol=1e-6)
    assert blocks(torch.ones(3, 5)).shape == (3, 5)
    module.scale.data[0, 0] = -1  # an optimizer went too far
    module(x).sum().backward()
    assert module.scale.detach().min() == 2.0**-23
    unsigned = lt.FakeQuantize(torch.tensor(0.1), format="uint8")
    assert unsigned.zero_point == 128
    twice = module(x).sum() + module(x * 2).sum()  # the same scale saved twice
    twice.backward()


if has_torch:
    ONE = torch.tensor(1.0)
    X = torch.ones(3, 4)
    CASES = {
        "array": (lambda: lt.fake_quantize(np.ones(3, F32), ONE), TypeError, r"x: ndarray, expected a torch\.Tensor"),
        "device": (
            lambda: lt.fake_quantize(X.to("meta"), ONE),
            TypeError,
            "x: a tensor on meta, expected one on the CPU",
        ),
        "float64": (lambda: lt.fake_quantize(X.double(), ONE), TypeError, "x: dtype float64"),
        "scale": (lambda: lt.fake_quantize(X, 1.0), TypeError, "scale: float, expected a torch"),
        "scale shape": (lambda: lt.fake_quantize(X, torch.ones(2), axis=0), ValueError, r"scale: shape \(2,\)"),
        "zero point": (
            lambda: lt.fake_quantize(X, ONE, torch.tensor(200)),
            ValueError,
            "zero_point: 200 .*-128 to 127",
        ),
        "zero bool": (lambda: lt.fake_quantize(X, ONE, torch.tensor(True)), TypeError, "zero_point: dtype bool"),
        "zero NaN": (lambda: lt.fake_quantize(X, ONE, torch.tensor(np.nan)), ValueError, "zero_point: .*not finite"),
        "int1": (lambda: lt.fake_quantize(X, ONE, format="int1"), ValueError, "lsq_scale: True with int1"),
        "not integers": (
            lambda: lt.fake_quantize(X, ONE, format="nf4"),
            ValueError,
            "format: nf4, expected a format of int",
        ),
        "module format": (
            lambda: lt.FakeQuantize(ONE, format="nf4"),
            ValueError,
            "format: nf4, expected a format of int",
        ),
        "module scale": (lambda: lt.FakeQuantize(-ONE), ValueError, "scale: .*positive"),
        "module dtype": (lambda: lt.FakeQuantize(ONE.double()), TypeError, "scale: dtype float64, expected float32"),
        "module zero": (lambda: lt.FakeQuantize(ONE, ONE), TypeError, r"zero_point: torch\.float32, expected integers"),
        "module zero shape": (
            lambda: lt.FakeQuantize(ONE, torch.zeros(2, dtype=torch.int8)),
            ValueError,
            "zero_point: shape",
        ),
        "from_data int1": (lambda: lt.FakeQuantize.from_data(X, format="int1"), ValueError, "format: int1"),
        "from_data empty": (lambda: lt.FakeQuantize.from_data(X[:0]), ValueError, "x: empty"),
        "from_data NaN": (lambda: lt.FakeQuantize.from_data(X * np.nan), ValueError, "x: not finite"),
    }
else:
    CASES = {}


@needs_torch
@pytest.mark.parametrize("name", CASES)
def test_bad_input(name):
    call, exception, message = CASES[name]
    with pytest.raises(exception, match=message):
        call()
