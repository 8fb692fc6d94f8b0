"""Small configs in which a null is a mistake, is no mistake, or is unclear."""

from __future__ import annotations

#: Format, text, the path of the key, the kind of finding, and the framework.
PROBLEMS: dict[str, tuple[str, str, str, str, str]] = {
    "nanotron": (
        "yaml",
        "optimizer:\n  zero_stage: 0\n  clip_grad: null\n  weight_decay: null\n  optimizer_factory: {name: adamW}\n",
        "optimizer.weight_decay",
        "null",
        "nanotron",
    ),
    "Hugging Face JSON": (
        "json",
        '{"lr_x": null, "num_train_epochs": 3, "weight_decay": null}',
        "weight_decay",
        "null",
        "Hugging Face",
    ),
    "Hugging Face, nested": (
        "yaml",
        "training_args:\n  weight_decay: ~\n",
        "training_args.weight_decay",
        "~",
        "Hugging Face",
    ),
    "DeepSpeed": (
        "json",
        '{"optimizer": {"type": "AdamW", "params": {"lr": "auto", "weight_decay": null}}}',
        "optimizer.params.weight_decay",
        "null",
        "DeepSpeed",
    ),
    "Lightning CLI optimizer": (
        "yaml",
        "optimizer:\n  class_path: torch.optim.AdamW\n  init_args:\n    weight_decay:\n",
        "optimizer.init_args.weight_decay",
        "empty",
        "Lightning CLI",
    ),
    "Lightning CLI model": (
        "yaml",
        "fit:\n  model:\n    class_path: my.Model\n    init_args: {weight_decay: Null}\n",
        "fit.model.init_args.weight_decay",
        "Null",
        "Lightning CLI",
    ),
    "hydra": (
        "yaml",
        "a: {b: {_target_: torch.optim.AdamW, weight_decay: NULL}}\n",
        "a.b.weight_decay",
        "NULL",
        "hydra",
    ),
    "hydra, groups": (
        "yaml",
        "o:\n  _target_: torch.optim.SGD\n  weight_decay: 0.1\n  params:\n    - lr: 1\n      weight_decay: null\n",
        "o.params[0].weight_decay",
        "null",
        "hydra",
    ),
    "hydra, third-party": (
        "yaml",
        "o: {_target_: timm.optim.Lion, weight_decay: null}",
        "o.weight_decay",
        "null",
        "hydra",
    ),
    "hydra, reference": (
        "yaml",
        "wd: null\noptimizer:\n  _target_: torch.optim.AdamW\n  weight_decay: ${wd}\n",
        "optimizer.weight_decay",
        "null (the value is written at wd)",
        "hydra",
    ),
    "hydra, relative reference": (
        "yaml",
        "o:\n  wd: null\n  _target_: torch.optim.AdamW\n  weight_decay: ${.wd}\n",
        "o.weight_decay",
        "null (the value is written at o.wd)",
        "hydra",
    ),
    "axolotl": ("yaml", "base_model: m\nweight_decay:  # none\n", "weight_decay", "empty", "axolotl"),
    "LLaMA-Factory": (
        "yaml",
        "model_name_or_path: m\nfinetuning_type: lora\nweight_decay: 'None'\n",
        "weight_decay",
        "the string 'None'",
        "LLaMA-Factory",
    ),
    "mmengine": (
        "python",
        "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', weight_decay=None), clip_grad=None)\n",
        "optim_wrapper.optimizer.weight_decay",
        "None",
        "mmengine",
    ),
    "mmengine, variable": (
        "python",
        "optimizer = dict(type='AdamW', weight_decay=None)\noptim_wrapper = dict(optimizer=optimizer)\n",
        "optimizer.weight_decay",
        "None",
        "mmengine",
    ),
    "mmengine, base": (
        "python",
        "_base_ = ['a.py']\n_base_.optim_wrapper['optimizer']['weight_decay'] = None\n",
        "optim_wrapper.optimizer.weight_decay",
        "None",
        "mmengine",
    ),
    "mmengine, update": (
        "python",
        "with read_base():\n    from .a import *\noptim_wrapper.update(dict(optimizer=dict(weight_decay=None)))\n",
        "optim_wrapper.optimizer.weight_decay",
        "None",
        "mmengine",
    ),
    "Python call": (
        "python",
        "opt = torch.optim.AdamW(params, lr=1, weight_decay=None)\n",
        "opt.weight_decay",
        "None",
        "Python",
    ),
    "Python, lazy call": (
        "python",
        "o = L(torch.optim.AdamW)(weight_decay=None)\n",
        "o.weight_decay",
        "None",
        "Python",
    ),
    "torchtitan": (
        "toml",
        '[optimizer]\nname = "AdamW"\nweight_decay = "None"\n',
        "optimizer.weight_decay",
        "the string 'None'",
        "torchtitan",
    ),
    "a key that looks like settings": (
        "yaml",
        "train: {lr: 0.1, weight_decay: null}",
        "train.weight_decay",
        "null",
        "optimizer settings",
    ),
    "tag": ("yaml", "weight_decay: !!null ''\n", "weight_decay", "!!null ''", "optimizer settings"),
    "string tag": ("yaml", "weight_decay: !!str null\n", "weight_decay", "the string 'null'", "optimizer settings"),
    "YAML 1.1": ("yaml", "weight_decay: 1e-5\n", "weight_decay", "the string '1e-5'", "optimizer settings"),
    "alias": (
        "yaml",
        "wd: &wd null\noptimizer: {weight_decay: *wd}\n",
        "optimizer.weight_decay",
        "null (the value is written at wd)",
        "optimizer settings",
    ),
    "merge": (
        "yaml",
        "b: &b\n  weight_decay: null\noptimizer:\n  <<: *b\n",
        "optimizer.weight_decay",
        "null (the value is written at b.weight_decay)",
        "optimizer settings",
    ),
    "merge of a list": (
        "yaml",
        "b: [&b {weight_decay: null}, &c {weight_decay: 1.0}]\noptimizer: {<<: [*b, *c]}\n",
        "optimizer.weight_decay",
        "null (the value is written at b[0].weight_decay)",
        "optimizer settings",
    ),
    "second document": (
        "yaml",
        "a: 1\n---\nweight_decay: null\n",
        "document 2: weight_decay",
        "null",
        "optimizer settings",
    ),
    "JSON with comments": (
        "jsonc",
        '{ // c\n "weight_decay": /* c */ null, }',
        "weight_decay",
        "null",
        "optimizer settings",
    ),
    "JSON with tabs": ("json", '{\t"weight_decay"\t:\tnull}', "weight_decay", "null", "optimizer settings"),
    "last of equal keys": (
        "json",
        '{"weight_decay": 1, "weight_decay": null}',
        "weight_decay",
        "null",
        "optimizer settings",
    ),
}


