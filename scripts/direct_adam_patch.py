#!/usr/bin/env python
"""Patch Adam in a process and run a script in it: ``direct_adam_patch.py [train.py args...]``.

Without a script it only checks the patch. A patch exists only in its process: if you run this file alone and then
``python train.py``, the second process is not patched. Pass the script to this file.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

if len(sys.argv) > 1:
    from shim.__main__ import main

    sys.exit(main(["run", *sys.argv[1:]]))

import shim

if not shim.patch_adam_optimizer():
    sys.exit("shim: Adam could not be patched here:\n" + str(shim.status()))

import torch

optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], weight_decay=None)
print("patched: Adam took weight_decay=None as", optimizer.defaults["weight_decay"])
print("A patch lives and dies with its process, and this one ends here.")
print("To train with it, hand over the script: direct_adam_patch.py train.py args...")
