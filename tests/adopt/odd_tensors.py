"""Tensors of all kinds for adopt_fuzz.py, each made from an ordinary one."""

from __future__ import annotations

import torch


class Marked(torch.Tensor):
    """A subclass of Tensor, as a program may have."""


def behind(base, kept):
    """Make a view with a storage offset."""
    return torch.cat([torch.zeros(3, dtype=base.dtype), base.flatten()])[3:].view(base.shape)


def strided(base, kept):
    wide = torch.zeros(*base.shape, 2, dtype=base.dtype)
    wide[..., 0] = base
    return wide[..., 0]


def turned(base, kept):
    return base.movedim(0, -1).contiguous().movedim(-1, 0) if base.dim() else base


def negated(base, kept):
    return torch._neg_view(base.neg())


def conjugated(base, kept):
    return base.conj().resolve_conj().conj() if base.is_complex() else base


def cloned_lazily(base, kept):
    kept.append((base, base.clone()))
    return torch._lazy_clone(base)


def forbidden(base, kept):
    """Make a tensor whose memory torch does not let anyone write."""
    made = base.clone()
    torch._C._set_throw_on_mutable_data_ptr(made)
    return made


def of_inference(base, kept):
    with torch.inference_mode():
        return base.clone()


def of_a_class(base, kept):
    return base.clone().as_subclass(Marked)


def misaligned(base, kept):
    if base.numel() == 0 or base.dtype == torch.bfloat16 or base.is_complex():  # torch crashes on a complex one
        return base
    data = bytearray(b"\0" + base.contiguous().numpy().tobytes())
    return torch.frombuffer(data, dtype=base.dtype, offset=1).view(base.shape)


def functional(base, kept):
    return torch._to_functional_tensor(base)


def batched(base, kept):
    leaked = []
    torch.vmap(lambda t: leaked.append(t) or t)(base.clone()[None])
    return leaked[0]


def without_values(base, kept):
    return base.to("meta")


def part_of_a_graph(base, kept):
    return base.clone().requires_grad_() * 1


def a_leaf(base, kept):
    return base.clone().requires_grad_()


def of_other_bits(base, kept):
    return base.to(torch.float32 if base.dtype == torch.float64 else torch.float64)


def of_another_shape(base, kept):
    return torch.cat([base.flatten(), base.new_ones(1)])


def nothing(base, kept):
    return None


def a_number(base, kept):
    return 1.0


def zero(base, kept):
    return torch._efficientzerotensor(base.shape, dtype=base.dtype)


def expanded(base, kept):
    return base.new_ones(()).expand(base.shape)


def sparse(base, kept):
    return base.to_sparse() if base.dim() else base


def zeros(base, kept):
    return torch.zeros_like(base)


def with_nan(base, kept):
    return torch.full_like(base, float("nan"))


ANY = (behind, strided, turned, negated, conjugated, cloned_lazily, of_inference, of_a_class, misaligned, functional)
ANY += (batched, without_values, forbidden, part_of_a_graph, a_leaf, of_other_bits, of_another_shape, nothing, a_number)
GRADIENT = (zero, expanded, sparse, zeros, with_nan, strided, negated, conjugated)


def is_there(kind):
    """Return whether this torch can make such a tensor."""
    try:
        kind(torch.ones(2, 2), [])
    except (AttributeError, RuntimeError):
        return False
    return True


ANY, GRADIENT = (tuple(filter(is_there, kinds)) for kinds in (ANY, GRADIENT))
