"""Door: ``import preimport``, as the first line of a script, guards this process.

After torch was imported it still works, at once; ``shim.status()`` then says that it was late.
"""

from shim import bootstrap

bootstrap.arm("preimport")
