"""Programs that print what shim does together with other tools, and a function that reads the output of python -v."""

from __future__ import annotations

import re

DIES = """
import torch
optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=None)
print("weight decay", optimizer.defaults["weight_decay"])
"""

#: Prints the modules that arrive instead of guarding them. It replaces shim's reaction, not torch.
ANNOUNCE = """
import sys
if any(hasattr(finder, "_shim") for finder in sys.meta_path):
    from shim import import_hook
    import_hook.arrived = lambda name, just_run: print("arrived:", name)
"""


def loads(stderr):
    """List the directories of the loaded sitecustomize files, from the output of ``python -v``, one for each load."""
    return re.findall(r"^# code object from '?(.*?)/(?:__pycache__/)?sitecustomize\.", stderr, re.MULTILINE)
