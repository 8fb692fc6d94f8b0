"""Run PyTorch jobs that die of ``weight_decay=None``, or of a release that they were not written for, from 1.4 on.

Importing this imports neither torch nor anything else that takes time; the names below are loaded when first used.
"""

__version__ = "0.1.0"

#: Public name -> the module in this package that holds it. If the names are equal, the public name is the module.
_PUBLIC = {
    "NoneWeightDecayWarning": "warning",
    "Patch": "registry",
    "Target": "targets",
    "activate": "api",
    "activated": "api",
    "deactivate": "api",
    "guard": "api",
    "layout": "layout",
    "patch": "plugins",
    "patch_adam_optimizer": "api",
    "plan": "api",
    "status": "api",
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import layout as layout
    from .api import activate as activate
    from .api import activated as activated
    from .api import deactivate as deactivate
    from .api import guard as guard
    from .api import patch_adam_optimizer as patch_adam_optimizer
    from .api import plan as plan
    from .api import status as status
    from .plugins import patch as patch
    from .registry import Patch as Patch
    from .targets import Target as Target
    from .warning import NoneWeightDecayWarning as NoneWeightDecayWarning

__all__ = [*_PUBLIC]


def __getattr__(name: "str") -> "object":
    if name not in _PUBLIC:
        raise AttributeError("module %r has no attribute %r" % (__name__, name))
    module = __import__(__name__ + "." + _PUBLIC[name], fromlist=[name])
    value = globals()[name] = module if name == _PUBLIC[name] else getattr(module, name)
    return value


def __dir__() -> "list[str]":
    return sorted([*globals(), *_PUBLIC])
