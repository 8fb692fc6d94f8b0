"""Train a small network on scikit-learn's digits, as configured in a YAML file.

With examples/config.yaml, which has ``weight_decay: null``, plain Python dies at the first optimizer step. Under
shim it trains. This file does not use shim.
"""

import argparse
from pathlib import Path

import torch
import yaml
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn


def parameter_groups(model, weight_decay):
    """Return the usual two groups: matrices with weight decay, biases and norms without."""
    decay = [p for p in model.parameters() if p.ndim >= 2]
    no_decay = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": decay, "weight_decay": weight_decay}, {"params": no_decay, "weight_decay": 0.0}]


def main():
    parser = argparse.ArgumentParser(description="Train a small network on digits.")
    parser.add_argument("--config", default=Path(__file__).with_name("config.yaml"))
    parser.add_argument("--save", help="write the trained parameters to this file")
    args = parser.parse_args()
    config = yaml.safe_load(Path(args.config).read_text())
    settings, batch = config["optimizer"], config["tokens"]["micro_batch_size"]
    torch.manual_seed(0)

    digits = load_digits()
    data = train_test_split(digits.data / 16, digits.target, test_size=0.25, random_state=0)
    x, x_test, y, y_test = (torch.tensor(part.tolist()) for part in data)

    hidden = config["model"]["hidden_size"]
    model = nn.Sequential(nn.Linear(64, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, 10))
    optimizer = torch.optim.AdamW(
        parameter_groups(model, settings["weight_decay"]),
        lr=settings["learning_rate"],
        betas=tuple(settings["betas"]),
    )
    for epoch in range(config["tokens"]["epochs"]):
        total = 0.0
        for rows in torch.randperm(len(x)).split(batch):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        print(f"epoch {epoch + 1:2d}  loss {total / len(x):.4f}")
    accuracy = (model(x_test).argmax(1) == y_test).float().mean().item()
    print(f"test accuracy {accuracy:.1%}")
    if args.save:
        torch.save(model.state_dict(), args.save)


if __name__ == "__main__":
    main()
