"""Guards of torch 2.13.0, 2.14.1, 2.15.0, as ``lookalike`` generates them. Written by ``scripts/precompile``.

Python compiles this file once, and keeps its code. Guards that are not here are compiled in each process.
"""

# fmt: off
# mypy: ignore-errors
# ruff: noqa


def written_0332e502(_shim_original, _shim_value, _shim_by_position):
    def guard(params, grads, momentum_buffer_list, grad_scale, found_inf, *, weight_decay, momentum, lr, dampening, nesterov, maximize, has_sparse_grad):
        if weight_decay is None:
            weight_decay = _shim_value(params)
        return _shim_by_position(params, grads, momentum_buffer_list, grad_scale, found_inf, weight_decay, momentum, lr, dampening, nesterov, maximize, has_sparse_grad)
    return guard


def written_159e21b4(_shim_original, _shim_value, _shim_by_position):
    def guard(params, grads, state_sums, state_steps, grad_scale, found_inf, *, lr, weight_decay, lr_decay, eps, has_sparse_grad, maximize, differentiable, has_complex):
        if weight_decay is None:
            weight_decay = _shim_value(params)
        return _shim_by_position(params, grads, state_sums, state_steps, grad_scale, found_inf, lr, weight_decay, lr_decay, eps, has_sparse_grad, maximize, differentiable, has_complex)
    return guard


def written_1635d0eb(_shim_original, _shim_value, _shim_by_position):
    def guard(params, grads, square_avgs, acc_deltas, state_steps, *, lr, rho, eps, weight_decay, maximize, differentiable, capturable, has_complex):
        if weight_decay is None:
            weight_decay = _shim_value(params)
        return _shim_by_position(params, grads, square_avgs, acc_deltas, state_steps, lr, rho, eps, weight_decay, maximize, differentiable, capturable, has_complex)
    return guard


def written_18f0e24c(_shim_original, _shim_value, _shim_by_position):
    def guard(self, params, lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, *, foreach, maximize, capturable, differentiable):
        if weight_decay is None:
            weight_decay = _shim_value(self)
        return _shim_by_position(self, params, lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, foreach, maximize, capturable, differentiable)
    return guard


def written_367958d1(_shim_original, _shim_value, _shim_by_position):
    def guard(self, params, lr, momentum, dampening, weight_decay, nesterov, *, maximize, foreach, differentiable, fused):
        if weight_decay is None:
            weight_decay = _shim_value(self)
        return _shim_by_position(self, params, lr, momentum, dampening, weight_decay, nesterov, maximize, foreach, differentiable, fused)
    return guard


def written_39643dcb(_shim_original, _shim_value):
    def guard(*args, **kwargs):
        if kwargs.get("weight_decay", 0.0) is None:
            kwargs["weight_decay"] = _shim_value((args[0] if args else kwargs.get('params')))
        return _shim_original(*args, **kwargs)
    return guard


def written_52d88d2d(_shim_original, _shim_value, _shim_by_position):
    def guard(self, params, lr, betas, eps, weight_decay, decoupled_weight_decay, *, foreach, maximize, capturable, differentiable):
        if weight_decay is None:
            weight_decay = _shim_value(self)
        return _shim_by_position(self, params, lr, betas, eps, weight_decay, decoupled_weight_decay, foreach, maximize, capturable, differentiable)
    return guard


def written_55b50ebf(_shim_original, _shim_value, _shim_by_position):
    def guard(params, grads, exp_avgs, exp_infs, state_steps, *, eps, beta1, beta2, lr, weight_decay, maximize, differentiable, capturable, has_complex):
        if weight_decay is None:
            weight_decay = _shim_value(params)
        return _shim_by_position(params, grads, exp_avgs, exp_infs, state_steps, eps, beta1, beta2, lr, weight_decay, maximize, differentiable, capturable, has_complex)
    return guard


def written_69126645(_shim_original, _shim_value):
    def guard(self, params, lr, weight_decay, momentum, nesterov, ns_coefficients, eps, ns_steps, adjust_lr_fn):
        if weight_decay is None:
            weight_decay = _shim_value(self)
        return _shim_original(self, params, lr, weight_decay, momentum, nesterov, ns_coefficients, eps, ns_steps, adjust_lr_fn)
    return guard


def written_6caca0e1(_shim_original, _shim_value):
    def guard(self, params, lr, alpha, eps, weight_decay, momentum, centered, capturable, foreach, maximize, differentiable):
        if weight_decay is None:
            weight_decay = _shim_value(self)
        return _shim_original(self, params, lr, alpha, eps, weight_decay, momentum, centered, capturable, foreach, maximize, differentiable)
    return guard


