"""The Triton kernels of the fused form on a GPU: one steps all tensors of a table, another one counts the step.

If lr may be 0, ``nonzero_kernel`` runs before them. It finds the parameters whose gradient is zero in their first step,
which then does not count.

The table is a matrix of int64 with a column for each parameter. Its rows are the addresses of the parameter, its
gradient, its two averages, its compensation (0 for none) and its step; the number of elements; the position of the
parameter in the list, which seeds stochastic rounding; the index of the first program that works on the parameter; and
the number of its programs.
"""

from __future__ import annotations

import triton
import triton.language as tl

BLOCK = 2048  # elements for each program


@triton.jit(do_not_specialize=["n"])
def step_kernel(
    table,
    owners,
    n,
    grad_scale,
    found_inf,
    lr_tensor,
    lr,
    nonzero,
    beta1,
    one_minus_beta1,
    beta2,
    one_minus_beta2,
    eps,
    weight_decay,
    clip_exp,
    decouple: tl.constexpr,
    maximize: tl.constexpr,
    param_dtype: tl.constexpr,
    grad_dtype: tl.constexpr,
    state_dtype: tl.constexpr,
    rounding: tl.constexpr,
    smallest_normal: tl.constexpr,
    epsilon: tl.constexpr,
    largest: tl.constexpr,
    block: tl.constexpr,
):
    """Make the step of one block of one tensor. An argument that is None turns a feature off at compile time."""
    if found_inf is not None:
        if tl.load(found_inf) != 0:
            return
    program = tl.program_id(0)
    owner = tl.load(owners + program)
    column = table + owner
    param = tl.load(column)
    grad = tl.load(column + n)
    exp_avg = tl.load(column + 2 * n)
    exp_avg_sq = tl.load(column + 3 * n)
    compensation = tl.load(column + 4 * n)
    t = tl.load(tl.load(column + 5 * n).to(tl.pointer_type(tl.float32)))
    numel = tl.load(column + 6 * n)
    position = tl.load(column + 7 * n)
    first = (program - tl.load(column + 8 * n)) * block

    if lr_tensor is not None:
        lr = tl.load(lr_tensor).to(tl.float32)
    if nonzero is not None:
        if (t == 0) & (lr == 0) & (tl.load(nonzero + owner) == 0):
            return
    pointers = (
        param.to(tl.pointer_type(param_dtype)),
        grad.to(tl.pointer_type(grad_dtype)),
        exp_avg.to(tl.pointer_type(state_dtype)),
        exp_avg_sq.to(tl.pointer_type(state_dtype)),
        compensation.to(tl.pointer_type(tl.float32)),
    )
    betas = (beta1, one_minus_beta1, beta2, one_minus_beta2)
    limits = (smallest_normal, epsilon, largest)
    # Whole blocks of aligned tensors need no mask, and are loaded and stored 16 bytes at a time.
    aligned = (param | grad | exp_avg | exp_avg_sq | compensation) % 16 == 0
    if aligned & (first + block <= numel):
        _step_block(
            pointers, first, None, t, position, grad_scale, lr, betas, eps, weight_decay, clip_exp,
            decouple, maximize, rounding, limits, block,
        )  # fmt: skip
    else:
        _step_block(
            pointers, first, numel, t, position, grad_scale, lr, betas, eps, weight_decay, clip_exp,
            decouple, maximize, rounding, limits, block,
        )  # fmt: skip


@triton.jit(do_not_specialize=["n"])
def nonzero_kernel(table, owners, n, lr_tensor, lr, nonzero, grad_dtype: tl.constexpr, block: tl.constexpr):
    """If lr is 0, mark in `nonzero` the tensors in their first step whose gradient is not zero."""
    if lr_tensor is not None:
        lr = tl.load(lr_tensor).to(tl.float32)
    program = tl.program_id(0)
    owner = tl.load(owners + program)
    column = table + owner
    t = tl.load(tl.load(column + 5 * n).to(tl.pointer_type(tl.float32)))
    if (t != 0) | (lr != 0):
        return
    index = (program - tl.load(column + 8 * n)) * block + tl.arange(0, block)
    grad = tl.load(column + n).to(tl.pointer_type(grad_dtype)) + index
    g = tl.load(grad, index < tl.load(column + 6 * n), other=0.0).to(tl.float32)
    if tl.max((g != 0).to(tl.int32), axis=0) != 0:
        tl.store(nonzero + owner, 1)


