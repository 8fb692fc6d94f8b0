#!/bin/sh
# A smoke test of wrapper_script.py: it must run a script guarded, pass its arguments on and return its exit code.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

cat >"$work/train it.py" <<'PY'
import sys

import torch

torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=None)
print(sys.argv[1:])
sys.exit(3)
PY

status=0
printed=$("$python" -W ignore "$here/wrapper_script.py" "$work/train it.py" "two words" 'a "quote"' '$HOME' '') || status=$?
expected="['two words', 'a \"quote\"', '\$HOME', '']"
if [ "$printed" != "$expected" ] || [ "$status" -ne 3 ]; then
    echo "FAILED: printed $printed, expected $expected; exit code $status, expected 3" >&2
    exit 1
fi
echo "wrapper_script.py works: guarded, arguments and exit code intact"
