"""Threads: the same bytes with any number of them, from several callers, across fork and exit."""

import asyncio
import functools
import hashlib
import os
import sys
import threading

import numpy as np
import pytest
from helpers import F16, F32, assert_same, isa_and_threads, random_codes, run_script, spread_floats

import lowbit as lb
from lowbit import reference as ref

COUNTS = range(1, 17)
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

# For processes of their own: a product that is large enough to be shared out among threads.
PRELUDE = """
import os, signal, sys, threading
import numpy as np
import lowbit as lb
rng = np.random.default_rng(0)
w = lb.pack_weights(lb.quantize(rng.standard_normal((256, 256)).astype("f4"), "int4", group_size=32))
x = rng.standard_normal((128, 256)).astype("f4")
lb.set_num_threads(4)
"""


@functools.cache
def data():
    rng = np.random.default_rng(0)
    w = rng.standard_normal((509, 1030)).astype(F32)
    packed = {
        "int8": lb.pack_weights(lb.quantize(w, "int8", axis=0)),
        "int4": lb.pack_weights(lb.quantize(w, "uint4", group_size=64, symmetric=False, scale_dtype=F16)),
        "codes": lb.pack_weights(random_codes(rng, "int8", w.shape)),
    }
    return w, packed, spread_floats(rng, (35, 1030)), random_codes(rng, "uint8", (35, 1030))


def matmul_int8():
    return lb.matmul(data()[2], data()[1]["int8"], activation="silu")


def matmul_int4():
    return lb.matmul(data()[2], data()[1]["int4"])


def matmul_int4_few_rows():
    return np.stack([lb.matmul(data()[2][:m], data()[1]["int4"]).sum(dtype=np.float64) for m in (4, 8)])


def matmul_float32():
    return lb.matmul(data()[2][:9], data()[1]["int4"], compute="float32")


def matmul_int():
    return lb.matmul_int(data()[3], data()[1]["codes"], a_zero_point=128)


def quantize_groups():
    q = lb.quantize(data()[0], "uint3", group_size=33, symmetric=False)
    return np.concatenate([q.codes.ravel(), q.scale.view(np.uint8).ravel(), q.zero_point.ravel()])


def quantize_tensor():
    q = lb.quantize(data()[0], "int8")
    return np.concatenate([q.codes.ravel().view(np.uint8), q.scale.reshape(1).view(np.uint8)])


def quantize_columns():
    q = lb.quantize(data()[0], "int5", axis=1)
    return np.concatenate([q.codes.ravel(), q.scale.view(np.uint8)])


def dequantize():
    return lb.quantize(data()[0], "int4", group_size=33).dequantize()


def bits():
    packed = lb.pack_bits(data()[1]["codes"].unpack(), 5)
    return np.concatenate([packed.ravel(), lb.unpack_bits(packed, 5, 1030).ravel()])


def pack_and_unpack():
    return lb.pack_weights(lb.quantize(data()[0], "int3", group_size=100)).unpack().codes


WORK = [
    matmul_int8,
    matmul_int4,
    matmul_int4_few_rows,
    matmul_float32,
    matmul_int,
    quantize_groups,
    quantize_tensor,
    quantize_columns,
    dequantize,
    bits,
    pack_and_unpack,
]


@pytest.mark.bug(2, 30)
@pytest.mark.parametrize("work", WORK, ids=lambda f: f.__name__)
def test_same_bytes_with_any_number_of_threads(isa, work):
    """Bug classes 2 and 30: per-thread tails and the order of sums; twice each."""
    with lb.num_threads(1):
        alone = work()
    for count in [*COUNTS, *COUNTS] if isa != "scalar" else [2, 3, 5, 8, 16]:
        with lb.num_threads(count):
            assert_same(work(), alone, f"{count} threads")


@functools.cache
def long_weights(n, k):
    """Formats for every path of a product whose K is cut."""
    rng = np.random.default_rng([n, k])
    w = rng.standard_normal((n, k)).astype(F32)
    layouts = [
        ("int8", {"axis": 0}),
        ("uint4", {"axis": 0, "symmetric": False}),
        ("int4", {"group_size": 32}),
        ("uint2", {"group_size": 128, "symmetric": False, "scale_dtype": F16}),
        ("int3", {"group_size": 288}),
        ("nf4", {"group_size": 64}),
    ]
    packed = [lb.pack_weights(lb.quantize(w, name, **layout)) for name, layout in layouts]
    return packed, lb.pack_weights(random_codes(rng, "int8", (n, k)))


