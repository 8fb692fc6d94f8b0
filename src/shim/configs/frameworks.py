"""Where each framework keeps optimizer settings, and what it does with a weight decay that is no number.

A row of ``HOMES`` describes mappings in which ``weight_decay`` belongs to an optimizer; the first row
that fits is taken. Sources: nanotron's OptimizerArgs (``weight_decay: float``), DeepSpeed's FusedAdam
(used unchecked in the step), axolotl's trainer builder (``0.0`` for None), the Trainer's parameter
groups, jsonargparse's refusal of null for a float, Keras' optimizer configs.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Pattern

YAML_JSON = ("yaml", "json", "jsonc")
DATA = (*YAML_JSON, "toml")
EVERY = (*DATA, "python")

# A class or a type that is an optimizer: torch's names and those of the usual libraries.
OPTIMIZER = re.compile(
    r"(?:.*[.:])?(?:[A-Z][A-Za-z0-9]*)?(?:Adam|SGD|Adagrad|Adadelta|Adafactor|RMSprop|RAdam|NAdam|Lion|LAMB|Lamb"
    r"|LARS|Lars|Muon|ADOPT|Adopt|Sophia|Shampoo|SOAP|Prodigy|Adan|AdaBelief|NovoGrad|Optimizer)[A-Za-z0-9]*"
    r"|.*\boptim\.(?!lr_scheduler)[\w.]+"
    r"|(?i:adamw?|sgd|lion|lamb|lars|muon|adopt|adafactor|adagrad|rmsprop)(?:_\w+)?"
)
NOT_OPTIMIZER = re.compile(r"(?i)sched|hook|wrapper|callback")
# What an optimizer of torch takes when the key is missing, where it is not 0.
DEFAULTS = {"adamw": "0.01", "nadamw": "0.01", "muon": "0.1"}


class Home(NamedTuple):
    """A place where an optimizer's settings are kept.

    Args:
        framework: its name, as reported; empty for places that look alike and are to be left in peace.
        formats: the formats it occurs in.
        at: matches the dotted path of the mapping, without list indices; empty is the top of a document.
        has: one of these keys must be set to something else than null, in the mapping.
        top_has: the same at the top of the document; empty asks nothing.
        typed: one of these keys must name an optimizer; empty asks nothing.
        on_null: what a null does to a run.
        missing: what a missing key does: "required", "torch" (the default of torch's optimizer) or "default"
            (somebody else's); empty if it is not to be reported.
        numbers: which strings are numbers to the reader: those of YAML "1.1" (a plain ``1e-5`` is none), of
            "1.2", or "any" string that Python's ``float`` takes.
        covers: mappings further down, such as parameter groups, belong to it as well.

    """

    framework: str
    formats: tuple[str, ...]
    at: Pattern[str]
    has: tuple[str, ...] = ()
    top_has: tuple[str, ...] = ()
    typed: tuple[str, ...] = ()
    on_null: str = ""
    missing: str = ""
    numbers: str = "1.1"
    covers: bool = True


CONSTRUCTOR = (
    "the optimizer's constructor raises TypeError ('<=' not supported between instances of 'float' and 'NoneType')"
)
ANYWHERE = re.compile(r".*", re.DOTALL)
TOP = re.compile(r"")
RATES = ("lr", "learning_rate")

HOMES: tuple[Home, ...] = (
    # Keras: None is its default and means no decay.
    Home("", EVERY, ANYWHERE, has=("use_ema", "jit_compile", "is_legacy_optimizer")),
    Home("", EVERY, re.compile(r"(.*\.)?(compile_config\.optimizer|optimizer_config)\.config")),
    # A null takes a dimension out of a search space.
    Home("", EVERY, re.compile(r"(.*\.)?(search_space|hp_space|sweep|sweeper)(\..*)?")),
    Home(
        "nanotron",
        YAML_JSON,
        re.compile(r"optimizer"),
        has=("optimizer_factory", "zero_stage", "learning_rate_scheduler", "accumulate_grad_in_fp32"),
        on_null="nanotron refuses it while it reads the config: weight_decay must be a float",
        missing="required",
    ),
    Home(
        "DeepSpeed",
        DATA,
        re.compile(r"(.*\.)?optimizer\.params"),
        on_null="DeepSpeed hands it to the optimizer: TypeError in its constructor or at the first step",
        missing="default",
    ),
    Home(
        "Lightning CLI",
        YAML_JSON,
        re.compile(r"(.*\.)?(optimizer\w*(\..*)?\.)?init_args"),
        typed=("class_path",),
        on_null="jsonargparse refuses it where the class says float; elsewhere " + CONSTRUCTOR,
        missing="torch",
        numbers="1.2",
    ),
    Home(
        "Lightning CLI",
        YAML_JSON,
        re.compile(r"(.*\.)?(model|optimizer\w*)\.init_args"),
        on_null="jsonargparse refuses it where the class says float; else the optimizer raises TypeError",
        numbers="1.2",
        covers=False,
    ),
    Home(
        "hydra",
        YAML_JSON,
        ANYWHERE,
        typed=("_target_",),
        on_null=CONSTRUCTOR,
        missing="torch",
        numbers="1.2",
    ),
    Home(
        "mmengine",
        ("python", *YAML_JSON),
        re.compile(r"(.*\.)?optim_wrapper(\..+)?\.optimizer|optimizer"),
        typed=("type",),
        on_null=CONSTRUCTOR,
        missing="torch",
    ),
    Home(
        "mmengine",
        ("python", *YAML_JSON),
        re.compile(r"(.*\.)?optim_wrapper(\..+)?\.optimizer"),
        on_null=CONSTRUCTOR,
    ),
    Home("Python", ("python",), ANYWHERE, typed=("_target_",), on_null=CONSTRUCTOR),
    Home(
        "torchtitan",
        ("toml",),
        re.compile(r"optimizer"),
        on_null="torchtitan refuses it while it reads the config: weight_decay must be a float",
        missing="default",
    ),
    Home(
        "axolotl",
        DATA,
        TOP,
        top_has=("base_model",),
        on_null="axolotl itself takes 0.0 for it; other readers of the same file may not",
        numbers="any",
        covers=False,
    ),
    Home(
        "LLaMA-Factory",
        DATA,
        TOP,
        top_has=("finetuning_type", "dataset_dir", "cutoff_len", "template"),
        on_null="the Trainer puts it into a parameter group: TypeError at the first optimizer step",
        covers=False,
    ),
    Home(
        "Hugging Face",
        DATA,
        TOP,
        on_null="the Trainer puts it into a parameter group: TypeError at the first optimizer step",
        covers=False,
    ),
    Home(
        "Hugging Face",
        DATA,
        re.compile(r"(.*\.)?train(er|ing)?_?arg(ument)?s"),
        on_null="the Trainer puts it into a parameter group: TypeError at the first optimizer step",
        covers=False,
    ),
)
# No framework known by name, but optimizer settings by the look of them: asked when no row above fits.
LOOK_ALIKES: tuple[Home, ...] = (
    Home(
        "optimizer settings",
        EVERY,
        re.compile(r"(.*\.)?(\w+_)?(opt|optim|optimi[sz]er)(s|_\w+)?(\..*)?"),
        on_null=CONSTRUCTOR,
    ),
    Home("optimizer settings", EVERY, ANYWHERE, has=RATES, on_null=CONSTRUCTOR, covers=False),
)


def names_optimizer(name: str) -> bool:
    """Tell whether a class path or a type is that of an optimizer."""
    return bool(name) and OPTIMIZER.fullmatch(name) is not None and NOT_OPTIMIZER.search(name) is None


def default_of(name: str) -> str | None:
    """Return the weight decay that an optimizer takes when none is given, where it is not the usual 0."""
    return DEFAULTS.get(re.split(r"[.:]", name)[-1].lower())
