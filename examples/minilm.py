"""A real model on lowbit: all-MiniLM-L6-v2, its 36 linear layers in float32, int8 and int4, compared.

    python examples/minilm.py                      the table
    python examples/minilm.py --plot minilm.png    and a picture of it
    python examples/minilm.py --quick              the first 32 sentences, one repeat

Needs the extra `examples`. The first run fetches the model (84 MB; minilm_files.py says from where and under which
licence). Where onnx and onnxruntime are installed, onnxruntime's float32 is a row of its own.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import minilm_files
import numpy as np
from minilm_encoder import LINEAR_LAYERS, Floats, Linear, Model, gelu

import lowbit as lb

SENTENCES = Path(__file__).with_name("sentences.txt")
QUICK_SENTENCES = 32
INT4 = {"format": "int4", "group_size": 32, "symmetric": False, "scale_dtype": np.float16}


@dataclass(frozen=True)
class Mode:
    """A way to run the encoder."""

    name: str
    weight_bytes: int  # of the 36 linear layers
    encode: Callable[[Sequence[Sequence[int]]], Floats]


@dataclass(frozen=True)
class Result:
    """What is printed of a mode. Cosines and agreement are against the float32 numpy embeddings."""

    mode: str
    weight_bytes: int
    weight_ratio: float
    sentences_per_second: float
    speedup: float
    mean_cosine: float
    worst_cosine: float
    same_nearest: float  # share of sentences whose nearest other sentence is the same one
    same_top10: float  # share of the ten nearest that are the same
    paraphrase_found: float  # share of sentences whose nearest other sentence is their paraphrase


def float32_linear(model: Model) -> Linear:
    """Linear layers in float32 numpy."""

    def linear(x: Floats, layer: str, activation: str | None) -> Floats:
        y = x @ model.weight(layer).T
        y += model.bias(layer)
        return gelu(y) if activation == "gelu" else y

    return linear


def packed_mode(name: str, model: Model, compute: str, quantization: dict[str, Any]) -> Mode:
    """Linear layers through lowbit: weights quantized and packed once, bias and GELU fused into the product."""
    packed = {layer: lb.pack_weights(lb.quantize(model.weight(layer), **quantization)) for layer in LINEAR_LAYERS}

    def linear(x: Floats, layer: str, activation: str | None) -> Floats:
        y: Floats = lb.matmul(x, packed[layer], bias=model.bias(layer), activation=activation, compute=compute)
        return y

    nbytes = sum(w.nbytes for w in packed.values())
    return Mode(name, nbytes, lambda tokens: model.encode(tokens, linear))


def modes(model: Model, peers: bool) -> list[Mode]:
    """The modes, float32 numpy first; with `peers`, also onnxruntime where it is installed."""
    nbytes = sum(model.weight(layer).nbytes for layer in LINEAR_LAYERS)
    linear = float32_linear(model)
    found = [
        Mode("float32, numpy", nbytes, lambda tokens: model.encode(tokens, linear)),
        packed_mode("int8", model, "int8", {"format": "int8", "axis": 0}),
        packed_mode("int4 g32, compute int8", model, "int8", INT4),
        packed_mode("int4 g32, compute float32", model, "float32", INT4),
    ]
    if peers:
        missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
        if missing:
            print(f"no onnxruntime row: {' and '.join(missing)} not installed")
        else:
            import minilm_onnx

            found.insert(1, Mode("float32, onnxruntime", nbytes, minilm_onnx.encoder(model, lb.get_num_threads())))
    return found


def compare(modes: Sequence[Mode], tokens: Sequence[Sequence[int]], repeats: int) -> list[Result]:
    """Runs every mode once for its embeddings, then `repeats` times in turn for its median time."""
    embeddings = [mode.encode(tokens) for mode in modes]
    seconds: list[list[float]] = [[] for _ in modes]
    for _ in range(repeats):
        for mode, times in zip(modes, seconds, strict=True):
            begin = time.perf_counter()
            mode.encode(tokens)
            times.append(time.perf_counter() - begin)
    rates = [len(tokens) / statistics.median(times) for times in seconds]

    paraphrase = np.arange(len(tokens)) ^ 1  # the other line of the pair
    reference = nearest(embeddings[0])
    results = []
    for mode, rate, z in zip(modes, rates, embeddings, strict=True):
        cosine = np.sum(z * embeddings[0], axis=1, dtype=np.float64)
        order = nearest(z)
        shared = [len(set(a) & set(b)) / len(a) for a, b in zip(order[:, :10], reference[:, :10], strict=True)]
        results.append(
            Result(
                mode=mode.name,
                weight_bytes=mode.weight_bytes,
                weight_ratio=mode.weight_bytes / modes[0].weight_bytes,
                sentences_per_second=rate,
                speedup=rate / rates[0],
                mean_cosine=float(cosine.mean()),
                worst_cosine=float(cosine.min()),
                same_nearest=float(np.mean(order[:, 0] == reference[:, 0])),
                same_top10=float(np.mean(shared)),
                paraphrase_found=float(np.mean(order[:, 0] == paraphrase)),
            )
        )
    return results


def nearest(embeddings: Floats) -> np.ndarray:
    """The other sentences of each sentence, most similar first: (n, n - 1)."""
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -np.inf)
    order: np.ndarray = np.argsort(-similarity, axis=1, kind="stable")[:, :-1]
    return order


def load_sentences() -> list[str]:
    """The lines of sentences.txt; lines 2 i and 2 i + 1 are paraphrases."""
    lines = SENTENCES.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def run(source: Path, *, quick: bool = False, repeats: int = 7) -> tuple[dict[str, Any], list[Result]]:
    """The setting and the result of every mode. source: the model's wheel or directory; quick: few sentences, once."""
    model = Model(source)
    sentences = load_sentences()[: QUICK_SENTENCES if quick else None]
    tokens = model.tokenize(sentences)
    setting = {
        "model": f"{minilm_files.PACKAGE} {minilm_files.VERSION}",
        "licence": minilm_files.LICENCE,
        "sentences": len(sentences),
        "tokens": sum(map(len, tokens)),
        "cpu": cpu_name(),
        "isa": lb.current_isa(),
        "threads": lb.get_num_threads(),
        "lowbit": lb.__version__,
        "numpy": np.__version__,
    }
    return setting, compare(modes(model, peers=not quick), tokens, 1 if quick else repeats)


