"""The optimizer class ADOPT, with the same structure as torch.optim.Adam."""

from __future__ import annotations

import warnings
from typing import Any, Callable, Iterable

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from . import _torch, native
from .checkpoint import Loading, check_dict, without_clips
from .common import _NO_TENSOR_LR, _check_weight_decay
from .form import Clip
from .functional import _form_in_words, adopt
from .fused import _check_fused
from .low_precision import LOW_PRECISION
from .options import check_exclusive, check_foreach, check_rounding, check_values

__all__ = ["ADOPT"]


class _DefaultClip:
    """The default of `clip_lambda`, which is not None: None means no clip."""

    def __repr__(self) -> str:
        return "<t ** clip_exp>"


_DEFAULT_CLIP = _DefaultClip()


class ADOPT(Optimizer):
    r"""Implement the ADOPT algorithm: an Adam that converges with every beta2.

    Adam divides a gradient by a second moment that contains the same gradient. Therefore it can converge to the
    wrong point unless beta2 fits the problem. ADOPT divides by the second moment of the previous gradients, and
    takes the moving average of the quotient.

    For each parameter :math:`\theta`, with its own step counter :math:`t` from 0, gradient :math:`g` (negated
    for `maximize`; :math:`g + \lambda \theta` with weight decay that is not decoupled):

    .. math::
        t = 0: \quad & v \leftarrow g^2 \\
        t \ge 1: \quad & \theta \leftarrow \theta - \gamma \lambda \theta \quad \text{(if decoupled)} \\
        & n \leftarrow \operatorname{clip}(g / \max(\sqrt{v}, \epsilon), -c(t), c(t)), \quad c(t) = t^{1/4} \\
        & m \leftarrow \beta_1 m + (1 - \beta_1) n \\
        & \theta \leftarrow \theta - \gamma m \\
        & v \leftarrow \beta_2 v + (1 - \beta_2) g^2

    The first step only initializes :math:`v`: the parameter is not changed, and no weight decay is applied. There
    is no bias correction. Source: Taniguchi et al., *ADOPT: Modified Adam Can Converge with Any β₂ with the Optimal
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
    ``clip_lambda=lambda t: ..``  works; ``clip_exp=0.25`` is the default, and is saved
    ``clip_lambda=None``          works (no clip), as does ``clip_exp=None``
    timm's ``clip_exp=0.333``     ``clip_exp=0.333``; its ``decoupled`` is ``decouple``; checkpoints load
    ============================  ====================================================================

    Parameters in bfloat16 and float16 have their state in float32, and a compensation (4 bytes a parameter) that
    keeps what rounding would lose. A group with ``"rounding": "stochastic"`` has no compensation; it rounds at
    random, so that the weight is right on average. A group with ``"rounding": "nearest"`` does what the reference
    does: the state has the parameter's dtype, and at small learning rates the parameter may not change at all. See
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
            clip (default: not given, c(t) is ``t ** clip_exp``). It must depend on the step alone. It is code, and
            stays with this optimizer: ``state_dict()`` leaves it out.
        weight_decay (float): weight decay λ (default: 0.0).
        decouple (bool): decay the parameter itself, as AdamW does, not the gradient (default: False).
        clip_exp (float or None): the exponent of the default clip; None for no clip (default: 0.25).
        foreach (bool or None): whether to use the form that handles all tensors of a group at once, operation
            by operation. Needs torch 1.8. If this and `fused` are None, the fastest safe form is chosen: foreach
            on a GPU, as in torch, and fused on the CPU; ``repr(optimizer)`` shows which one (default: None).
        maximize (bool): maximize the objective instead of minimizing it (default: False).
        capturable (bool): keep the steps on the parameters' device and never read them on the host, so that
            a CUDA graph can capture the step (default: False).
        differentiable (bool): let autograd go through the step (default: False).
        fused (bool or None): whether to go through memory only once, in a kernel: on the CPU a native one, which
            is built at installation if there is a C compiler, on a GPU Triton's. What the native kernel does not
            take (float16, tensors that are not dense or share memory) is stepped operation by operation, large
            tensors in blocks that fit into the cache. True raises an error if there is no kernel (default: None).

    Raises:
        ValueError: if an option is out of range, or two options exclude each other.
        TypeError: if weight_decay is None, or clip_lambda is not callable.
        RuntimeError: if a combination of forms is not supported.

    Examples:
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

    def __init__(  # the class documents the arguments, as in Adam
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
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError(_NO_TENSOR_LR)
        _check_weight_decay(weight_decay)
        given = None if isinstance(clip_lambda, _DefaultClip) else clip_lambda
        check_values(
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "clip_exp": clip_exp,
                "clip_lambda": given,
            }
        )

        if isinstance(clip_lambda, _DefaultClip):
            clip_lambda = None
        else:
            if clip_exp not in (None, 0.25):
                raise ValueError(f"clip_lambda and clip_exp={clip_exp} cannot be given together: both define the clip")
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
        check_exclusive(defaults)
        super().__init__(params, defaults)

        if fused:
            _check_fused([p for group in self.param_groups for p in group["params"]], clip_lambda)
            # GradScaler then leaves unscaling to the step:
            # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/amp/grad_scaler.py#L418
            self._step_supports_amp_scaling = True
        if foreach:
            check_foreach(capturable)
        unsaved = next((group["clip_lambda"] for group in self.param_groups if group["clip_lambda"] is not None), None)
        if unsaved is not None:
            warnings.warn(
                f"clip_lambda={getattr(unsaved, '__name__', type(unsaved).__name__)} is code, so state_dict() leaves "
                "it out: give it to the optimizer that loads the state, too. clip_exp is saved.",
                stacklevel=2,
            )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, as in any optimizer.

        A group with only one of `clip_exp` and `clip_lambda` does not inherit the other one.
        """
        if isinstance(param_group, dict) and ("clip_exp" in param_group) != ("clip_lambda" in param_group):
            param_group.setdefault("clip_exp", None)
            param_group.setdefault("clip_lambda", None)
        super().add_param_group(param_group)
        check_rounding(self.param_groups[-1]["rounding"])

    def __repr__(self) -> str:  # as of any optimizer, and the form of each group
        forms = [f"Form of group {i}: {_form_in_words(group)}\n" for i, group in enumerate(self.param_groups)]
        return "".join([super().__repr__()[:-1], *forms, ")"])

    def __setstate__(self, state: dict[str, Any]) -> None:  # a protocol, as in Adam
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, as of any optimizer.

        A `clip_lambda` is left out: the optimizer that loads the state goes on with its own. Many callables cannot be
        pickled, and ``torch.load`` refuses all of them by default since torch 2.6.
        """
        if all(group.get("clip_lambda") is None for group in self.param_groups):
            return super().state_dict()
        # torch 2.1: https://github.com/pytorch/pytorch/blob/v2.1.2/torch/optim/optimizer.py#L482
        if not hasattr(self, "register_state_dict_post_hook"):
            return without_clips(super().state_dict())
        # The user's own hooks run after this one: they may save the state, or return another one.
        hook = self.register_state_dict_post_hook(lambda _, state_dict: without_clips(state_dict), prepend=True)
        try:
            return super().state_dict()
        finally:
            hook.remove()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state that was saved by ADOPT: by this one, the reference, timm or pytorch_optimizer.

        What another or an older implementation did not save is taken from this optimizer. Tensors are copied. Either
        the whole state is loaded, or nothing is changed.

        Raises:
            ValueError: if the state is that of another optimizer, or of an ADOPT that computes something else; if a
                tensor or a step does not fit its parameter; if an option of a group has a value that no step can
                use, or excludes another one; or if a part of the state is missing or no dict or list. The message
                names the parameter or the group.
            TypeError: if it is not a dict.

        """
        check_dict(state_dict)
        loading: list[Loading] = []

        def before(_: Optimizer, given: dict[str, Any]) -> dict[str, Any]:
            loading.append(Loading(given, self.param_groups))
            for i, group in enumerate(loading[0].groups):
                try:
                    check_values(group)
                    check_exclusive(group)
                    check_rounding(group["rounding"])
                except (ValueError, TypeError, RuntimeError) as error:
                    raise ValueError(f"param_groups[{i}] of the state_dict: {error}") from None
            return loading[0].without_state()

        def after(_: Optimizer) -> None:
            loading[0].finish(self)

        # torch 2.1: https://github.com/pytorch/pytorch/blob/v2.1.2/torch/optim/optimizer.py#L632
        if hasattr(self, "register_load_state_dict_pre_hook"):
            # The user's own hooks run before these, and may change the state, or after them, and see the loaded one.
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
        check_rounding(group["rounding"])
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
                # The step is on the CPU, where reading it is cheap, unless the host must never read it.
                device = p.device if group["capturable"] or group["fused"] else "cpu"
                state["step"] = torch.zeros((), dtype=torch.float32, device=device)
                # Exponential moving average of normalized gradients
                state["exp_avg"] = _zeros_like(p, dtype)
                # Exponential moving average of squared gradients
                state["exp_avg_sq"] = _zeros_like(p, dtype)
            # The state may come from a group with another rounding, or from a parameter that was cast since.
            if state["exp_avg"].dtype != dtype:
                state["exp_avg"] = state["exp_avg"].to(dtype)
                state["exp_avg_sq"] = state["exp_avg_sq"].to(dtype)
            if not compensate:
                state.pop("compensation", None)
            elif "compensation" not in state:
                # What rounding has removed from the parameter
                state["compensation"] = _zeros_like(p, torch.float32)

            exp_avgs.append(state["exp_avg"])
            exp_avg_sqs.append(state["exp_avg_sq"])
            compensations.append(state["compensation"] if compensate else None)

            if group["differentiable"] and state["step"].requires_grad:
                raise RuntimeError("`requires_grad` is not supported for `step` in differentiable mode")

            # Foreach without capturable does not support a tensor lr:
            # https://github.com/pytorch/pytorch/blob/v2.13.0/torch/optim/adam.py#L208
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
        for group in self.param_groups if unusual else native.step_groups(self.param_groups, self.state):
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


def _zeros_like(p: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros_like(p, dtype=dtype, memory_format=torch.preserve_format).detach()