def written_7714b934(_shim_original, _shim_value, _shim_by_position):
    def guard(self, params, lr, beta2_decay, eps, d, weight_decay, *, foreach, maximize):
        if weight_decay is None:
            weight_decay = _shim_value(self)
        return _shim_by_position(self, params, lr, beta2_decay, eps, d, weight_decay, foreach, maximize)
    return guard


def written_77d2466c(_shim_original, _shim_value, _shim_by_position):
    def guard(self, params, lr, lr_decay, weight_decay, initial_accumulator_value, eps, foreach, *, maximize, differentiable, fused):
        if weight_decay is None:
            weight_decay = _shim_value(self)
        return _shim_by_position(self, params, lr, lr_decay, weight_decay, initial_accumulator_value, eps, foreach, maximize, differentiable, fused)
    return guard


def written_79b727cd(_shim_original, _shim_value, _shim_by_position):
    def guard(params, grads, square_avgs, grad_avgs, momentum_buffer_list, state_steps, *, lr, alpha, eps, weight_decay, momentum, centered, maximize, differentiable, capturable, has_complex):
        if weight_decay is None:
            weight_decay = _shim_value(params)
        return _shim_by_position(params, grads, square_avgs, grad_avgs, momentum_buffer_list, state_steps, lr, alpha, eps, weight_decay, momentum, centered, maximize, differentiable, capturable, has_complex)
    return guard


def written_80306a67(_shim_original, _shim_value, _shim_by_position):
    def guard(params, grads, exp_avgs, exp_avg_sqs, state_steps, *, beta1, beta2, lr, weight_decay, eps, decoupled_weight_decay, differentiable, maximize, capturable, has_complex):
        if weight_decay is None:
            weight_decay = _shim_value(params, decoupled_weight_decay)
        return _shim_by_position(params, grads, exp_avgs, exp_avg_sqs, state_steps, beta1, beta2, lr, weight_decay, eps, decoupled_weight_decay, differentiable, maximize, capturable, has_complex)
    return guard


def written_8c1a3af9(_shim_original, _shim_value, _shim_by_position):
    def guard(params, grads, muon_momentum_bufs, *, lr, weight_decay, momentum, nesterov, ns_coefficients, ns_steps, eps, adjust_lr_fn, has_complex):
        if weight_decay is None:
            weight_decay = _shim_value(params)
        return _shim_by_position(params, grads, muon_momentum_bufs, lr, weight_decay, momentum, nesterov, ns_coefficients, ns_steps, eps, adjust_lr_fn, has_complex)
    return guard


def written_9cb5b397(_shim_original, _shim_value, _shim_by_position):
    def guard(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, foreach, capturable, differentiable, fused, grad_scale, found_inf, has_complex, *, amsgrad, beta1, beta2, lr, weight_decay, eps, maximize):
        if weight_decay is None:
            weight_decay = _shim_value(params)
        return _shim_by_position(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, foreach, capturable, differentiable, fused, grad_scale, found_inf, has_complex, amsgrad, beta1, beta2, lr, weight_decay, eps, maximize)
    return guard


def written_a1248ad8(_shim_original, _shim_value, _shim_by_position):
    def guard(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, grad_scale, found_inf, *, amsgrad, has_complex, beta1, beta2, lr, weight_decay, eps, maximize, capturable, differentiable, decoupled_weight_decay):
        if weight_decay is None:
            weight_decay = _shim_value(params, decoupled_weight_decay)
        return _shim_by_position(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, grad_scale, found_inf, amsgrad, has_complex, beta1, beta2, lr, weight_decay, eps, maximize, capturable, differentiable, decoupled_weight_decay)
    return guard


def written_a13fd5df(_shim_original, _shim_value, _shim_by_position):
    def guard(self, params, lr, betas, eps, weight_decay, amsgrad, *, foreach, maximize, capturable, differentiable, fused, decoupled_weight_decay):
        if weight_decay is None:
            weight_decay = _shim_value(self)
        return _shim_by_position(self, params, lr, betas, eps, weight_decay, amsgrad, foreach, maximize, capturable, differentiable, fused, decoupled_weight_decay)
    return guard


