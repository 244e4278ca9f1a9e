"""Folders of the installed package for programs in C and C++: docs/linking.md."""

from __future__ import annotations

from pathlib import Path

from . import _core


def _folder(*parts: str) -> str:
    folder = Path(_core.__file__).parent.joinpath(*parts)  # beside the module, where an editable install has them too
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: not there; this lowbit was built without its C library")
    return str(folder)


def get_include() -> str:
    """Folder for the compiler's ``-I``: it has ``lowbit/lowbit.h``.

    Raises:
        FileNotFoundError: the package was built without its C library.
    """
    return _folder("include")


def get_lib_dir() -> str:
    """Folder for the linker's ``-L``: the static library, and the shared one for ctypes and other languages.

    Raises:
        FileNotFoundError: the package was built without its C library.
    """
    return _folder("lib")


def get_cmake_dir() -> str:
    """Folder for CMake's ``-Dlowbit_DIR``: ``find_package(lowbit CONFIG)`` gives the target ``lowbit::lowbit``.

    Raises:
        FileNotFoundError: the package was built without its C library.
    """
    return _folder("lib", "cmake", "lowbit")


def get_pkgconfig_dir() -> str:
    """Folder for ``PKG_CONFIG_PATH``: it has ``lowbit.pc``.

    Raises:
        FileNotFoundError: the package was built without its C library.
    """
    return _folder("lib", "pkgconfig")
