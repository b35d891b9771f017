"""The CEL engine alone.

`cel` imports its own command line too, and with it prompt_toolkit: a sixth of the time that a service needs to start.
"""

from __future__ import annotations

import sys
from types import ModuleType

sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))

import cel  # noqa: E402  after its command line was put aside

__all__ = ["cel"]
