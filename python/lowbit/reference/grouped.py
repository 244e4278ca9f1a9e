"""Products of consecutive rows of x with weights of their own: docs/numerics.md has nothing to add for them."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt


def matmul_grouped(
    x: npt.NDArray[np.float32],
    products: Sequence[Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]],
    rows: Sequence[int],
) -> npt.NDArray[np.float32]:
    """Return products[e] of rows[e] rows of x, one below the other, float32 (T, N).

    products: for each expert what takes its rows, such as a matmul_dynamic or matmul_float32 with its weights.
    """
    ends = np.cumsum(rows)
    return np.concatenate(
        [product(x[end - count : end]) for product, count, end in zip(products, rows, ends, strict=True)]
    )
