"""Names that came later, and that no patch can add to an older torch: which release has them."""

from __future__ import annotations

from .row import advice

_DTYPES = (
    ("2.1", "float8_e4m3fn|float8_e5m2", "float8", "an older diffusers or transformers"),
    ("2.2", "float8_e4m3fnuz|float8_e5m2fnuz", "float8 fnuz", "an older diffusers or transformers"),
    ("2.3", "uint16|uint32|uint64|uint[1-7]", "unsigned dtypes", "safetensors<0.6 or an older torchao"),
    ("2.6", "int[1-7]", "sub-byte dtypes", "an older torchao"),
)

for _since, _dtypes, _called, _instead in _DTYPES:
    advice(
        _called,
        f"These dtypes came with torch {_since}, and need its compiled kernels. Use torch {_since} or newer, or "
        f"{_instead} with this one.",
        rf"module 'torch' has no attribute '(?:{_dtypes})'",
        works=f">={_since}",
    )

advice(
    "DTensor",
    "torch.distributed.tensor has DTensor since 2.5 (torch.distributed._tensor from 2.0 on), and "
    "torch.distributed.device_mesh came with 2.2. Use that release or a newer one.",
    (
        r"cannot import name '(?:DTensor|Partial|Replicate|Shard|distribute_\w+)' from 'torch\.distributed\.tensor'",
        r"No module named 'torch\.distributed\.(?:tensor|_tensor|device_mesh)'",
    ),
    works=">=2.5",
)

#: The names that each release added and that libraries of today use, by module.
_CAME_WITH: dict[str, dict[str, tuple[str, ...]]] = {
    "1.8": {"torch": ("fx", "tensor_split")},
    "1.9": {"torch.nn.utils": ("parametrize", "parametrizations")},
    "1.10": {"torch": ("frombuffer",), "torch.utils": ("_python_dispatch",)},
    "1.13": {"torch": ("UntypedStorage",)},
    "2.0": {"torch": ("func", "set_default_device", "vmap", "_dynamo")},
    "2.1": {"torch": ("export",)},
    "2.3": {"torch.nn": ("attention",)},
    "2.4": {"torch.nn": ("RMSNorm",), "torch.library": ("register_fake", "custom_op", "register_autograd")},
    "2.5": {"torch.nn.attention": ("flex_attention",)},
    "2.6": {"torch.compiler": ("set_stance",), "torch.library": ("triton_op",)},
}

for _since, _modules in _CAME_WITH.items():
    advice(
        f"names of {_since}",
        f"{', '.join(name for names in _modules.values() for name in names)} came with torch {_since}, and no patch "
        f"replaces them. Use torch {_since} or newer, or an older release of the library that imports them.",
        tuple(
            pattern.format(module.replace(".", r"\."), "|".join(names))
            for module, names in _modules.items()
            for pattern in (
                r"module '{0}' has no attribute '(?:{1})'",
                r"cannot import name '(?:{1})' from '{0}'",
                r"No module named '{0}\.(?:{1})'",
            )
        ),
        works=f">={_since}",
    )
