"""Where each framework keeps optimizer settings, and what it does with a weight decay that is not a number.

A row of ``HOMES`` describes mappings in which ``weight_decay`` belongs to an optimizer. The first row that fits is
taken. Sources:

- nanotron's OptimizerArgs (``weight_decay: float``):
  https://github.com/huggingface/nanotron/blob/v0.5/src/nanotron/config/config.py#L285
- DeepSpeed's FusedAdam (used unchecked in the step):
  https://github.com/deepspeedai/DeepSpeed/blob/v0.19.5/deepspeed/ops/adam/fused_adam.py#L181
- axolotl's trainer builder (``0.0`` for None, as the Trainer's default):
  https://github.com/axolotl-ai-cloud/axolotl/blob/v0.18.0/src/axolotl/core/builders/base.py#L657
- the Trainer's parameter groups:
  https://github.com/huggingface/transformers/blob/v5.24.0/src/transformers/trainer.py#L1278
- mmengine's DefaultOptimWrapperConstructor (``base_wd should not be None``):
  https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/optim/optimizer/default_constructor.py#L155
- jsonargparse's refusal of null for a float:
  https://github.com/mauvilsa/jsonargparse/blob/v4.53.0/jsonargparse/_typehints.py#L1423
- Keras' optimizer configs: https://github.com/keras-team/keras/blob/v3.15.1/keras/src/optimizers/base_optimizer.py#L953
"""

from __future__ import annotations

import re
from typing import NamedTuple, Pattern

YAML_JSON = ("yaml", "json", "jsonc")
DATA = (*YAML_JSON, "toml")
EVERY = (*DATA, "python")

RESEMBLES = re.compile(r"(?i)weight[-_ ]?decay")

# Classes that take weight_decay as a number, by their whole names: torch's own, and those of bitsandbytes,
# lion-pytorch, prodigyopt, pytorch_optimizer, schedulefree, torch-optimi, apex, DeepSpeed and mmcv's registry. Names
# that are ordinary words (Alice, DASH, FOCUS, TAM, ...) are left out.
_TORCH = """
    ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax Muon NAdam RAdam RMSprop SGD
"""
_OTHERS = """
    ADOPT APOLLO AccSGD AdEMAMix AdaBelief AdaBound AdaDelta AdaFactor AdaHessian AdaLOMO AdaMax AdaMod AdaMuon AdaNorm
    AdaPNM AdaSmooth Adagrad8bit Adagrad32bit Adai Adalite Adam8bit Adam32bit AdamC AdamG AdamMini AdamP AdamS
    AdamW8bit AdamW32bit AdamWScheduleFree Adan AdEMAMix8bit AdEMAMix32bit AggMo ApolloDQN AvaGrad DAdaptAdaGrad
    DAdaptAdam DAdaptAdan DAdaptLion DAdaptSGD DeepSpeedCPUAdam DiffGrad DistributedMuon EXAdam FAdam FlashAdamW
    FusedAdam FusedLAMB FusedLion FusedNovoGrad FusedSGD GaLore GrokFastAdamW Kron LAMB LAMB8bit LAMB32bit LARS LARS8bit
    LARS32bit LaProp Lamb Lion Lion8bit Lion32bit MADGRAD MARS MuonClip NorMuon NovoGrad OneBitAdam OneBitLamb
    PagedAdam PagedAdam8bit PagedAdam32bit PagedAdamW PagedAdamW8bit PagedAdamW32bit PagedLion PagedLion8bit
    PagedLion32bit Prodigy PytorchLARS QHAdam QHM RAdamScheduleFree RMSprop8bit RMSprop32bit RMSpropTF Ranger Ranger21
    SCION SGD8bit SGD32bit SGDP SGDScheduleFree SGDW SOAP ScalableShampoo ScheduleFreeAdamW ScheduleFreeRAdam
    ScheduleFreeSGD Shampoo SignSGD SophiaG SophiaH StableAdamW SWATS Yogi ZeroOneAdam
"""
# As registries spell them.
_LOWER = """
    adam adamw sgd adagrad rmsprop radam nadam adamax lion lamb lars muon adopt adafactor
"""
TORCH, OTHERS, LOWER = (frozenset(names.split()) for names in (_TORCH, _OTHERS, _LOWER))
# The modules in which a class of such a name is the one that was run.
LIBRARIES = re.compile(
    r"(torch\.optim(?!\.(swa_utils|lr_scheduler))|bitsandbytes|bnb|lion_pytorch|prodigyopt|pytorch_optimizer|schedulefree|optimi|timm\.optim|apex"
    r"|transformers\.optimization|deepspeed\.ops|shim\.adopt)(\.\w+)*"
)
# Other libraries than torch's: a null need not be an error there, and a class of the same name is a different class.
ELSEWHERE = re.compile(
    r"(?i)(^|[^a-z])(paddle\w*|tensorflow\w*|tf|keras|jax|flax|optax|mindspore|mxnet|sklearn)([^a-z]|$)"
)
# The defaults of torch's optimizers that are not 0.
DEFAULTS = {"adamw": "0.01", "nadamw": "0.01", "muon": "0.1"}
# No class path is longer.
LONGEST_NAME = 200