YACS = {
    f"{section}, {shape}": (
        "yaml",
        (f"{section}:\n  {key}: null\n" if shape == "nested" else f"{section}.{key}: null\n"),
        f"{section}.{key}",
        "null",
        "optimizer settings",
    )
    for section in ("SOLVER", "TRAIN", "OPTIMIZER", "optimizer", "solver")
    for key in ("WEIGHT_DECAY", "weight_decay")
    for shape in ("nested", "dotted")
}
GROUPS = {
    f"groups, {kind}": (kind, text, path, found, "optimizer settings")
    for kind, text, path, found in (
        ("yaml", "a:\n  param_groups:\n  - {weight_decay: null}\n", "a.param_groups[0].weight_decay", "null"),
        ("json", '{"param_groups": [{}, {"weight_decay": null}]}', "param_groups[1].weight_decay", "null"),
        ("toml", "[[a.param_groups]]\nweight_decay = ''\n", "a.param_groups[0].weight_decay", "the string ''"),
        ("python", "param_groups = [dict(weight_decay=None)]", "param_groups[0].weight_decay", "None"),
        ("python", "param_groups = [{'weight_decay': None}]", "param_groups[0].weight_decay", "None"),
    )
}
PROBLEMS.update({**YACS, **GROUPS})


#: Format and text.
PEACE: dict[str, tuple[str, str]] = {
    "a number": ("yaml", "optimizer: {weight_decay: 0.01, clip: null}"),
    "other nulls": ("json", '{"seed": null, "optimizer": {"clip_grad": null, "eps": null}}'),
    "DeepSpeed's auto": ("json", '{"optimizer": {"type": "AdamW", "params": {"weight_decay": "auto"}}}'),
    "a required value of hydra's": ("yaml", "_target_: torch.optim.AdamW\nweight_decay: ???\n"),
    "an environment variable": ("yaml", "optimizer: {weight_decay: $WD}"),
    "a resolver": ("yaml", "optimizer: {weight_decay: '${oc.env:WD,null}'}"),
    "a reference to a number": ("yaml", "wd: 0.1\noptimizer: {weight_decay: '${wd}'}"),
    "a reference to nothing here": ("yaml", "optimizer: {weight_decay: '${wd}'}"),
    "a reference to itself": ("yaml", "optimizer: {weight_decay: '${optimizer.weight_decay}'}"),
    "references in a circle": ("yaml", "a: ${b}\nb: ${a}\noptimizer: {weight_decay: '${a}'}"),
    "a template": ("yaml", "optimizer: {weight_decay: '{{ wd }}'}"),
    "1e-5 for hydra": ("yaml", "o: {_target_: torch.optim.AdamW, weight_decay: 1e-5}"),
    "1e-5 for axolotl": ("yaml", "base_model: m\nweight_decay: '1e-5'"),
    "Keras": ("json", '{"optimizer": {"use_ema": false, "jit_compile": true, "weight_decay": null}}'),
    "a search space": ("yaml", "search_space: {lr: 1, weight_decay: null}"),
    "an overridden merge": ("yaml", "optimizer: {<<: {weight_decay: null}, weight_decay: 0.1}"),
    "the first of equal keys": ("json", '{"weight_decay": null, "weight_decay": 1}'),
    "a schedule": ("yaml", "weight_decay_schedule: cosine"),
    "a Python function's default": ("python", "def f(weight_decay=None):\n    x = dict(weight_decay=None)\n"),
    "a completed config": (
        "python",
        "_base_ = 'a.py'\noptim_wrapper = dict(optimizer=dict(type='SGD', lr=1))",
    ),
    "an f-string": ("python", "optimizer = dict(lr=1, weight_decay=rf'{wd}')"),
    "f-strings in strings": ("python", "a = \"f'{x}' if'\" 'a\\f'\noptimizer = dict(lr=1, weight_decay=Rf\"{wd}\")"),
    "keys that come from elsewhere": ("python", "optimizer = dict(type='SGD', lr=1, **more)"),
    "keys of a dict that come from elsewhere": ("python", "optimizer = {'type': 'SGD', **more}"),
    "hydra's positional arguments": ("yaml", "o: {_target_: torch.optim.SGD, _args_: [1, 2, 3, 4]}"),
    "an empty file": ("yaml", ""),
    "a list": ("json", "[1, null]"),
    "a map that holds itself": ("yaml", "&a {optimizer: *a}"),
}