@pytest.mark.bug(2, 30)
@pytest.mark.parametrize(
    ("m", "n", "k"), [(33, 1, 65541), (70, 16, 7173), (70, 17, 7173), (8, 16, 65541), (3, 33, 65536)]
)
def test_a_cut_k_gives_the_same_bits(isa, m, n, k):
    """Fewer columns and rows than threads: parts of K, whose sums are added in the order of one thread."""
    packed, codes = long_weights(n, k)
    rng = np.random.default_rng(0)
    x, a = spread_floats(rng, (m, k)), random_codes(rng, "uint8", (m, k))

    def work():
        results = [lb.matmul(x, packed[0], act_group_size=32), lb.matmul_int(a, codes, a_zero_point=3)]
        results += [lb.matmul(x, packed[2], compute="int8x2"), lb.matmul(x, packed[3], compute="float32")]
        results += [lb.matmul(x, w, compute="int8") for w in packed[2:]]
        if k < 65536:
            results += [lb.matmul(x, w, act_group_size=-1) for w in packed[:2]]
        return results

    with lb.num_threads(1):
        alone = work()
    for count in (2, 3, 5, 7) if isa != "scalar" else (7,):
        with lb.num_threads(count):
            for i, (got, want) in enumerate(zip(work(), alone, strict=True)):
                assert_same(got, want, f"{count} threads, result {i}")


@pytest.mark.bug(2)
def test_odd_shapes_with_any_number_of_threads(isa, threads):
    """Bug class 2: rows and columns that leave some threads a tail, some nothing."""
    rng = np.random.default_rng(1)
    for m, k, n in ((1, 4099, 301), (2, 8191, 67), (3, 70000, 5), (97, 2051, 7), (129, 515, 17), (333, 100, 49)):
        a, b = random_codes(rng, "uint8", (m, k)), random_codes(rng, "int8", (n, k))
        assert_same(lb.matmul_int(a, lb.pack_weights(b)), ref.matmul_int(a, b.T), f"{m, k, n}")


def test_threads_are_really_used():
    """Bug class 31, for threads: a pool that never wakes would pass everything above."""
    if not os.path.exists("/proc/self/task"):
        pytest.skip("/proc tells the number of threads, and is not here")
    out = run_script(
        PRELUDE + "before = len(os.listdir('/proc/self/task')); lb.matmul(x, w)\n"
        "print(len(os.listdir('/proc/self/task')) - before)"
    )
    assert 1 <= int(out) <= 3


@pytest.mark.bug(26)
def test_concurrent_callers(isa):
    """Several Python threads at once share weights and pool; each is right. On free-threaded Python, truly at once."""
    expected = {}
    with isa_and_threads(isa, 1):
        for work in (matmul_int8, matmul_int4, matmul_int):
            expected[work] = work()
    errors = []
    barrier = threading.Barrier(4)

    def call(work, count):
        barrier.wait()
        try:
            for _ in range(3 if isa == "scalar" else 10):
                with isa_and_threads(isa, count):
                    assert_same(work(), expected[work], work.__name__)
        except BaseException as error:
            errors.append(error)

    jobs = [(matmul_int8, 4), (matmul_int4, 3), (matmul_int, 16), (matmul_int4, 1)]
    callers = [threading.Thread(target=call, args=job) for job in jobs]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not errors, errors


@pytest.mark.bug(26)
def test_the_module_keeps_the_gil_off():
    if getattr(sys, "_is_gil_enabled", lambda: True)() and not getattr(sys.flags, "gil", 1):
        pytest.fail("importing lowbit turned the GIL on")


@posix
@pytest.mark.bug(23)
@pytest.mark.parametrize("when", ["idle", "busy"])
def test_fork_after_the_pool_has_started(when):
    """Bug class 23: the child has no workers, and locks as they were; from two threads, under an alarm."""
    run_script(
        PRELUDE
        + f"""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of what is tested here
want = lb.matmul(x, w).tobytes()
stop = threading.Event()
def load():
    while not stop.is_set():
        lb.matmul(x, w)
if {when == "busy"}:
    threading.Thread(target=load, daemon=True).start()
failures = []
def fork_and_use():
    for _ in range(10):
        child = os.fork()
        if child == 0:
            signal.alarm(30)  # ends a child that hangs
            same = all(lb.matmul(x, w).tobytes() == want for _ in range(3))
            os._exit(0 if same else 1)
        failures.append(os.waitpid(child, 0)[1])
        if lb.matmul(x, w).tobytes() != want:
            failures.append("parent")
threads = [threading.Thread(target=fork_and_use) for _ in range(2)]
for t in threads: t.start()
for t in threads: t.join()
stop.set()
assert not any(failures), failures
"""
    )


@posix
@pytest.mark.bug(23)
def test_a_child_of_a_child():
    run_script(
        PRELUDE
        + """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
want = lb.matmul(x, w).tobytes()
child = os.fork()
if child == 0:
    signal.alarm(30)
    assert lb.matmul(x, w).tobytes() == want
    grandchild = os.fork()
    if grandchild == 0:
        signal.alarm(30)
        os._exit(lb.matmul(x, w).tobytes() != want)
    os._exit(os.waitpid(grandchild, 0)[1] != 0)
assert os.waitpid(child, 0)[1] == 0
"""
    )


