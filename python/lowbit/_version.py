"""The version: CMake (library, SOVERSION) and the package metadata read it from this line."""

__version__ = "0.1.0"
