"""Targets: the places to patch. ``target_kinds`` and ``row_kinds`` have what is done there, for each kind of target."""

from __future__ import annotations

import sys
from typing import Any, Iterator

from .layout import weight_decay_of
from .record import Record


class Target(Record):
    """A place to patch.

    ``path`` is a module and a dotted attribute, ``"torch.optim.adam:Adam"``. A ``*`` in place of a class stands for
    every class in the module that its package defines; if these are optimizers, for those that take weight_decay.
    ``kind`` is what is done there:

    - ``"constructor"``, ``"step"``: the None guard of an optimizer class;
    - ``"functional"``: the None guard of a function, in every module that holds it;
    - ``"submodule"``: a submodule that torch has deleted from its package becomes an attribute again, and a call of it
      calls ``how(package)``;
    - ``"names"``: the module ``path`` (without an attribute) gets those names of the dictionary ``how()`` that it
      lacks;
    - ``"module"``: like ``"names"``, but a module that does not exist is made;
    - ``"callable"``: the module ``path`` (without an attribute) can be called, and calls ``how``;
    - ``"default"``: objects that lack the attribute get ``how()``;
    - ``"name"``: the attribute is set to ``how``, unless the program has set it itself;
    - ``"made"``: the attribute is set to the result of ``how(owner)``, unless the program has set it itself;
    - ``"attribute"``: the attribute is set to the result of ``how(owner)``, whatever it was before;
    - ``"around"``: ``how(original, *args, **kwargs)`` is called in place of a function, in every module that holds it;
    - ``"instead"``: ``how(original)`` returns the function that takes its place, in every module that holds it. A call
      is faster than with ``"around"``;
    - ``"wrapper"``: ``how(wrapped, instance, args, kwargs)`` is called in place of the function, as in wrapt. ``args``
      and ``kwargs`` are as the caller gave them;
    - ``"arguments"``: like ``"wrapper"``, but ``args`` and ``kwargs`` are all arguments, also those that the caller
      left out, and the function keeps the original's signature.

    Examples:
        >>> import shim
        >>> shim.Target("step", "acme.optim:Acme").path
        'acme.optim:Acme'
    """

    kind: str
    path: str
    #: The object itself, if it may not be found by its path: for example a class defined in a function.
    value: Any = None
    how: Any = None

    @property
    def module(self) -> str:
        """The module that the target lies in."""
        return self.path.partition(":")[0]

    @property
    def attribute(self) -> str:
        """The name of the last attribute."""
        return self.path.partition(":")[2].rpartition(".")[2]


def expanded(targets: tuple[Target, ...]) -> Iterator[Target]:
    """Yield the targets. One with a ``*`` is yielded once for every class that it stands for."""
    for target in targets:
        path = target.path.partition(":")[2]
        if not path.startswith("*"):
            yield target
            continue
        for name, value in list(getattr(sys.modules.get(target.module), "__dict__", {}).items()):
            if not isinstance(value, type) or not f"{value.__module__}.".startswith(target.module + "."):
                continue
            if target.attribute in vars(value) or (path == "*" and _takes_weight_decay(value)):
                yield target._replace(path=f"{target.module}:{name}{path[1:]}")


def _takes_weight_decay(cls: Any) -> bool:
    return issubclass(cls, sys.modules["torch.optim"].Optimizer) and weight_decay_of(cls.__init__) is not None
