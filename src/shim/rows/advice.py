"""Breakages that no patch can mend: what to do."""

from __future__ import annotations

from .row import advice

advice(
    "THC headers",
    "THC/THC.h was removed in 1.11. Include ATen/cuda/CUDAContext.h and c10/cuda/CUDAException.h, and write "
    "C10_CUDA_CHECK for THCudaCheck and at::ceil_div for THCCeilDiv; or build the extension with torch 1.10.",
    r"fatal error: THC/\w+\.c?u?h: No such file or directory",
    works="<1.11",
)
advice(
    "NumPy 2",
    "a torch older than 2.3 was built for NumPy 1 and cannot use NumPy 2: install 'numpy<2', or torch 2.3 or later.",
    (
        r"RuntimeError: Numpy is not available(?! \w)",
        r"A module that was compiled using NumPy 1\.x cannot be run in NumPy 2[\d.]* as it may crash",
    ),
    works=">=2.3",
)
advice(
    "torchvision's build",
    "torch and torchvision are of different builds or releases, and torchvision's operators are not there. torchvision "
    "0.(n+1) belongs to torch 1.n and 0.(n+15) to 2.n: install both at once, from one index, both for the CPU or both "
    "for the same CUDA.",
    (
        r"operator torchvision::\w+ does not exist",
        r"Couldn't load custom C\+\+ ops\. This can happen if your PyTorch and torchvision versions are incompatible",
    ),
    works=">=0.2",
    of="torchvision",
)
advice(
    "half on the CPU",
    "a torch older than 2.2 computes hardly anything in half precision on the CPU. Usually the model was meant "
    "for a GPU that torch does not find (torch.cuda.is_available()). On the CPU use model.float(), bfloat16, or a "
    "newer torch.",
    r"\"[\w.]+\" not implemented for 'Half'",
    works=">=2.2",
)
advice(
    "zip checkpoints",
    "the checkpoint is in the zip format of 1.6 and later. Load it with torch 1.6 or later, and save it again with "
    "torch.save(..., _use_new_zipfile_serialization=False).",
    (
        r"is a zip archive \(did you mean to use torch\.jit\.load\(\)\?\)",
        r"Attempted to read a PyTorch file with version \d+, but the maximum supported version for reading is \d",
    ),
    works=">=1.6",
)
advice(
    "backward after step",
    "optimizer.step() changed the weights of a layer that a later backward() needs as they were. Up to 1.4 the "
    "gradient was silently that of the changed weights. Call every backward() before the first step(), or compute the "
    "second loss again after it.",
    r"modified by an inplace operation: \[[\w.]*FloatTensor \[[\d, ]+\]\], which is output 0 of "
    r"(AsStrided|T)(Backward\d*)?, is at version \d+; expected version \d+ instead",
    works="<1.5",
)
advice(
    "CUDA generator",
    "with a default tensor type or device on the GPU, shuffling draws on the GPU with a generator of the CPU since "
    "1.9. Give DataLoader, RandomSampler and random_split generator=torch.Generator(device='cuda').",
    r"Expected a 'cuda' device type for generator but found 'cpu'",
    works="<1.9",
)
_OF_TORCHTEXT = "Field|RawField|LabelField|NestedField|BucketIterator|TabularDataset"
advice(
    "torchtext",
    "Field, BucketIterator and the old datasets moved to torchtext.legacy in 0.9 and were removed in 0.12; 0.18 was "
    "the last torchtext. Install torchtext 0.8 with torch 1.7, or read the data with plain Python.",
    (
        rf"module 'torchtext\.data' has no attribute '({_OF_TORCHTEXT})'",
        rf"cannot import name '({_OF_TORCHTEXT})' from 'torchtext\.data'",
        r"No module named 'torchtext\.legacy'",
    ),
    works="<0.9",
    of="torchtext",
)
advice(
    "setuptools",
    "torch 1.8 to 2.1 imports packaging from pkg_resources. setuptools 70 removed it from there, and 82 removed "
    "pkg_resources. torch 1.9 and 1.10 need distutils.version to be loaded. Install 'setuptools<59.6' for these two, "
    "'setuptools<70' for the others.",
    (
        r"cannot import name 'packaging' from 'pkg_resources'",
        r"/torch/(torch_version|utils/cpp_extension)\.py\b(?:(?!\bFile ).)*No module named 'pkg_resources'",
        r"module 'distutils' has no attribute 'version'",
    ),
    works="<70",
    of="setuptools",
)
advice(
    "in-place on results of unbind",
    "The results of unbind, and the items of a loop over a tensor, cannot be changed in place under autograd. Write "
    "a = a * 2 for a.mul_(2), or take a.clone() of it first.",
    r"Output \d+ of Unbind\w* is a view and is being modified in-?place\. This view is the output of a function that "
    r"returns multiple views",
    works="<1.5",
)
advice(
    "torch.__version__",
    "torch.__version__ has a build after its numbers (2.1.0+cpu) and two digits in the middle (1.10, 2.13). Compare "
    "packaging.version.parse(torch.__version__).release >= (1, 10), not float(torch.__version__[:3]) or "
    "int() of its parts.",
    (
        r"invalid literal for int\(\) with base 10: '\d+(\+|a0|rc|\.dev|post)\w*",
        r"could not convert string to float: '\d+\.\d+\.\d+\+\w+'",
    ),
    works="",
)
advice(
    "torch.optim._functional",
    "adam, adamw and sgd of torch.optim._functional are internal to torch: they need maximize since 1.11, and count "
    "the steps in tensors themselves since 1.12. TorchScript compiles them, so that no wrapper can stand there. Use "
    "torch.optim.Adam, or give maximize=False and tensors of the steps before this one.",
    r"\b(adam|adamw|sgd)\(\) missing \d required keyword-only arguments?: .*'maximize'",
    works="<1.11",
)
