"""Two patches: one for a function of torch, one that guards an optimizer of this package.

    pip install examples/patch_package
    python -m shim doctor --verbose      # lists them, with their state

This module is imported after torch, and only if shim is on.
"""

import shim


@shim.patch(
    "torch.nn.utils:clip_grad_norm_",
    name="acme-clip",
    reason="our configs say max_norm: null for no clipping, and torch multiplies with it",
    versions=">=1.4",
    answers=(r"acme: max_norm is None",),
)
def clip_nothing(wrapped, instance, args, kwargs):
    """Pass infinity, which clips nothing, if the config has None."""
    if len(args) > 1 and args[1] is None:
        args = (args[0], float("inf"), *args[2:])
    elif "max_norm" in kwargs and kwargs["max_norm"] is None:
        kwargs["max_norm"] = float("inf")
    return wrapped(*args, **kwargs)


#: `acme_optim` may be imported much later, or never.
ACME = "acme_optim:Acme"

PATCHES = [
    clip_nothing,
    shim.Patch(
        name="acme",
        reason="Acme computes with weight_decay",
        targets=(shim.Target("constructor", ACME), shim.Target("step", ACME)),
    ),
]