@pytest.mark.bug(24)
@pytest.mark.parametrize("end", ["", "sys.exit(0)", "os._exit(0)", "del w, x"])
def test_exit_with_a_busy_pool(end):
    """Bug class 24: no hang and no crash, however often."""
    for _ in range(3):
        run_script(
            PRELUDE
            + f"""
def load():
    while True:
        lb.matmul(a, b)
a, b = x, w
started = [threading.Thread(target=load, daemon=True) for _ in range(2)]
for t in started: t.start()
lb.matmul(x, w)
{end}
"""
        )


@pytest.mark.bug(25)
def test_mutation_while_the_gil_is_released():
    """Bug class 25: values may be torn, memory may not: codes, scales and NaN come and go under a running call."""
    run_script(
        PRELUDE
        + """
stop = threading.Event()
q = lb.quantize(np.abs(x) + 1, "uint4", group_size=32, symmetric=False)
out = np.empty((128, 256), "f4")
def mutate():
    noise = np.random.default_rng(1)
    while not stop.is_set():
        x[noise.integers(0, 128)] = noise.choice([np.nan, np.inf, 1e38, -3, 0])
        q.codes[...] = noise.integers(0, 256)
        q.scale[...] = noise.choice([np.nan, np.inf, 0, 1e-40])
        q.zero_point[...] = noise.integers(0, 256)
        out[...] = np.nan
mutator = threading.Thread(target=mutate)
mutator.start()
for _ in range(100):
    lb.matmul(x, w, out=out, activation="gelu")
    lb.matmul(x[:8], w, out=out[:8], compute="float32")
    lb.quantize(x, "int3", group_size=7)
    lb.dequantize(q, out=x.copy())
    lb.pack_weights(q)
stop.set()
mutator.join()
"""
    )


def test_settings_belong_to_their_thread():
    """A new thread begins with the defaults; what it sets, others do not see."""
    default = lb.current_isa(), lb.get_num_threads()
    seen = []
    with isa_and_threads("scalar", 7):

        def other():
            seen.append((lb.current_isa(), lb.get_num_threads()))
            with lb.num_threads(3):
                entered.set()
                leave.wait()

        entered, leave = threading.Event(), threading.Event()
        thread = threading.Thread(target=other)
        thread.start()
        entered.wait()
        assert (lb.current_isa(), lb.get_num_threads()) == ("scalar", 7)
        leave.set()
        thread.join()
    assert seen == [default]
    assert (lb.current_isa(), lb.get_num_threads()) == default


def test_settings_belong_to_their_task():
    """asyncio tasks that interleave inside their with blocks."""
    isas = lb.available_isas()

    async def task(number):
        isa = isas[number % len(isas)]
        with isa_and_threads(isa, number + 1):
            for _ in range(5):
                await asyncio.sleep(0)
                assert (lb.current_isa(), lb.get_num_threads()) == (isa, number + 1)

    async def all_tasks():
        await asyncio.gather(*(task(number) for number in range(8)))

    before = lb.current_isa(), lb.get_num_threads()
    asyncio.run(all_tasks())
    assert (lb.current_isa(), lb.get_num_threads()) == before


def test_set_num_threads_is_for_the_process():
    out = run_script("""
import threading, lowbit as lb
lb.set_num_threads(3)
seen = []
t = threading.Thread(target=lambda: seen.append(lb.get_num_threads())); t.start(); t.join()
with lb.num_threads(5):
    lb.set_num_threads(2)
    seen.append(lb.get_num_threads())
print(seen, lb.get_num_threads())
""")
    assert out.strip() == "[3, 5] 2"


def test_workers_that_do_not_spin_give_the_same():
    out = run_script("""
import hashlib, numpy as np, lowbit as lb
rng = np.random.default_rng(0)
w = lb.pack_weights(lb.quantize(rng.standard_normal((512, 512), np.float32), "int4", group_size=32))
x = rng.standard_normal((64, 512), np.float32)
for spin in (100, 0, 1000):
    lb.set_num_threads(4, spin_microseconds=spin)
    print(hashlib.sha256(b"".join((x @ w).tobytes() for _ in range(20))).hexdigest())
""")
    assert len(out.split()) == 3
    assert len(set(out.split())) == 1


def test_environment_sets_the_number():
    script = "import lowbit; print(lowbit.get_num_threads())"
    assert run_script(script, environment={"LOWBIT_NUM_THREADS": 3, "OMP_NUM_THREADS": 2}).strip() == "3"
    assert run_script(script, environment={"LOWBIT_NUM_THREADS": "", "OMP_NUM_THREADS": 2}).strip() == "2"
    assert 1 <= lb.get_num_threads() <= (os.cpu_count() or 1) or "LOWBIT_NUM_THREADS" in os.environ


def test_a_nap_between_calls(isa):
    """Workers that have gone to sleep wake again: results stay the same after pauses longer than they spin."""
    with lb.num_threads(4):
        first = hashlib.sha256(matmul_int4().tobytes()).hexdigest()
        for seconds in (0.0001, 0.001, 0.02):
            threading.Event().wait(seconds)
            assert hashlib.sha256(matmul_int4().tobytes()).hexdigest() == first
