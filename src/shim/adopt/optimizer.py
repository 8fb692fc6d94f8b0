"""Implement ADOPT in the shape of torch.optim.Adam: the class, the functional form, one function per form."""

from __future__ import annotations

import math
import pickle
import warnings
from typing import Any, Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from . import _torch, blocked, native
from .checkpoint import Loading
from .low_precision import LOW_PRECISION, ROUNDINGS, is_widened, narrow_, widen
from .memory import at, begin_together, is_negated, on_cpu, reaches_beyond

__all__ = ["ADOPT", "adopt"]

Clip = Callable[[float], float]

_NO_LAMBDA_ON_GPU = (
    "clip_lambda needs the step as a number, which the fused form keeps on the GPU: use clip_exp, or fused=False"
)
_NO_TENSOR_LR = "lr as a Tensor is not supported for capturable=False and foreach=True"
_NO_DECAY = (
    "weight_decay=None is not a number, and ADOPT does not guess what it means: write weight_decay=0.0 for "
    "no weight decay, or activate shim (`shim.activate()`, `import preimport` or `python -m shim run`), "
    "which turns None into 0.0"
)


class _DefaultClip:
    """Stand for a `clip_lambda` that was not given, which is not the same as None."""

    def __repr__(self) -> str:
        return "<t ** clip_exp>"


_DEFAULT_CLIP = _DefaultClip()


