"""Door: ``import preimport``, as the first line of a script, guards this process.

If torch is imported already, the patches are applied now, and ``shim.status().late`` is True.
"""

from shim import import_hook

import_hook.arm("preimport")
