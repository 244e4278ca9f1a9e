"""lowbit: low-bit numeric kernels for numpy.

q = lowbit.quantize(weights, "int4", group_size=32)   # weights: float32, (N, K)
w = lowbit.pack_weights(q)
y = lowbit.matmul(x, w)                               # x: (..., K); y: (..., N); or x @ w
"""

from . import onnx
from ._bits import pack_bits, unpack_bits
from ._cast import cast
from ._folders import get_cmake_dir, get_include, get_lib_dir, get_pkgconfig_dir
from ._grouped import matmul_grouped
from ._matmul import matmul, matmul_int
from ._quantize import dequantize, quantize
from ._runtime import (
    available_isas,
    current_isa,
    get_num_threads,
    num_threads,
    set_num_threads,
    use_isa,
)
from ._version import __version__
from .arrays import QuantizedArray
from .calibrate import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageObserver,
    Observer,
    OutlierObserver,
    OutlierStatistics,
    outlier_statistics,
)
from .error import QuantizationError, plot_rate_distortion, quantization_error
from .fake_quant import fake_quantize, fake_quantize_gradient
from .weights import PackedWeights, pack_weights

__all__ = [
    "HistogramObserver",
    "MinMaxObserver",
    "MovingAverageObserver",
    "Observer",
    "OutlierObserver",
    "OutlierStatistics",
    "PackedWeights",
    "QuantizationError",
    "QuantizedArray",
    "__version__",
    "available_isas",
    "cast",
    "current_isa",
    "dequantize",
    "fake_quantize",
    "fake_quantize_gradient",
    "get_cmake_dir",
    "get_include",
    "get_lib_dir",
    "get_num_threads",
    "get_pkgconfig_dir",
    "matmul",
    "matmul_grouped",
    "matmul_int",
    "num_threads",
    "onnx",
    "outlier_statistics",
    "pack_bits",
    "pack_weights",
    "plot_rate_distortion",
    "quantization_error",
    "quantize",
    "set_num_threads",
    "unpack_bits",
    "use_isa",
]
