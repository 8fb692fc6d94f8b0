"""Lookahead around RAdam, two optimizers as people wrote them themselves in 2019. Written for torch 1.7."""

import math
from collections import defaultdict

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

random = np.random.RandomState(6)


class Lookahead(Optimizer):
    """Go back half of the way every k steps. It takes its groups from the optimizer that it wraps."""

    def __init__(self, base, alpha=0.5, k=5):
        self.optimizer = base
        self.param_groups = base.param_groups
        self.defaults = base.defaults
        self.alpha, self.k = alpha, k
        self.state = defaultdict(dict)
        for group in self.param_groups:
            group["counter"] = 0

    def step(self, closure=None):
        loss = self.optimizer.step(closure)
        for group in self.param_groups:
            if group["counter"] == 0:
                for fast in group["params"]:
                    state = self.state[fast]
                    if "slow" not in state:
                        state["slow"] = torch.zeros_like(fast.data).copy_(fast.data)
                    state["slow"] += (fast.data - state["slow"]) * self.alpha
                    fast.data.copy_(state["slow"])
            group["counter"] = (group["counter"] + 1) % self.k
        return loss


class RectifiedAdam(Optimizer):
    """Adam that waits until the variance of its second moment can be estimated."""

    def __init__(self, params, lr=1e-2, betas=(0.9, 0.999), eps=1e-8):
        super(RectifiedAdam, self).__init__(params, dict(lr=lr, betas=betas, eps=eps))

    def step(self, closure=None):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                state = self.state[p]
                if len(state) == 0:
                    state.update(step=0, m=torch.zeros_like(p.data), v=torch.zeros_like(p.data))
                state["step"] += 1
                state["m"].mul_(beta1).add_(1 - beta1, p.grad.data)
                state["v"].mul_(beta2).addcmul_(1 - beta2, p.grad.data, p.grad.data)
                n = state["step"]
                longest = 2 / (1 - beta2) - 1
                length = longest - 2 * n * beta2**n / (1 - beta2**n)
                rate = group["lr"] / (1 - beta1**n)
                if length > 4:
                    ratio = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
                    rate *= math.sqrt(ratio * (1 - beta2**n))
                    p.data.addcdiv_(-rate, state["m"], state["v"].sqrt().add_(group["eps"]))
                else:
                    p.data.add_(-rate, state["m"])


x = torch.from_numpy(random.normal(size=(256, 8)))
labels = torch.from_numpy((x.numpy()[:, 0] * x.numpy()[:, 1] > 0).astype(np.int64))
net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)).double()
for parameter in net.parameters():
    parameter.data.copy_(torch.from_numpy(random.normal(0, 0.4, tuple(parameter.shape))))
optimizer = Lookahead(RectifiedAdam(net.parameters(), lr=0.1))
scheduler = CosineAnnealingLR(optimizer, 90, verbose=False)
for step in range(90):
    loss = nn.functional.cross_entropy(net(x), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    if step % 30 == 29:
        print("step %d  loss %.6f  lr %.6g" % (step + 1, loss.item(), scheduler.get_last_lr()[0]))
print("right %.4f" % (net(x).argmax(1) == labels).double().mean().item())
