#!/usr/bin/env python
"""Run a script under shim, for workflows that call files: ``wrapper_script.py train.py args...``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from shim.__main__ import main

sys.exit(main(["run", *sys.argv[1:]]))