class ADOPT(Optimizer):
    r"""Implement the ADOPT algorithm: an Adam that converges with every beta2.

    Adam divides a gradient by a second moment that the same gradient is part of, and may therefore run to the
    wrong place unless beta2 is chosen for the problem. ADOPT divides by the second moment of the gradients
    before it, and takes the moving average of the quotient.

    For each parameter :math:`\theta`, with its own step counter :math:`t` from 0, gradient :math:`g` (negated
    for `maximize`; :math:`g + \lambda \theta` with weight decay that is not decoupled):

    .. math::
        t = 0: \quad & v \leftarrow g^2 \\
        t \ge 1: \quad & \theta \leftarrow \theta - \gamma \lambda \theta \quad \text{(if decoupled)} \\
        & n \leftarrow \operatorname{clip}(g / \max(\sqrt{v}, \epsilon), -c(t), c(t)), \quad c(t) = t^{1/4} \\
        & m \leftarrow \beta_1 m + (1 - \beta_1) n \\
        & \theta \leftarrow \theta - \gamma m \\
        & v \leftarrow \beta_2 v + (1 - \beta_2) g^2

    The first step only initializes :math:`v`: neither the parameter nor its decay moves. There is no bias
    correction. Source: Taniguchi et al., *ADOPT: Modified Adam Can Converge with Any β₂ with the Optimal
    Rate*, NeurIPS 2024, arXiv:2411.02853 (algorithm 2; the clip is the authors' later addition).

    ============================  ====================================================================
    Coming from                   Here
    ============================  ====================================================================
    ``Adam(weight_decay=w)``      ``ADOPT(weight_decay=w)``: L2, added to the gradient
    ``AdamW(weight_decay=w)``     ``ADOPT(weight_decay=w, decouple=True)``; AdamW's default w is 0.01
    Adam's ``betas``, ``eps``     beta2 defaults to 0.9999; eps to 1e-6, and it is a floor for
                                  :math:`\sqrt{v}`, not added to it
    Adam's ``amsgrad``            not needed
    an Adam checkpoint            refused: its moments mean something else
    the reference ADOPT           same names and order; its checkpoints load
    ``clip_lambda=lambda t: ..``  works; ``clip_exp=0.25`` says the default and can be saved
    ``clip_lambda=None``          works (no clip), as does ``clip_exp=None``
    timm's ``clip_exp=0.333``     ``clip_exp=0.333``; its ``decoupled`` is ``decouple``; checkpoints load
    ============================  ====================================================================

    Parameters in bfloat16 and float16 have their state in float32 and a compensation (4 bytes a parameter)
    that carries what rounding would lose. A group with ``"rounding": "stochastic"`` has no compensation and
    rounds at random, right on average; one with ``"rounding": "nearest"`` behaves plainly, as the reference
    does: state in the parameter's dtype, and the parameter may stand still at small learning rates. See
    :mod:`shim.adopt.low_precision`.

    Args:
        params (iterable): iterable of parameters (any shape, real or complex) or named_parameters to optimize
            or iterable of dicts defining parameter groups.
        lr (float or 1-element Tensor): learning rate (default: 1e-3). A Tensor needs foreach=False or
            capturable=True.
        betas (pair of floats): β₁ for the average of normalized gradients and β₂ for that of squared
            gradients (default: (0.9, 0.9999)).
        eps (float): floor for the denominator (default: 1e-6).
        clip_lambda (callable or None): c as a function of the step, which it gets as a float; None for no
            clip (default: not given, c(t) is ``t ** clip_exp``). It is saved along with the group if it can be
            pickled; else, as a lambda, it stays with this optimizer.
        weight_decay (float): weight decay λ (default: 0.0).
        decouple (bool): decay the parameter itself, as AdamW does, not the gradient (default: False).
        clip_exp (float or None): the exponent of the default clip; None for no clip (default: 0.25).
        foreach (bool or None): whether to use the form that handles all tensors of a group at once, operation
            by operation. Needs torch 1.8. If this and `fused` are None, the fastest form that is safe here is
            chosen: foreach on a GPU, as in torch, and fused on the CPU; ``repr(optimizer)`` says which
            (default: None).
        maximize (bool): maximize the objective instead of minimizing it (default: False).
        capturable (bool): keep the steps on the parameters' device and never read them on the host, so that
            a CUDA graph can capture the step (default: False).
        differentiable (bool): let autograd go through the step (default: False).
        fused (bool or None): whether to go through memory only once, in a native kernel on the CPU, which
            installing builds where there is a C compiler. What it does not take (float16, tensors that are not
            dense or share memory) is stepped operation by operation, large tensors in blocks that fit into the
            cache. True is refused where there is no kernel (default: None).

    Raises:
        ValueError: an option is outside of its range, or two options exclude each other.
        TypeError: weight_decay is None, or clip_lambda is not callable.
        RuntimeError: a combination of forms is not supported.

    >>> import torch
    >>> from shim.adopt import ADOPT
    >>> model = torch.nn.Linear(4, 2)
    >>> optimizer = ADOPT(model.parameters(), lr=1e-3, weight_decay=0.01, decouple=True)
    >>> for batch in torch.randn(3, 8, 4):
    ...     optimizer.zero_grad()
    ...     model(batch).pow(2).mean().backward()
    ...     optimizer.step()
    >>> int(optimizer.state[model.weight]["step"])
    3
    """

    def __init__(  # documented with the class, as in Adam
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.9999),
        eps: float = 1e-6,
        clip_lambda: Clip | _DefaultClip | None = _DEFAULT_CLIP,
        weight_decay: float = 0.0,
        decouple: bool = False,
        *,
        clip_exp: float | None = 0.25,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if isinstance(lr, Tensor):
            if foreach and not capturable:
                raise ValueError(_NO_TENSOR_LR)
            if lr.numel() != 1:
                raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        if isinstance(betas[0], Tensor) or isinstance(betas[1], Tensor):
            raise ValueError("betas as Tensors are not supported, please use floats")
        if not 0.0 <= betas[0] < 1.0:
            raise ValueError(f"Invalid beta parameter at index 0: {betas[0]}")
        if not 0.0 <= betas[1] < 1.0:
            raise ValueError(f"Invalid beta parameter at index 1: {betas[1]}")
        _check_weight_decay(weight_decay)
        if not weight_decay >= 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if clip_exp is not None and not clip_exp >= 0.0:
            raise ValueError(f"Invalid clip_exp value: {clip_exp}")

        if isinstance(clip_lambda, _DefaultClip):
            clip_lambda = None
        else:
            if clip_lambda is not None and not callable(clip_lambda):
                raise TypeError(f"clip_lambda must be a callable of the step or None, but got {clip_lambda!r}")
            if clip_exp not in (None, 0.25):
                raise ValueError(f"clip_lambda and clip_exp={clip_exp} cannot be given together: both say how to clip")
            clip_exp = None

        defaults: dict[str, Any] = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "clip_exp": clip_exp,
            "clip_lambda": clip_lambda,
            "weight_decay": weight_decay,
            "decouple": decouple,
            "rounding": "compensated",
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
        }
        _check_exclusive(defaults)
        super().__init__(params, defaults)

        if fused:
            if clip_lambda is not None and any(p.is_cuda for group in self.param_groups for p in group["params"]):
                raise RuntimeError(_NO_LAMBDA_ON_GPU)
            _check_fused([p for group in self.param_groups for p in group["params"]])
            self._step_supports_amp_scaling = True  # GradScaler then leaves unscaling to the step
        if foreach:
            if capturable and not _torch.FOREACH_BROADCASTS:
                raise RuntimeError(
                    f"foreach=True with capturable=True needs torch 1.13 or later, this is {torch.__version__}"
                )
            if not _torch.HAS_FOREACH:
                raise RuntimeError(f"foreach=True needs torch 1.8 or later, this is {torch.__version__}")
        unsaved = [clip for clip in (group["clip_lambda"] for group in self.param_groups) if not _can_be_saved(clip)]
        if unsaved:
            warnings.warn(
                f"clip_lambda={getattr(unsaved[0], '__name__', type(unsaved[0]).__name__)} cannot be pickled, so that "
                "state_dict() leaves it out: give it to the optimizer that loads the state, too. clip_exp is saved.",
                stacklevel=2,
            )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, as in any optimizer.

        A group that names one of `clip_exp` and `clip_lambda` does not inherit the other one.
        """
        if isinstance(param_group, dict) and ("clip_exp" in param_group) != ("clip_lambda" in param_group):
            param_group.setdefault("clip_exp", None)
            param_group.setdefault("clip_lambda", None)
        super().add_param_group(param_group)
        _check_rounding(self.param_groups[-1]["rounding"])

    def __repr__(self) -> str:  # as of any optimizer, and which form steps each group
        forms = [f"Form of group {i}: {_form_in_words(group)}\n" for i, group in enumerate(self.param_groups)]
        return "".join([super().__repr__()[:-1], *forms, ")"])

    def __setstate__(self, state: dict[str, Any]) -> None:  # a protocol, as in Adam
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, as of any optimizer.

        A `clip_lambda` that cannot be pickled is left out: the optimizer that loads the state goes on with its own.
        """
        state_dict: dict[str, Any] = super().state_dict()
        groups = [
            {key: value for key, value in group.items() if key not in ("clip_lambda", "clip_exp")}
            if isinstance(group, dict) and not _can_be_saved(group.get("clip_lambda"))
            else group
            for group in state_dict["param_groups"]
        ]
        return {**state_dict, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state that ADOPT saved: this one, the reference's, timm's or pytorch_optimizer's.

        What an older or other implementation did not save is taken from this optimizer. Tensors are copied. Either all
        of the state is loaded or nothing is changed.

        Raises:
            ValueError: the state is of another optimizer, or of an ADOPT whose mathematics is not the same; a tensor
                or a step does not fit its parameter, which is named, or options exclude each other.

        """
        loading: list[Loading] = []

        def before(_: Optimizer, given: dict[str, Any]) -> dict[str, Any]:
            loading.append(Loading(given, self.param_groups))
            for i, group in enumerate(loading[0].groups):
                try:
                    _check_exclusive(group)
                    _check_rounding(group["rounding"])
                except (ValueError, RuntimeError) as error:
                    raise ValueError(f"param_groups[{i}] of the state_dict: {error}") from None
            return loading[0].without_state()

        def after(_: Optimizer) -> None:
            loading[0].finish(self)

        if hasattr(self, "register_load_state_dict_pre_hook"):  # torch 2.1
            # The user's own hooks come before, and may bring a state into shape, or after, and see what is loaded.
            hooks = (
                self.register_load_state_dict_pre_hook(before),
                self.register_load_state_dict_post_hook(after, prepend=True),
            )
            try:
                super().load_state_dict(state_dict)
            finally:
                for hook in hooks:
                    hook.remove()
        else:
            super().load_state_dict(before(self, state_dict))
            after(self)

    def _init_group(
        self,
        group: dict[str, Any],
        params_with_grad: list[Tensor],
        grads: list[Tensor],
        exp_avgs: list[Tensor],
        exp_avg_sqs: list[Tensor],
        state_steps: list[Tensor],
        compensations: list[Tensor | None],
    ) -> bool:
        _check_rounding(group["rounding"])
        has_complex = False
        for p in group["params"]:
            grad = p.grad
            if grad is None:
                continue
            has_complex |= p.is_complex()
            params_with_grad.append(p)
            if grad.is_sparse:
                raise RuntimeError("ADOPT does not support sparse gradients, please consider SparseAdam instead")
            grads.append(grad)

            state = self.state[p]
            widen_state = group["rounding"] != "nearest" and p.dtype in LOW_PRECISION
            dtype = torch.float32 if widen_state else p.dtype
            compensate = group["rounding"] == "compensated" and widen_state
            # Lazy state initialization
            if len(state) == 0:
                # The step is on the CPU, where reading it is cheap, unless the host must not read it at all.
                device = p.device if group["capturable"] or group["fused"] else "cpu"
                state["step"] = torch.zeros((), dtype=torch.float32, device=device)
                # Exponential moving average of normalized gradients
                state["exp_avg"] = _zeros_like(p, dtype)
                # Exponential moving average of squared gradients
                state["exp_avg_sq"] = _zeros_like(p, dtype)
            # A state may also come from a group with another rounding, or from before the parameter was cast.
            if state["exp_avg"].dtype != dtype:
                state["exp_avg"] = state["exp_avg"].to(dtype)
                state["exp_avg_sq"] = state["exp_avg_sq"].to(dtype)
            if not compensate:
                state.pop("compensation", None)
            elif "compensation" not in state:
                # What rounding took from the parameter
                state["compensation"] = _zeros_like(p, torch.float32)

            exp_avgs.append(state["exp_avg"])
            exp_avg_sqs.append(state["exp_avg_sq"])
            compensations.append(state["compensation"] if compensate else None)

            if group["differentiable"] and state["step"].requires_grad:
                raise RuntimeError("`requires_grad` is not supported for `step` in differentiable mode")

            # Foreach without capturable does not support a tensor lr
            if group["foreach"] and isinstance(group["lr"], Tensor) and not group["capturable"]:
                raise RuntimeError(_NO_TENSOR_LR)

            state_steps.append(state["step"])
        return has_complex

    @_torch.use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # what the closure returns
        """Perform a single optimization step.

        Args:
            closure (Callable, optional): A closure that reevaluates the model and returns the loss.

        Returns:
            What the closure returned, or None.

        """
        _torch.graph_capture_health_check(self)

        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()

        grad_scale, found_inf = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        unusual = _torch.is_compiling() or grad_scale is not None or found_inf is not None
        for group in self.param_groups:
            if not unusual and native.step_group(group, self.state):
                continue
            params_with_grad: list[Tensor] = []
            grads: list[Tensor] = []
            exp_avgs: list[Tensor] = []
            exp_avg_sqs: list[Tensor] = []
            state_steps: list[Tensor] = []
            compensations: list[Tensor | None] = []
            beta1, beta2 = group["betas"]

            has_complex = self._init_group(
                group,
                params_with_grad,
                grads,
                exp_avgs,
                exp_avg_sqs,
                state_steps,
                compensations,
            )

            adopt(
                params_with_grad,
                grads,
                exp_avgs,
                exp_avg_sqs,
                state_steps,
                foreach=group["foreach"],
                capturable=group["capturable"],
                differentiable=group["differentiable"],
                fused=group["fused"],
                grad_scale=grad_scale,
                found_inf=found_inf,
                has_complex=has_complex,
                compensations=compensations,
                beta1=beta1,
                beta2=beta2,
                lr=group["lr"],
                clip_exp=group["clip_exp"],
                clip_lambda=group["clip_lambda"],
                weight_decay=group["weight_decay"],
                decouple=group["decouple"],
                eps=group["eps"],
                maximize=group["maximize"],
            )

        return loss


def adopt(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    foreach: bool | None = None,
    capturable: bool = False,
    differentiable: bool = False,
    fused: bool | None = None,
    grad_scale: Tensor | None = None,
    found_inf: Tensor | None = None,
    has_complex: bool = False,
    compensations: list[Tensor | None] | None = None,
    clip_exp: float | None = None,
    *,
    beta1: float,
    beta2: float,
    lr: float | Tensor,
    clip_lambda: Clip | None,
    weight_decay: float,
    decouple: bool,
    eps: float,
    maximize: bool,
) -> None:
    r"""Perform one ADOPT step on lists of tensors, in place.

    The lists have one entry for each parameter. A clip is ``clip_lambda(step)``, or ``step ** clip_exp`` if
    there is no `clip_lambda`, or none if both are None. `compensations` holds a float32 tensor for each
    parameter whose rounding is compensated, else None; a bfloat16 or float16 parameter with averages in float32
    and no compensation is rounded stochastically. See :class:`ADOPT` for details.

    >>> import torch
    >>> from shim.adopt import adopt
    >>> param, grad, exp_avg, exp_avg_sq = (torch.full((2,), value) for value in (1.0, 0.5, 0.0, 0.0))
    >>> step = torch.tensor(0.0)
    >>> options = dict(clip_lambda=None, weight_decay=0.0, decouple=False, eps=1e-6, maximize=False)
    >>> for _ in range(2):
    ...     adopt([param], [grad], [exp_avg], [exp_avg_sq], [step], beta1=0.9, beta2=0.9999, lr=0.1, **options)
    >>> step, param
    (tensor(2.), tensor([0.9900, 0.9900]))
    """
    # this check is slow during compilation, so we skip it
    if not _torch.is_compiling() and not all(isinstance(t, Tensor) for t in state_steps):
        raise RuntimeError("API has changed, `state_steps` argument must contain a list of singleton tensors")

    if foreach is None and fused is None:
        foreach, fused = _default_form(params, lr, capturable, differentiable)
        if not (foreach or fused or _torch.is_compiling()):
            _check_storages([params, grads, exp_avgs, exp_avg_sqs, state_steps, compensations or []])

    if fused and not _torch.is_compiling():  # a compiler fuses by itself what it can see
        func = _fused_adopt
    elif foreach:
        func = _multi_tensor_adopt
    else:
        func = _single_tensor_adopt

    func(
        params,
        grads,
        exp_avgs,
        exp_avg_sqs,
        state_steps,
        grad_scale,
        found_inf,
        has_complex=has_complex,
        compensations=compensations,
        beta1=beta1,
        beta2=beta2,
        lr=lr,
        clip_exp=clip_exp,
        clip_lambda=clip_lambda,
        weight_decay=weight_decay,
        decouple=decouple,
        eps=eps,
        maximize=maximize,
        capturable=capturable,
        differentiable=differentiable,
    )


def _default_form(
    params: list[Tensor], lr: float | Tensor, capturable: bool, differentiable: bool
) -> tuple[bool, bool]:
    """Return whether the foreach form is the fastest that is safe here, and whether the fused form is."""
    foreach = not differentiable and _torch.foreach_by_default(params, capturable)
    # Do not flip on foreach for the unsupported case where lr is a Tensor and capturable=False.
    if foreach and isinstance(lr, Tensor) and not capturable:
        foreach = False
    # On the CPU it is the fused form, with the native kernel or without.
    fused = not (foreach or differentiable or capturable or _torch.is_compiling()) and all(map(on_cpu, params))
    return foreach, fused


def _form_in_words(group: dict[str, Any]) -> str:
    foreach, fused = group["foreach"], group["fused"]
    if foreach is None and fused is None:
        foreach, fused = _default_form(group["params"], group["lr"], group["capturable"], group["differentiable"])
    if not fused:
        return "foreach" if foreach else "single tensor"
    return "fused, " + (native.in_words() if all(map(on_cpu, group["params"])) else "on the GPU")


def _single_tensor_adopt(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    grad_scale: Tensor | None,
    found_inf: Tensor | None,
    *,
    has_complex: bool,
    compensations: list[Tensor | None] | None = None,
    beta1: float,
    beta2: float,
    lr: float | Tensor,
    clip_exp: float | None = None,
    clip_lambda: Clip | None,
    weight_decay: float,
    decouple: bool,
    eps: float,
    maximize: bool,
    capturable: bool,
    differentiable: bool,
) -> None:
    _check_weight_decay(weight_decay)
    if _found_inf(found_inf, capturable):
        return
    # The host must not look at the step: each step is then the general one, made harmless for t = 0.
    masked = (capturable or _torch.is_compiling()) and clip_lambda is None
    if masked:
        _check_capturable(params, state_steps)
    lr = _to_scalar(lr)

    # A step, and what is computed from it, is a number, or a 0-d tensor where the host must not look.
    step: Any
    started: Any
    clip: Any
    waits: Tensor | None
    for i, param in enumerate(params):
        exp_avg = exp_avgs[i]
        exp_avg_sq = exp_avg_sqs[i]
        step_t = state_steps[i]
        compensation = compensations[i] if compensations else None

        widened = is_widened(param, exp_avg)
        weight = widen(param, compensation) if widened else param
        grad = grads[i].to(weight.dtype) if widened else grads[i]
        if grad_scale is not None:
            grad = grad / grad_scale.to(grad.device)
        if maximize:
            grad = -grad
        if weight_decay != 0 and not decouple:
            grad = grad.add(weight, alpha=weight_decay)

        if torch.is_complex(weight):
            weight = torch.view_as_real(weight)
            grad = _real(grad)
            exp_avg = torch.view_as_real(exp_avg)
            exp_avg_sq = torch.view_as_real(exp_avg_sq)

        waits = None
        if masked:
            step = step_t.to(weight.dtype)
            started = (step != 0).to(weight.dtype)  # 0-d: 0.0 in the first step, then 1.0
            waits = _waits(step, lr, grads[i])
            if waits is not None:
                grad = grad.masked_fill(waits, 0.0)
        else:
            step = step_t.item()
            if step == 0:
                if not _waits(step, lr, grads[i]):
                    exp_avg.zero_()
                    exp_avg_sq.zero_().addcmul_(grad, grad)
                    step_t += 1
                continue
            started = 1.0

        if weight_decay != 0 and decouple:
            # Not a product with 1 - lr * weight_decay: its rounding, the same in each step, would add up.
            if masked or isinstance(lr, Tensor):
                # (A copy, because autograd keeps the product's factors.)
                weight.sub_(weight.clone() * (lr * weight_decay * started))
            else:
                weight.add_(weight, alpha=-lr * weight_decay)

        if differentiable:
            # The root of a clamped v: that of v has an infinite slope at 0, and v is about to be changed.
            denom = exp_avg_sq.clone().clamp(min=eps * eps).sqrt()
        else:
            denom = exp_avg_sq.sqrt().clamp_(min=eps)
        normed_grad = grad / denom
        if clip_lambda is not None:
            normed_grad = _torch.clamp(normed_grad, clip_lambda(float(step)))
        elif clip_exp is not None and not masked:
            normed_grad = _torch.clamp(normed_grad, _power(step, clip_exp))
        elif clip_exp is not None:
            clip = step**clip_exp
            normed_grad = torch.minimum(torch.maximum(normed_grad, -clip), clip)
        if masked:
            # Not a product: 0 * NaN is NaN, and the parameter waits even for a NaN.
            normed_grad = normed_grad.masked_fill(started == 0, 0.0)

        # Two operations where one lerp_ would do: its inf - inf would make an infinite average NaN.
        exp_avg.mul_(beta1)
        if masked:
            exp_avg.masked_fill_(started == 0, 0.0)
        exp_avg.add_(normed_grad, alpha=1 - beta1)

        if isinstance(lr, Tensor):
            # In differentiable mode autograd keeps the product's factors, and exp_avg will change.
            weight.sub_(lr * (exp_avg.clone() if differentiable else exp_avg))
        else:
            weight.add_(exp_avg, alpha=-lr)

        if masked:
            # The factor is 1 in the first step. 1 - beta2 is taken in double precision.
            exp_avg_sq.mul_(beta2).masked_fill_(started == 0, 0.0).addcmul_(
                grad, grad * ((1 - beta2) * started + (1 - started))
            )
        else:
            exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)

        if widened:
            narrow_(param, compensation, weight, step_t, i)
        step_t += 1 if waits is None else ~waits


def _multi_tensor_adopt(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    grad_scale: Tensor | None,
    found_inf: Tensor | None,
    *,
    has_complex: bool,
    compensations: list[Tensor | None] | None = None,
    beta1: float,
    beta2: float,
    lr: float | Tensor,
    clip_exp: float | None = None,
    clip_lambda: Clip | None,
    weight_decay: float,
    decouple: bool,
    eps: float,
    maximize: bool,
    capturable: bool,
    differentiable: bool,
) -> None:
    if len(params) == 0:
        return
    _check_weight_decay(weight_decay)
    if isinstance(lr, Tensor):
        if not capturable:
            raise RuntimeError(_NO_TENSOR_LR)
        if lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
    if differentiable:
        raise AssertionError("_foreach ops don't support autograd")
    if _found_inf(found_inf, capturable):
        return
    written = (exp_avgs, exp_avg_sqs, state_steps, compensations or ())
    if not _torch.is_compiling() and (
        _torch.in_dual_level() or is_negated((params, *written)) or begin_together((params, grads, *written))
    ):
        # torch's list operations carry no tangents, do not write to what is still to be negated, and know no order.
        _single_tensor_adopt(
            params,
            grads,
            exp_avgs,
            exp_avg_sqs,
            state_steps,
            grad_scale,
            found_inf,
            has_complex=has_complex,
            compensations=compensations,
            beta1=beta1,
            beta2=beta2,
            lr=lr,
            clip_exp=clip_exp,
            clip_lambda=clip_lambda,
            weight_decay=weight_decay,
            decouple=decouple,
            eps=eps,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
        )
        return
    masked = (capturable or _torch.is_compiling()) and clip_lambda is None
    if masked:
        _check_capturable(params, state_steps)
    lr = _to_scalar(lr)
    l2 = weight_decay != 0 and not decouple

    # torch's list operations return tuples.
    weights: Sequence[Tensor]
    grads_: Sequence[Tensor]
    normed_grads: Sequence[Tensor]
    lr_: Any = lr
    for step, (params_, grads_, exp_avgs_, exp_avg_sqs_, steps_, compensations_, positions) in _grouped(
        params, grads, exp_avgs, exp_avg_sqs, state_steps, compensations, by_step=not masked, halves=l2
    ):
        widened = is_widened(params_[0], exp_avgs_[0])
        weights = params_
        if widened:
            weights = [widen(p, c) for p, c in zip(params_, compensations_)]
            grads_ = [g.to(w.dtype) for g, w in zip(grads_, weights)]
        if grad_scale is not None:
            grads_ = [g / grad_scale.to(g.device) for g in grads_]
        unscaled = [grads[i] for i in positions]
        if has_complex and torch.is_complex(weights[0]):
            grads_ = [_real(g) for g in grads_]
            weights, exp_avgs_, exp_avg_sqs_ = (
                [torch.view_as_real(t) for t in tensors] for tensors in (weights, exp_avgs_, exp_avg_sqs_)
            )
        # Only L2 mixes the sign of the gradient with another one: else it is the normalized gradient that is
        # negated, in place.
        negate = maximize
        if l2:
            if maximize:
                grads_ = torch._foreach_neg(grads_)
                torch._foreach_add_(grads_, weights, alpha=weight_decay)
                negate = False
            else:
                grads_ = torch._foreach_add(grads_, weights, alpha=weight_decay)

        if masked:
            real = weights[0].dtype
            steps = [step_t.to(real) for step_t in steps_]
            started = [(step_t != 0).to(real) for step_t in steps]  # 0-d: 0.0 in the first step, then 1.0
            waiting = [_waits(step_t, lr, g) for step_t, g in zip(steps, unscaled)]
            if waiting[0] is not None:
                grads_ = [g.masked_fill(waits, 0.0) for g, waits in zip(grads_, waiting)]
        elif step == 0:
            counted = [k for k, g in enumerate(unscaled) if not _waits(step, lr, g)]
            if counted:
                exp_avgs_, exp_avg_sqs_, grads_, steps_ = at(counted, (exp_avgs_, exp_avg_sqs_, grads_, steps_))
                for average in (*exp_avgs_, *exp_avg_sqs_):
                    average.zero_()
                torch._foreach_addcmul_(exp_avg_sqs_, grads_, grads_)
                torch._foreach_add_(steps_, 1)
            continue

        if weight_decay != 0 and decouple:
            # Not a product with 1 - lr * weight_decay: its rounding, the same in each step, would add up.
            if masked:
                torch._foreach_sub_(weights, [w * (lr * weight_decay * s) for w, s in zip(weights, started)])
            else:
                torch._foreach_add_(weights, weights, alpha=-lr_ * weight_decay)

        # One list of temporaries, as in Adam: first the denominator, then its reciprocal, then the quotient.
        normed_grads = torch._foreach_sqrt(exp_avg_sqs_)
        _torch.foreach_clamp_min_(normed_grads, eps)
        if normed_grads[0].dtype in LOW_PRECISION:
            # These have too few bits for a reciprocal, and 1 / eps is inf in float16.
            normed_grads = torch._foreach_div(grads_, normed_grads)
        else:
            torch._foreach_reciprocal_(normed_grads)
            torch._foreach_mul_(normed_grads, grads_)
        if negate:
            torch._foreach_neg_(normed_grads)
        if clip_lambda is not None:
            _torch.foreach_clamp_(normed_grads, clip_lambda(float(step)))
        elif clip_exp is not None and not masked:
            _torch.foreach_clamp_(normed_grads, _power(step, clip_exp))
        elif clip_exp is not None:
            clips = [step_t**clip_exp for step_t in steps]
            torch._foreach_maximum_(normed_grads, [-clip for clip in clips])
            torch._foreach_minimum_(normed_grads, clips)
        if masked:
            # Not a product: 0 * NaN is NaN, and the parameter waits even for a NaN.
            for normed_grad, s in zip(normed_grads, started):
                normed_grad.masked_fill_(s == 0, 0.0)

        # Two operations where one lerp_ would do: its inf - inf would make an infinite average NaN.
        torch._foreach_mul_(exp_avgs_, beta1)
        if masked:
            torch._foreach_mul_(exp_avgs_, started)
        torch._foreach_add_(exp_avgs_, normed_grads, alpha=1 - beta1)
        del normed_grads

        if isinstance(lr, Tensor):
            torch._foreach_sub_(weights, [lr * exp_avg for exp_avg in exp_avgs_])
        else:
            torch._foreach_add_(weights, exp_avgs_, alpha=-lr)

        if masked:
            # The factors are 0 and 1 in the first step. 1 - beta2 is taken in double precision.
            torch._foreach_mul_(exp_avg_sqs_, [beta2 * s for s in started])
            scaled_grads = torch._foreach_mul(grads_, [(1 - beta2) * s + (1 - s) for s in started])
            torch._foreach_addcmul_(exp_avg_sqs_, grads_, scaled_grads)
        else:
            torch._foreach_mul_(exp_avg_sqs_, beta2)
            torch._foreach_addcmul_(exp_avg_sqs_, grads_, grads_, 1 - beta2)

        if widened:
            for narrowed in zip(params_, compensations_, weights, steps_, positions):
                narrow_(*narrowed)
        if masked and waiting[0] is not None:
            for step_t, waits in zip(steps_, waiting):
                step_t += ~waits
        else:
            torch._foreach_add_(steps_, 1)


def _fused_adopt(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    grad_scale: Tensor | None,
    found_inf: Tensor | None,
    *,
    has_complex: bool,
    compensations: list[Tensor | None] | None = None,
    beta1: float,
    beta2: float,
    lr: float | Tensor,
    clip_exp: float | None = None,
    clip_lambda: Clip | None,
    weight_decay: float,
    decouple: bool,
    eps: float,
    maximize: bool,
    capturable: bool,
    differentiable: bool,
) -> None:
    if differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    _check_weight_decay(weight_decay)
    in_order: Callable[..., None] = _single_tensor_adopt
    lists: Any = [params, grads, exp_avgs, exp_avg_sqs, state_steps, compensations or [None] * len(params)]
    options: dict[str, Any] = {
        "beta1": beta1,
        "beta2": beta2,
        "lr": lr,
        "clip_exp": clip_exp,
        "weight_decay": weight_decay,
        "decouple": decouple,
        "eps": eps,
        "maximize": maximize,
    }
    if has_complex:
        lists = _as_reals(lists)
    if any(p.is_cuda for p in params):
        if clip_lambda is not None:
            raise RuntimeError(_NO_LAMBDA_ON_GPU)
        from . import cuda  # which imports Triton, where it is there

        on_gpu = [i for i, p in enumerate(params) if p.is_cuda]
        cuda.fused_step_(*at(on_gpu, lists), grad_scale=grad_scale, found_inf=found_inf, **options)
        lists = at([i for i, p in enumerate(params) if not p.is_cuda], lists)
    if not lists[0] or _found_inf(found_inf, capturable=False):
        return
    if any(c is None and is_widened(p, m) for p, m, c in zip(lists[0], lists[2], lists[5])):
        # Rounded stochastically: the position in the lists is what makes a parameter's random numbers its own.
        _check_storages(lists)
        options.update(clip_lambda=clip_lambda, has_complex=False, capturable=False, differentiable=False)
        in_order(*lists[:5], grad_scale, None, compensations=lists[5], **options)
        return
    others = native.step_(*lists, grad_scale=grad_scale, clip_lambda=clip_lambda, **options)
    if others:
        lists = at(others, lists)
        _check_storages(lists)
        options.update(clip_lambda=clip_lambda, has_complex=False, capturable=False, differentiable=False)
        if begin_together(lists):
            in_order(*lists[:5], grad_scale, None, compensations=lists[5], **options)
        else:
            blocked.step_(in_order, *lists, grad_scale=grad_scale, **options)


def _waits(step: Any, lr: float | Tensor, grad: Tensor) -> Any:
    """Say whether this first step measures nothing, with a tensor where `step` is one, None where none can.

    That is how torch.distributed.checkpoint makes the state of a fresh optimizer: with gradients of zero and an lr of
    zero. The state is made, and the first step is still to come.
    """
    if isinstance(step, Tensor):
        return (step == 0) & (lr == 0) & ~(grad != 0).any() if isinstance(lr, Tensor) or lr == 0 else None
    return bool(step == 0 and lr == 0 and not (grad != 0).any())


def _power(step: float, exponent: float) -> float:
    """Return the clip; NaN for a step that there cannot be, where Python's own power would be complex."""
    try:
        return math.pow(step, exponent)
    except ValueError:
        return math.nan


def _real(grad: Tensor) -> Tensor:
    """Return a complex gradient as pairs of reals; it may still have to be conjugated."""
    return torch.view_as_real(grad.resolve_conj() if hasattr(grad, "resolve_conj") else grad)


def _as_reals(lists: list[Any]) -> Any:
    """Return the lists with pairs of reals for complex numbers, where all tensors of a parameter are complex.

    What cannot be seen so is left to the single-tensor form, as is a parameter that is still to be conjugated.
    """
    lists = [list(column) for column in lists]
    for i, (param, grad, *averages) in enumerate(zip(*lists[:4])):
        written = (param, *averages)
        if all(isinstance(t, Tensor) and torch.is_complex(t) for t in (grad, *written)) and not any(
            hasattr(t, "is_conj") and t.is_conj() for t in written
        ):
            views = (torch.view_as_real(param), _real(grad), *map(torch.view_as_real, averages))
            for column, view in zip(lists, views):
                column[i] = view
    return lists


def _check_storages(lists: Iterable[Iterable[Tensor | None]]) -> None:
    """Raise where torch's own operations would end the process, which its fused Adam says, too."""
    if any(any(map(reaches_beyond, tensors)) for tensors in lists):
        raise RuntimeError(
            "A parameter, its gradient or its state has less memory than its sizes say: its storage was freed"
        )


def _check_weight_decay(weight_decay: object) -> None:
    if weight_decay is None:
        raise TypeError(_NO_DECAY)


def _check_exclusive(group: dict[str, Any]) -> None:
    """Raise where options exclude each other."""
    if group["clip_lambda"] is not None:
        if group["clip_exp"] is not None:
            raise ValueError("clip_lambda and clip_exp cannot be given together: both say how to clip")
        if group["capturable"]:
            raise ValueError(
                "clip_lambda needs the step as a number, which capturable=True keeps on the device: use clip_exp"
            )
    if group["foreach"] and isinstance(group["lr"], Tensor) and not group["capturable"]:
        raise ValueError(_NO_TENSOR_LR)
    for one in ("fused", "foreach", "capturable"):
        if group[one] and group["differentiable"]:
            raise RuntimeError(f"`{one}` does not support `differentiable`")
    if group["fused"] and group["foreach"]:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def _can_be_saved(clip: Clip | None) -> bool:
    try:
        pickle.dumps(clip)
    except Exception:  # whatever its own pickling raises
        return False
    return True


def _check_rounding(rounding: object) -> None:
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding must be one of {', '.join(map(repr, ROUNDINGS))}, but got {rounding!r}")


def _check_fused(params: list[Tensor]) -> None:
    """Raise where fused=True asks for a kernel that is not there."""
    kinds = {p.device.type for p in params}
    reason = None
    if not kinds <= {"cpu", "cuda"} or not all(torch.is_floating_point(p) or torch.is_complex(p) for p in params):
        reason = "all the params must be floating point Tensors on the CPU or a GPU"
    if reason is None and "cpu" in kinds:
        reason = native.why_not() and f"there is no native kernel for the CPU: {native.why_not()}"
    if reason is None and "cuda" in kinds:
        from . import cuda

        reason = cuda.why_not([p for p in params if p.is_cuda])
    if reason:
        raise RuntimeError(f"fused=True is not possible here, please use fused=None: {reason}")


def _check_capturable(params: list[Tensor], state_steps: list[Tensor]) -> None:
    if not _torch.is_compiling() and any(p.device != step.device for p, step in zip(params, state_steps)):
        raise AssertionError("If capturable=True, params and state_steps must be on the same device.")


def _found_inf(found_inf: Tensor | None, capturable: bool) -> bool:
    """Say whether GradScaler found inf or NaN among the gradients: then nothing at all may change."""
    if found_inf is None:
        return False
    if capturable:
        raise RuntimeError("found_inf cannot be read with capturable=True, let the GradScaler skip the step")
    return bool(found_inf.item())


def _to_scalar(x: float | Tensor) -> float | Tensor:
    return x.reshape(()) if isinstance(x, Tensor) else x


def _zeros_like(p: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros_like(p, dtype=dtype, memory_format=torch.preserve_format).detach()


def _grouped(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    state_steps: list[Tensor],
    compensations: list[Tensor | None] | None,
    *,
    by_step: bool,
    halves: bool,
) -> list[tuple[float, tuple[list[Any], ...]]]:
    """Split the lists into those that one list operation can handle, each with its step, and their positions.

    The step belongs to the key: a parameter that joined late, or left and came back, is not where the others
    are. Without `by_step` the host does not read the steps, and the step returned means nothing.

    L2 needs a second list of temporaries, the decayed gradients, where Adam has one at a time: in `halves`,
    one after the other, both lists together take what one would.
    """
    found: dict[Any, tuple[float, tuple[list[Any], ...]]] = {}
    for i, param in enumerate(params):
        step_t = state_steps[i]
        step = step_t.item() if by_step else -1.0
        compensation = compensations[i] if compensations else None
        dtypes = (param.dtype, exp_avgs[i].dtype, grads[i].dtype)
        key = (param.device, dtypes, compensation is None, step, i % 2 if halves else 0)
        if key not in found:
            found[key] = (step, ([], [], [], [], [], [], []))
        row = (param, grads[i], exp_avgs[i], exp_avg_sqs[i], step_t, compensation, i)
        for column, entry in zip(found[key][1], row):
            column.append(entry)
    return list(found.values())