@triton.jit(do_not_specialize=["n"])
def count_kernel(table, n, found_inf, lr_tensor, lr, nonzero, block: tl.constexpr):
    """Add 1 to the step of each tensor. This is a separate launch, because all blocks of a tensor read its step."""
    if found_inf is not None:
        if tl.load(found_inf) != 0:
            return
    columns = tl.program_id(0) * block + tl.arange(0, block)
    mask = columns < n
    steps = tl.load(table + 5 * n + columns, mask).to(tl.pointer_type(tl.float32))
    t = tl.load(steps, mask)
    if nonzero is not None:
        if lr_tensor is not None:
            lr = tl.load(lr_tensor).to(tl.float32)
        if lr == 0:
            mask = mask & ((t != 0) | (tl.load(nonzero + columns, mask, other=1) != 0))
    tl.store(steps, t + 1, mask)


@triton.jit
def _step_block(
    pointers,
    first,
    numel,
    t,
    position,
    grad_scale,
    lr,
    betas,
    eps,
    weight_decay,
    clip_exp,
    decouple: tl.constexpr,
    maximize: tl.constexpr,
    rounding: tl.constexpr,
    limits,
    block: tl.constexpr,
):
    index = first + tl.arange(0, block)
    param = pointers[0] + index
    grad = pointers[1] + index
    exp_avg = pointers[2] + index
    exp_avg_sq = pointers[3] + index
    compensation = pointers[4] + index
    if numel is None:
        mask = None
        param = tl.multiple_of(param, 16)
        grad = tl.multiple_of(grad, 16)
        exp_avg = tl.multiple_of(exp_avg, 16)
        exp_avg_sq = tl.multiple_of(exp_avg_sq, 16)
        compensation = tl.multiple_of(compensation, 16)
    else:
        mask = index < numel

    p = tl.load(param, mask)
    g = tl.load(grad, mask).to(tl.float32)
    m = tl.load(exp_avg, mask).to(tl.float32)
    v = tl.load(exp_avg_sq, mask).to(tl.float32)
    weight = p.to(tl.float32)
    if rounding == "compensated":
        c = tl.load(compensation, mask)
        weight += c

    if grad_scale is not None:
        g = tl.div_rn(g, tl.load(grad_scale).to(tl.float32))
    if maximize:
        g = -g
    if weight_decay is not None:
        if decouple:
            weight -= lr * weight_decay * weight
        else:
            g += weight_decay * weight

    n = tl.div_rn(g, tl.maximum(tl.sqrt_rn(v), eps, propagate_nan=tl.PropagateNan.ALL))
    if clip_exp is not None:
        clip = tl.exp2(clip_exp * tl.log2(tl.maximum(t, 1)))
        clip = tl.where((t >= 0) | (clip_exp == 0), clip, float("nan"))  # a negative or NaN step has no power
        n = tl.clamp(n, -clip, clip, propagate_nan=tl.PropagateNan.ALL)
    beta1, one_minus_beta1, beta2, one_minus_beta2 = betas
    new_m = beta1 * m + one_minus_beta1 * n
    weight -= lr * new_m
    new_v = beta2 * v + one_minus_beta2 * g * g

    # The first step only sets v. Selected with `where`, not with a product, because 0 * NaN is NaN.
    started = t != 0
    tl.store(exp_avg, tl.where(started, new_m, 0.0), mask)
    tl.store(exp_avg_sq, tl.where(started, new_v, g * g), mask)
    if rounding == "stochastic":
        key = _mix(t.to(tl.uint32) + _mix(position.to(tl.uint32)))
        weight = _round_stochastically(weight, _mix(index.to(tl.uint32) + key), limits)
    new_p = weight.to(p.dtype)
    tl.store(param, tl.where(started, new_p, p), mask)
    if rounding == "compensated":
        rest = weight - new_p.to(tl.float32)
        rest = tl.where(tl.abs(rest) < float("inf"), rest, 0.0)  # as in low_precision.round_compensated_
        tl.store(compensation, tl.where(started, rest, c), mask)


@triton.jit
def _round_stochastically(weight, random, limits):
    """Do the same as low_precision.round_stochastically_, bit for bit."""
    smallest_normal, epsilon, largest = limits
    power = (weight.to(tl.int32, bitcast=True) & 0x7F800000).to(tl.float32, bitcast=True)
    ulp = tl.maximum(power, smallest_normal) * epsilon
    units = tl.div_rn(weight, ulp)
    low = tl.floor(units)
    up = (random >> 8).to(tl.float32) * (1 / 2**24) < units - low
    rounded = (low + up.to(tl.float32)) * ulp
    return tl.where((tl.abs(weight) < largest) & (ulp >= 2**-126), rounded, weight)


@triton.jit
def _mix(bits):
    """Hash 32 bits, as low_precision does."""
    bits = (bits ^ (bits >> 16)) * 0x21F0AAAD
    bits = (bits ^ (bits >> 15)) * 0x735A2D97
    return bits ^ (bits >> 15)
