"""Programs that say what shim does beside other tools, and what Python says that it loaded."""

from __future__ import annotations

import re

DIES = """
import torch
optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=None)
print("weight decay", optimizer.defaults["weight_decay"])
"""

#: Prints which modules arrived, in place of guarding them: a stand-in for shim's reaction, not for torch.
ANNOUNCE = """
import sys
if any(hasattr(finder, "_shim") for finder in sys.meta_path):
    from shim import import_hook
    import_hook.arrived = lambda name, just_run: print("arrived:", name)
"""


def loads(stderr):
    """List the directories of the sitecustomize files that ``python -v`` says were loaded, one for each time."""
    return re.findall(r"^# code object from '?(.*?)/(?:__pycache__/)?sitecustomize\.", stderr, re.MULTILINE)