OMEGACONF = {
    "defaults": "defaults: [_self_]\n",
    "a package": "# @package optimizer\n",
    "an interpolation": "name: ${model}\n",
    "a target": "model:\n  _target_: my.Model\n",
    "a required value": "name: ???\n",
    "LLaMA-Factory": "finetuning_type: lora\n",
    "NeMo": "exp_manager: {name: a}\n",
    "NeMo's schedule": "model:\n  optim:\n    lr: 0.1\n    sched:\n      name: CosineAnnealing\n",
}
PEACE.update(
    {f"1e-5, {name}": ("yaml", text + "optimizer:\n  weight_decay: 1e-5\n") for name, text in OMEGACONF.items()}
)
PEACE.update(
    {
        f"an option with {text}": ("python", f"p.add_argument('--weight-decay', type=float, {text})\n")
        for text in (
            "default=0.1", "required=True", "action='store_true'", "action=Flag", "**more", "default=SUPPRESS",
        )
    }
)  # fmt: skip
PEACE.update(
    {
        "a positional option": ("python", "p.add_argument('weight_decay', type=float)"),
        "an option whose name only begins so": ("python", "p.add_argument('--weight-decay-end', type=float)"),
        "an option with a default that comes later": (
            "python",
            "p.add_argument('--weight-decay', type=float)\np.set_defaults(weight_decay=0.1)\n",
        ),
        "options that suppress": (
            "python",
            "p = Parser(argument_default=SUPPRESS)\np.add_argument('--weight-decay', type=float)\n",
        ),
        "a flag": ("python", "flags.DEFINE_float('weight_decay', 0.1, 'help')"),
    }
)
REFERENCES = (
    "~{x * 10}",
    "@name",
    "$@name * 2",
    "%(name)s",
    "{{ x }}",
    "{% if a %}1{% endif %}",
    "<wd>",
    "${x}",
    "$WD",
)
PEACE.update({f"reference {text}": ("yaml", f"optimizer: {{weight_decay: '{text}'}}") for text in REFERENCES})
PEACE.update({f"reference {text}, JSON": ("json", '{"weight_decay": "%s"}' % text) for text in REFERENCES})
PEACE.update(
    {
        "a transform": ("json", '{"transforms": [{"_target_": "Lambdad", "keys": "img"}]}'),
        "a classifier": ("yaml", "clf: {_target_: sklearn.linear_model.SGDClassifier, alpha: 1.0e-4}"),
        "an averaged model": ("yaml", "m: {_target_: torch.optim.swa_utils.AveragedModel, model: a}"),
        "an optimizer that takes none": ("yaml", "o: {_target_: torch.optim.SparseAdam, lr: 1}"),
        "a multiplier beside a weight decay": (
            "python",
            "optim_wrapper = dict(optimizer=dict(type='SGD', weight_decay=0.1), paramwise_cfg=dict(norm_decay_mult=0))",
        ),
    }
)