TYPES = ("_target_", "_component_", "class_path", "type", "name")
RATES = ("lr", "learning_rate", "base_lr", "LR", "LEARNING_RATE", "BASE_LR")


def path(*keys: str) -> tuple[Pattern[str], ...]:
    """Return the patterns of the last keys of a path, without list indices; each fits one whole key."""
    return tuple(re.compile(key) for key in keys)


class Home(NamedTuple):
    """A place where an optimizer's settings are kept.

    Args:
        framework: its name, as reported.
        formats: the formats it occurs in.
        at: what the path of the mapping ends with, see ``path``. Empty: any path.
        top: nothing stands above ``at``.
        under: a key further up fits this.
        has: at least ``least`` of these keys must be in the mapping, with something else than null.
        top_has: one of these keys must be at the top of the document, with something else than null. Empty: no
            condition.
        typed: one of these keys must name an optimizer. Empty: no condition.
        on_null: what a null does to a run. Empty: it reaches the optimizer as it is.
        missing: what a missing key does: "required", "torch" (the default of torch's optimizer) or "default"
            (the default of some other code). Empty: it is not reported.
        numbers: which strings the framework reads as numbers: those of YAML "1.1" (a plain ``1e-5`` is none), of
            "1.2", or "any" string that Python's ``float`` takes.
        covers: mappings further down, such as parameter groups, belong to it as well.
        known: False where nothing says which framework reads it.
        ignored: this only looks like optimizer settings of torch; nothing in it is reported.
        multiplied: a multiplier in ``paramwise_cfg`` fails on a null.
        may_be_template: a null learning rate beside the weight decay marks a form that is filled in later.

    """

    framework: str
    formats: tuple[str, ...]
    at: tuple[Pattern[str], ...] = ()
    top: bool = False
    under: Pattern[str] | None = None
    has: tuple[str, ...] = ()
    least: int = 1
    top_has: tuple[str, ...] = ()
    typed: tuple[str, ...] = ()
    on_null: str = ""
    missing: str = ""
    numbers: str = "1.1"
    covers: bool = True
    known: bool = True
    ignored: bool = False
    multiplied: bool = False
    may_be_template: bool = False


TRAINER = "the Trainer puts it into a parameter group: TypeError at the first optimizer step"
MMENGINE_KEYS = (
    "optimizer_config", "lr_config", "param_scheduler", "default_hooks", "default_scope", "train_dataloader"
)  # fmt: skip
MMENGINE = Home("mmengine", ("python", *YAML_JSON), path("optimizer"), multiplied=True)
BUNDLE = ("bundle_root", "network_def")
WRAPPER = re.compile("optim_wrapper")
NANOTRON = ("optimizer_factory", "zero_stage", "learning_rate_scheduler", "accumulate_grad_in_fp32")