def written_aa80e2a8(_shim_original, _shim_value, _shim_by_position):
    def guard(params, grads, exp_avgs, exp_avg_sqs, mu_products, state_steps, *, beta1, beta2, lr, weight_decay, momentum_decay, eps, decoupled_weight_decay, maximize, capturable, differentiable, has_complex):
        if weight_decay is None:
            weight_decay = _shim_value(params, decoupled_weight_decay)
        return _shim_by_position(params, grads, exp_avgs, exp_avg_sqs, mu_products, state_steps, beta1, beta2, lr, weight_decay, momentum_decay, eps, decoupled_weight_decay, maximize, capturable, differentiable, has_complex)
    return guard


def written_b4b74c0c(_shim_original, _shim_value, _shim_by_position):
    def guard(self, params, lr, rho, eps, weight_decay, foreach, *, capturable, maximize, differentiable):
        if weight_decay is None:
            weight_decay = _shim_value(self)
        return _shim_by_position(self, params, lr, rho, eps, weight_decay, foreach, capturable, maximize, differentiable)
    return guard


def written_c531235f(_shim_original, _shim_value, _shim_by_position):
    def guard(params, grads, axs, mus, etas, state_steps, *, lambd, lr, t0, alpha, weight_decay, maximize, differentiable, capturable, has_complex):
        if weight_decay is None:
            weight_decay = _shim_value(params)
        return _shim_by_position(params, grads, axs, mus, etas, state_steps, lambd, lr, t0, alpha, weight_decay, maximize, differentiable, capturable, has_complex)
    return guard


def written_cd57c727(_shim_original, _shim_value, _shim_by_position):
    def guard(self, params, lr, betas, eps, weight_decay, foreach, *, maximize, differentiable, capturable):
        if weight_decay is None:
            weight_decay = _shim_value(self)
        return _shim_by_position(self, params, lr, betas, eps, weight_decay, foreach, maximize, differentiable, capturable)
    return guard


def written_d1ae7936(_shim_original, _shim_value):
    def guard(self, params, lr, lambd, alpha, t0, weight_decay, foreach, maximize, differentiable, capturable):
        if weight_decay is None:
            weight_decay = _shim_value(self)
        return _shim_original(self, params, lr, lambd, alpha, t0, weight_decay, foreach, maximize, differentiable, capturable)
    return guard


def written_f2a1d4ae(_shim_original, _shim_value, _shim_by_position):
    def guard(params, grads, row_vars, col_vars, variances, state_steps, grad_scale, found_inf, *, d, lr, beta2_decay, weight_decay, eps1, eps2, maximize, has_complex):
        if weight_decay is None:
            weight_decay = _shim_value(params)
        return _shim_by_position(params, grads, row_vars, col_vars, variances, state_steps, grad_scale, found_inf, d, lr, beta2_decay, weight_decay, eps1, eps2, maximize, has_complex)
    return guard


def written_f6b05096(_shim_original, _shim_value, _shim_by_position):
    def guard(self, params, lr, betas, eps, weight_decay, amsgrad, *, maximize, foreach, capturable, differentiable, fused):
        if weight_decay is None:
            weight_decay = _shim_value(self)
        return _shim_by_position(self, params, lr, betas, eps, weight_decay, amsgrad, maximize, foreach, capturable, differentiable, fused)
    return guard


#: The checksum of a text -> the function that it defines.
PRECOMPILED = {
    0x0332e502: written_0332e502,
    0x159e21b4: written_159e21b4,
    0x1635d0eb: written_1635d0eb,
    0x18f0e24c: written_18f0e24c,
    0x367958d1: written_367958d1,
    0x39643dcb: written_39643dcb,
    0x52d88d2d: written_52d88d2d,
    0x55b50ebf: written_55b50ebf,
    0x69126645: written_69126645,
    0x6caca0e1: written_6caca0e1,
    0x7714b934: written_7714b934,
    0x77d2466c: written_77d2466c,
    0x79b727cd: written_79b727cd,
    0x80306a67: written_80306a67,
    0x8c1a3af9: written_8c1a3af9,
    0x9cb5b397: written_9cb5b397,
    0xa1248ad8: written_a1248ad8,
    0xa13fd5df: written_a13fd5df,
    0xaa80e2a8: written_aa80e2a8,
    0xb4b74c0c: written_b4b74c0c,
    0xc531235f: written_c531235f,
    0xcd57c727: written_cd57c727,
    0xd1ae7936: written_d1ae7936,
    0xf2a1d4ae: written_f2a1d4ae,
    0xf6b05096: written_f6b05096,
}
