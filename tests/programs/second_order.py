"""Preconditioned training of a small network, as papers on second-order optimizers did. Written for torch 1.7."""

import numpy as np
import torch
from torch import nn
from torch.optim.optimizer import Optimizer

random = np.random.RandomState(4)


class Shampoo(Optimizer):
    """Precondition each dimension of a gradient by a root of its statistics, from their eigenvalues."""

    def __init__(self, params, lr=0.1, epsilon=1e-3):
        super().__init__(params, dict(lr=lr, epsilon=epsilon))

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                grad, state = p.grad.data, self.state[p]
                for dim, size in enumerate(p.size()):
                    if dim not in state:
                        state[dim] = group["epsilon"] * torch.eye(size, dtype=p.dtype)
                    rows = grad.transpose(0, dim).reshape(size, -1)
                    state[dim].addmm_(rows, rows.t())
                    values, vectors = torch.symeig(state[dim], eigenvectors=True)
                    root = (vectors * values.pow(-1 / (2 * grad.dim()))) @ vectors.t()
                    grad = (
                        (root @ grad.transpose(0, dim).reshape(size, -1))
                        .view(grad.transpose(0, dim).shape)
                        .transpose(0, dim)
                    )
                p.data.add_(grad, alpha=-group["lr"])


def natural_step(features, residual, damping=1e-2):
    """Return a Gauss-Newton step of the last layer, by the solver of the time."""
    curvature = features.t() @ features + damping * torch.eye(features.size(1), dtype=features.dtype)
    step, _ = torch.solve(features.t() @ residual, curvature)
    return step


x = torch.from_numpy(random.normal(size=(128, 6)))
y = torch.from_numpy(np.sin(random.normal(size=(6, 2)).T @ x.numpy().T).T.copy())
net = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 2)).double()
for parameter in net.parameters():
    parameter.data.copy_(torch.from_numpy(random.normal(0, 0.4, tuple(parameter.shape))))
optimizer = Shampoo(net.parameters())
step_lr = torch.optim.lr_scheduler.StepLR(optimizer, 15, verbose=True)
for step in range(30):
    loss = (net(x) - y).pow(2).mean()
    net.zero_grad()
    loss.backward()
    optimizer.step()
    step_lr.step()
    if step % 10 == 9:
        print("step %d  loss %.6f" % (step + 1, loss.item()))

with torch.no_grad():
    features = torch.cat([net[1](net[0](x)), torch.ones(128, 1, dtype=torch.float64)], 1)
    rank = int(torch.matrix_rank(features))
    fitted, _ = torch.lstsq(y, features)
    residual = y - features @ fitted[: features.size(1)]
    print("rank %d  least squares %.6f" % (rank, residual.pow(2).mean().item()))
    print("step of Gauss and Newton %.6f" % natural_step(features, y - net(x)).norm().item())
    rates = torch.eig(net[0].weight[:6].clone(), eigenvectors=False)[0]
    radius = rates.pow(2).sum(1).sqrt().max().item()
    print("spectral radius %.6f" % radius)