HOMES: tuple[Home, ...] = (
    # None is the default of Keras' optimizers, and means no decay.
    Home("Keras", EVERY, has=("use_ema", "ema_momentum", "jit_compile", "is_legacy_optimizer"), least=2, ignored=True),
    Home("Keras", EVERY, path("compile_config", "optimizer", "config"), ignored=True),
    Home("Keras", EVERY, path("optimizer_config", "config"), ignored=True),
    # In a search space, a null removes a dimension.
    Home("a search space", EVERY, path("search_space|hp_space|sweep|sweeper"), ignored=True),
    Home(
        "nanotron",
        YAML_JSON,
        path("optimizer"),
        top=True,
        has=NANOTRON,
        least=2,
        on_null="nanotron refuses it while it reads the config: weight_decay must be a float",
        missing="required",
    ),
    Home(
        "DeepSpeed",
        DATA,
        path("optimizer", "params"),
        on_null="DeepSpeed passes it to the optimizer: TypeError in its constructor or at the first step",
        missing="default",
    ),
    Home(
        "Lightning CLI",
        YAML_JSON,
        path("init_args"),
        typed=("class_path",),
        on_null="jsonargparse refuses it where the class says float; else the optimizer raises TypeError",
        missing="torch",
        numbers="1.2",
    ),
    Home(
        "Lightning CLI",
        YAML_JSON,
        path(r"model|optimizer\w*", "init_args"),
        on_null="jsonargparse refuses it where the class says float; else it reaches the class as None",
        numbers="1.2",
        covers=False,
    ),
    Home("MONAI", YAML_JSON, typed=("_target_",), top_has=BUNDLE, missing="torch", numbers="1.2"),
    Home("hydra", YAML_JSON, typed=("_target_",), missing="torch", numbers="1.2"),
    Home("torchtune", YAML_JSON, typed=("_component_",), missing="torch", numbers="1.2"),
    MMENGINE._replace(under=WRAPPER, typed=("type",), missing="torch"),
    MMENGINE._replace(formats=("python",), top=True, typed=("type",), missing="torch"),
    MMENGINE._replace(formats=YAML_JSON, top=True, typed=("type",), top_has=MMENGINE_KEYS, missing="torch"),
    MMENGINE._replace(under=WRAPPER),
    Home("Python", ("python",), typed=("_target_",)),
    Home(
        "torchtitan",
        ("toml",),
        path("optimizer"),
        top=True,
        typed=("name",),
        on_null="torchtitan refuses it while it reads the config: weight_decay must be a float",
        missing="default",
    ),
    Home(
        "axolotl",
        DATA,
        top=True,
        top_has=("base_model",),
        on_null="axolotl itself takes 0.0 for it; other readers of the same file may not",
        numbers="any",
        covers=False,
    ),
    Home(
        "LLaMA-Factory",
        DATA,
        top=True,
        top_has=("finetuning_type", "dataset_dir", "cutoff_len", "template"),
        on_null=TRAINER,
        covers=False,
    ),
    Home(
        "Hugging Face",
        DATA,
        top=True,
        top_has=(
            "per_device_train_batch_size", "num_train_epochs", "output_dir", "model_name_or_path", "lr_scheduler_type",
            "gradient_accumulation_steps", "warmup_ratio", "gradient_checkpointing",
        ),
        on_null=TRAINER,
        covers=False,
        may_be_template=True,
    ),
    Home(
        "Hugging Face",
        DATA,
        path("train(er|ing)?_?arg(ument)?s"),
        on_null=TRAINER,
        covers=False,
        may_be_template=True,
    ),
)  # fmt: skip
# Mappings that look like optimizer settings of a framework that is not known by name: used where no row above fits.
UNSEEN = "the file does not show which program reads it"
LOOK_ALIKE = Home(
    "optimizer settings",
    EVERY,
    on_null=f"{UNSEEN}; an optimizer of torch that gets the None raises TypeError",
    known=False,
    covers=False,
    may_be_template=True,
)
LOOK_ALIKES: tuple[Home, ...] = (
    LOOK_ALIKE._replace(at=path(r"(?i)(\w+_)?(opt|optim|optimi[sz]er)(s|_\w+)?"), covers=True),
    LOOK_ALIKE._replace(at=path(r"(?i)param_?groups"), covers=True),
    LOOK_ALIKE._replace(at=path(r"(?i)solver|train")),
    LOOK_ALIKE._replace(has=RATES),
    LOOK_ALIKE._replace(top=True, formats=DATA),
)
# The keys that a row, places.py or findings.py looks up in a mapping.
ASKED = frozenset(
    ["weight_decay", "WEIGHT_DECAY", "params", "paramwise_cfg", "custom_keys", "_delete_", "_args_", *TYPES, *RATES]
    + [key for row in HOMES for key in (*row.has, *row.typed)]
)

# The signs of a file that is read with OmegaConf, which takes 1e-5 for a number: one of hydra, of LLaMA-Factory, or of
# NeMo (its optim holds a sched).
OMEGACONF = re.compile(
    r"(?m)\$\{|^[ \t]*(-[ \t]+)?(_target_|_component_)[ \t]*:|^# @package\b|^defaults[ \t]*:|:[ \t]+\?\?\?[ \t]*(#|$)"
    r"|^(finetuning_type|dataset_dir|cutoff_len|template|exp_manager)[ \t]*:|^[ \t]+sched[ \t]*:[ \t]*(#|$)"
)


def class_name(name: str) -> str:
    """Return the last part of a class path: ``AdamW`` of ``torch.optim.AdamW``."""
    return re.split(r"[.:]", name)[-1]


def names_optimizer(name: str) -> bool:
    """Tell whether a class path or a type is that of an optimizer that takes weight_decay as a number."""
    if not name or len(name) > LONGEST_NAME or ELSEWHERE.search(name):
        return False
    last = class_name(name)
    return last in TORCH or last in OTHERS or name in LOWER


def surely(name: str) -> bool:
    """Tell whether the name is that of a class that was run: a bare name, or one in a library that is known."""
    module = name[: -len(class_name(name)) - 1]
    return names_optimizer(name) and (not module or LIBRARIES.fullmatch(module) is not None)


def constructor_says(name: str) -> str:
    """Return what the constructor of an optimizer does with a None; for torch's classes, with the message."""
    last = class_name(name)
    if last not in TORCH or not surely(name):
        return "the optimizer raises TypeError, in its constructor or at its first step"
    types = "'<' not supported between instances of 'NoneType' and 'float'"
    if last != "SGD":
        types = "'<=' not supported between instances of 'float' and 'NoneType'"
    return f"the optimizer's constructor raises TypeError ({types})"


def step_says(name: str) -> str:
    """Return what happens to a None in a parameter group; for torch's classes, with the message."""
    words = "a None in a parameter group passes the constructor; step() raises TypeError"
    last = class_name(name)
    if last not in TORCH or not surely(name):
        return words
    if last in ("AdamW", "Adafactor", "Muon"):
        return words + " (unsupported operand type(s) for *: 'float' and 'NoneType')"
    return words + " (add(): argument 'alpha' must be Number, not NoneType)"


def default_of(name: str) -> str | None:
    """Return the default weight decay of an optimizer, where it is not the usual 0."""
    return DEFAULTS.get(class_name(name).lower())