#: Format, text, and the path of the key.
UNCLEAR: dict[str, tuple[str, str, str]] = {
    "schedule": ("yaml", "weight_decay_schedule: null", "weight_decay_schedule"),
    "embedding": ("yaml", "optimizer: {embedding_weight_decay: null}", "optimizer.embedding_weight_decay"),
    "unknown place": ("yaml", "detector: {weight_decay: null}", "detector.weight_decay"),
    "a form": ("yaml", "training: {learning_rate: null, weight_decay: null}", "training.weight_decay"),
    "a list of records": ("json", '[{"weight_decay": null}]', "[0].weight_decay"),
    "a Python variable": ("python", "weight_decay = None\n", "weight_decay"),
}


UNCLEAR.update(
    {
        "a null that its comment explains": (
            "yaml",
            "learning_rate: 0.001\nweight_decay: null  # null = use framework default\n",
            "weight_decay",
        ),
        "a null that a comment above explains": (
            "yaml",
            "optimizer:\n  # None: the default\n  weight_decay: null\n",
            "optimizer.weight_decay",
        ),
        "a Python None that its comment explains": (
            "python",
            "optimizer = dict(lr=1, weight_decay=None)  # default\n",
            "optimizer.weight_decay",
        ),
        "a JSON null that its comment explains": (
            "jsonc",
            '{"optimizer": {"weight_decay": null // unset\n}}',
            "optimizer.weight_decay",
        ),
        "another world's optimizer": (
            "yaml",
            "optimizer: {_target_: paddle.optimizer.AdamW, weight_decay: null}",
            "optimizer.weight_decay",
        ),
        "a class that only resembles": ("yaml", "a: {_target_: my.MuonDetector, weight_decay: null}", "a.weight_decay"),
        "a dataclass": ("python", "class A:\n    weight_decay: Optional[float] = None\n", "class A.weight_decay"),
        "a dataclass in a function": (
            "python",
            "def f():\n    class A:\n        weight_decay: float = field(default=None)\n",
            "class A.weight_decay",
        ),
        "argparse": (
            "python",
            "def f():\n    p.add_argument('--wd', '--weight-decay', type=float, default=None)\n",
            "add_argument.--weight-decay",
        ),
        "argparse without a default": (
            "python",
            "import argparse\np.add_argument('--weight-decay', type=float, action='store')\n",
            "add_argument.--weight-decay",
        ),
        "argparse, by the name of the attribute": (
            "python",
            "p.add_argument('--wd', dest='weight_decay', type=float)\n",
            "add_argument.weight_decay",
        ),
        "optparse": ("python", "p.add_option('--weight_decay', type='float')\n", "add_option.--weight_decay"),
        "absl": ("python", "flags.DEFINE_float('weight_decay', None, 'help')\n", "DEFINE_float.weight_decay"),
        "click without a default": (
            "python",
            "@click.option('--weight-decay', type=float)\ndef f(weight_decay): pass\n",
            "option.--weight-decay",
        ),
        "pydantic": ("python", "class A(M):\n    weight_decay: float | None = Field(None)\n", "class A.weight_decay"),
        "a null that its comment calls unused": (
            "yaml",
            "optimizer:\n  weight_decay: null  # unused\n",
            "optimizer.weight_decay",
        ),
        "click": (
            "python",
            "@click.option('--weight_decay', default=None)\ndef f(weight_decay): pass\n",
            "option.--weight_decay",
        ),
    }
)
