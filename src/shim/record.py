"""Records: a base class like ``typing.NamedTuple``, whose subclasses are made in a tenth of the time.

NamedTuple compiles a constructor for each class, and the import of torch would wait for that:
https://github.com/python/cpython/blob/v3.11.7/Lib/collections/__init__.py#L436
Here all classes have the same constructor.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

__all__ = ["Record"]

if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:

    class Record(tuple):
        """A tuple whose items have the names that the class annotates, and the defaults that it gives them."""

        _fields = ()
        _field_defaults = {}  # noqa: RUF012  # each class has its own

        def __init_subclass__(cls) -> None:
            cls._fields = tuple(cls.__annotations__)
            cls._field_defaults = {name: vars(cls)[name] for name in cls._fields if name in vars(cls)}
            cls._last = tuple(cls._field_defaults.values())
            for place, name in enumerate(cls._fields):
                setattr(cls, name, property(itemgetter(place)))

        def __new__(cls, *values: Any, **named: Any) -> Record:  # noqa: D102
            left_out = len(cls._fields) - len(values)
            if not named and 0 <= left_out <= len(cls._last):
                values += cls._last[len(cls._last) - left_out :]
            else:
                given = {**cls._field_defaults, **named}
                try:
                    values += tuple([given.pop(name) for name in cls._fields[len(values) :]])
                except KeyError as error:
                    raise TypeError(f"{cls.__name__}() lacks {error.args[0]!r}") from None
                if len(values) > len(cls._fields) or not given.keys().isdisjoint(named):
                    raise TypeError(f"{cls.__name__}() takes {', '.join(cls._fields)}, each once")
            return tuple.__new__(cls, values)

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

        def __repr__(self) -> str:
            return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self))

        def _replace(self, **changed: Any) -> Record:
            return type(self)(**{**self._asdict(), **changed})
