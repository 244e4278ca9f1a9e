from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

_Array: TypeAlias = npt.NDArray[Any]
_Runs: TypeAlias = tuple[int, int, int, int, int]

MAX_THREADS: int
ASYMMETRIC: int
ABSMAX: int
FULL: int
SIGNED_MAX: int
NO_CLIP: int
NEAREST_EVEN: int
UP: int
DOWN: int
STOCHASTIC: int
IDENTITY: int
RELU: int
GELU: int
GELU_TANH: int
SILU: int
COMPUTE_INT8: int
COMPUTE_FLOAT32: int
COMPUTE_INT8X2: int

class Context:
    def __init__(self, isa: str | None, threads: int) -> None: ...
    @property
    def isa(self) -> str: ...

def version() -> str: ...
def available_isas() -> tuple[str, ...]: ...
def built_isas() -> tuple[str, ...]: ...
def cpu_description() -> str: ...
def types() -> dict[str, int]: ...
def formats() -> tuple[tuple[str, int, int, int, int, int, float, int, int, bool, bool, int], ...]: ...
def default_threads() -> int: ...
def set_spin_microseconds(microseconds: int) -> None: ...
def pack_bits(
    context: Context, bits: int, rows: int, row_length: int, codes: _Array, packed: npt.NDArray[np.uint8]
) -> None: ...
def unpack_bits(
    context: Context,
    bits: int,
    sign_extend: bool,
    rows: int,
    row_length: int,
    packed: npt.NDArray[np.uint8],
    codes: _Array,
) -> None: ...
def find_range(
    context: Context,
    runs: _Runs,
    x: npt.NDArray[np.float32],
    minimum: npt.NDArray[np.float32],
    maximum: npt.NDArray[np.float32],
) -> None: ...
def choose_params(
    context: Context,
    format: int,
    convention: int,
    minimum: npt.NDArray[np.float32],
    maximum: npt.NDArray[np.float32],
    scale_type: int,
    global_scale: float,
    scale: _Array,
    zero_point: _Array | None,
) -> None: ...
def quantize(
    context: Context,
    format: int,
    runs: _Runs,
    x: npt.NDArray[np.float32],
    convention: int,
    find_params: bool,
    scale_type: int,
    global_scale: float,
    scale: _Array,
    zero_point: _Array | None,
    codes: _Array,
) -> None: ...
def dequantize(
    context: Context,
    format: int,
    runs: _Runs,
    codes: _Array,
    scale_type: int,
    global_scale: float,
    scale: _Array,
    zero_point: _Array | None,
    out: npt.NDArray[np.float32],
) -> None: ...
def cast(
    context: Context,
    x: _Array,
    from_type: int,
    out: _Array,
    to_type: int,
    rounding: int,
    saturate: bool,
    seed: int,
) -> None: ...
def pack_weights(
    context: Context,
    format: int,
    n: int,
    k: int,
    group_size: int,
    codes: _Array,
    scale_type: int,
    global_scale: float,
    scale: _Array | None,
    zero_point: _Array | None,
    transposed: bool = False,
) -> npt.NDArray[np.uint8]: ...
def load_packed(
    data: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.uint8], int, int, int, int, int, float, int]: ...
def unpack_weights(
    context: Context,
    packed: npt.NDArray[np.uint8],
    codes: _Array,
    scale: _Array | None,
    zero_point: _Array | None,
) -> None: ...
def matmul(
    context: Context,
    weights: npt.NDArray[np.uint8],
    x: _Array,
    compute: int,
    act_group_size: int,
    x_scale: npt.NDArray[np.float32] | None,
    x_zero_point: npt.NDArray[np.int32] | None,
    bias: npt.NDArray[np.float32] | None,
    activation: int,
    out: _Array,
    residual: _Array | None = None,
    out_scale: float = 0.0,
    out_zero_point: int = 0,
) -> None: ...
def matmul_grouped(
    context: Context,
    weights: list[npt.NDArray[np.uint8]],
    x: _Array,
    rows: list[int],
    compute: list[int],
    act_group_size: int,
    x_scale: npt.NDArray[np.float32] | None,
    x_zero_point: npt.NDArray[np.int32] | None,
    bias: npt.NDArray[np.float32] | None,
    activation: int,
    out: _Array,
) -> None: ...
def matmul_int(
    context: Context,
    weights: npt.NDArray[np.uint8],
    a: _Array,
    a_zero_point: npt.NDArray[np.int32] | None,
    b_zero_point: npt.NDArray[np.int32] | None,
    out: npt.NDArray[np.int32],
    accumulate: bool = False,
) -> None: ...
def fake_quantize(
    context: Context,
    format: int,
    runs: _Runs,
    x: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    zero_point: _Array | None,
    out: npt.NDArray[np.float32],
) -> None: ...
def fake_quantize_gradient(
    context: Context,
    format: int,
    runs: _Runs,
    grad: npt.NDArray[np.float32],
    x: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    zero_point: _Array | None,
    lsq_scale: bool,
    grad_x: npt.NDArray[np.float32],
    grad_scale: npt.NDArray[np.float32] | None,
    grad_zero_point: npt.NDArray[np.float32] | None,
) -> None: ...
def search_params(
    context: Context,
    format: int,
    runs: _Runs,
    x: npt.NDArray[np.float32],
    importance: npt.NDArray[np.float32] | None,
    convention: int,
    scale_type: int,
    global_scale: float,
    scale: _Array,
    zero_point: _Array | None,
) -> None: ...
def absmean(context: Context, runs: _Runs, x: npt.NDArray[np.float32], mean: npt.NDArray[np.float32]) -> None: ...
def histogram(
    context: Context,
    runs: _Runs,
    x: npt.NDArray[np.float32],
    bins: int,
    absolute: bool,
    inverse_width: npt.NDArray[np.float32],
    counts: npt.NDArray[np.int64],
) -> None: ...
def entropy(
    context: Context,
    counts: npt.NDArray[np.int64],
    bins: int,
    levels: int,
    first: int,
    kept: npt.NDArray[np.int64],
) -> None: ...
def hqq_params(
    context: Context,
    format: int,
    runs: _Runs,
    x: npt.NDArray[np.float32],
    steps: tuple[float, float, float, int],
    scale_type: int,
    scale: _Array,
    zero_point: npt.NDArray[np.float32],
) -> None: ...
