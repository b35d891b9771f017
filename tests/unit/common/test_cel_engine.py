"""Starting: what a service needs is loaded, and no more."""

from __future__ import annotations

import subprocess
import sys


def test_no_service_loads_the_command_line_of_cel() -> None:
    program = "import sys; from ml_connector.common import expressions; print('prompt_toolkit' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)

    assert done.stdout == "False\n"
