"""``python -m lowbit``: ``info`` for bug reports, ``demo`` to see what it does, folders for programs in C and C++."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys

import lowbit

from . import _core

FOLDERS = {
    "--include-dir": (lowbit.get_include, "folder for cc -I"),
    "--lib-dir": (lowbit.get_lib_dir, "folder for cc -L"),
    "--cmake-dir": (lowbit.get_cmake_dir, "folder for cmake -Dlowbit_DIR"),
    "--pkg-config-dir": (lowbit.get_pkgconfig_dir, "folder for PKG_CONFIG_PATH"),
}


def info() -> None:
    """Print what a bug report needs."""
    rows = {
        "lowbit": lowbit.__version__,
        "cpu": _core.cpu_description(),
        "isas available": ", ".join(lowbit.available_isas()),
        "isas built": ", ".join(_core.built_isas()),
        "isa": lowbit.current_isa(),
        "threads": str(lowbit.get_num_threads()),
        "python": f"{platform.python_version()} ({platform.python_implementation()}, {platform.python_compiler()})",
        "numpy": importlib.metadata.version("numpy"),
        "ml_dtypes": importlib.metadata.version("ml_dtypes"),
        "platform": platform.platform(),
    }
    for name, value in rows.items():
        print(f"{name:15} {value}")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lowbit", description="Low-bit numeric kernels for numpy.")
    for flag, (folder, text) in FOLDERS.items():
        parser.add_argument(flag, action="append_const", dest="folders", const=folder, help=f"print the {text}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("info", help="CPU, instruction sets, threads, versions: paste it into a bug report")
    demo = commands.add_parser("demo", help="quantize and multiply one layer: time, speed-up, error (about 10 s)")
    demo.add_argument("--size", type=int, default=4096, metavar="N", help="rows and columns of the layer (%(default)s)")
    options = parser.parse_args(arguments)
    for folder in options.folders or []:
        print(folder())
    if options.command == "info":
        info()
    elif options.command == "demo":
        if options.size < 1:
            demo.error(f"--size: {options.size}, expected at least 1")
        from ._demo import run  # only the demo needs it

        run(options.size)
    elif not options.folders:
        parser.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main())
