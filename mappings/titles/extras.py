"""The optional packages the title engine uses, and a clear sentence where one is missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from bridge.ports import FixConfiguration


class TitlesExtraMissingError(FixConfiguration, ImportError):
    """A package of the ``titles`` extra is not installed; the message says how to install it."""


def require(module: str) -> ModuleType:
    """Imports MODULE of the ``titles`` extra, or raises TitlesExtraMissingError with the command that
    installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        package = {"sklearn": "scikit-learn"}.get(module.split(".")[0], module.split(".")[0])
        raise TitlesExtraMissingError(
            f"Mapping titles needs the package {package}, which is not installed here. "
            "Install it with: pip install 'lms-bridge[titles]' "
            "(or 'lms-bridge[semantic]', which also understands words that look different)."
        ) from missing