def cpu_name() -> str:
    """The CPU's name where the system tells, else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def print_table(setting: dict[str, Any], results: Sequence[Result]) -> None:
    print("all-MiniLM-L6-v2 ({licence}, from {model}): {sentences} sentences, {tokens} tokens".format(**setting))
    print("lowbit {lowbit} on {isa}, {threads} threads; numpy {numpy}; {cpu}".format(**setting))
    print()
    print(f"{'linear weights':>46}{'sentences/s':>19}{'cosine':>17}{'nearest':>10}{'top 10':>9}{'paraphrase':>13}")
    print(f"{'MB':>37}{'ratio':>9}{'ratio':>19}{'mean':>9}{'worst':>8}{'same':>10}{'same':>9}{'found':>13}")
    for r in results:
        print(
            f"{r.mode:27}{r.weight_bytes / 1e6:10.2f}{r.weight_ratio:9.4f}{r.sentences_per_second:10.0f}"
            f"{r.speedup:8.2f}x{r.mean_cosine:9.4f}{r.worst_cosine:8.4f}"
            f"{r.same_nearest:10.1%}{r.same_top10:9.1%}{r.paraphrase_found:13.1%}"
        )
    print()
    print("Ratios, cosines and 'same' are against float32 numpy. Time is the encoder's, without the tokenizer.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"the first {QUICK_SENTENCES} sentences, timed once")
    parser.add_argument("--repeats", type=int, default=7, help="timed runs of each mode (default 7)")
    parser.add_argument("--model", type=Path, help="the model's wheel or directory, instead of fetching it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the numbers")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error(f"--repeats is {arguments.repeats}, expected at least 1")

    if arguments.plot:
        import minilm_plot  # before the work: a missing matplotlib should not cost the numbers

    try:
        source = arguments.model or minilm_files.fetch()
        setting, results = run(source, quick=arguments.quick, repeats=arguments.repeats)
    except (minilm_files.ModelError, FileNotFoundError) as error:
        parser.exit(1, f"error: {error}\n")
    print_table(setting, results)
    if arguments.json:
        numbers = {"setting": setting, "results": [asdict(r) for r in results]}
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n")
    if arguments.plot:
        minilm_plot.draw(arguments.plot, setting, results)


if __name__ == "__main__":
    main()
