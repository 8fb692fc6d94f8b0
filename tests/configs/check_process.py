"""Start the check in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import shim

SOURCE = str(Path(shim.__file__).parents[1])
MAIN = "import sys; from shim.configs.command import main; sys.exit(main(sys.argv[1:]))"


def start(*arguments: str, code: str = MAIN, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": SOURCE, **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, **options
    )
