"""Rows of nn, of the base class of optimizers, of distributed and of extensions: cases that no example covers."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import types
from collections import OrderedDict

import pytest
import torch
from torch import nn

import shim
from shim.releases import release

HERE = release(torch.__version__).numbers


@pytest.fixture
def row(request):
    shim.activate(request.param)
    yield request.param
    shim.deactivate()


@pytest.mark.skipif(HERE < (2, 0, 0), reason="is_causal exists since torch 2.0")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", ["is_causal"], indirect=True)
class TestIsCausal:
    def test_current_layers_are_called_by_torch_itself(self, row):
        seen = []

        class Takes(nn.TransformerEncoderLayer):
            def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
                seen.append(is_causal)
                return src

        mask = nn.Transformer.generate_square_subsequent_mask(3)
        nn.TransformerEncoder(Takes(4, 1, 4), 2)(torch.zeros(3, 1, 4), mask, is_causal=True)
        assert seen == [True, True]

    def test_any_module_may_be_a_layer_and_gets_the_masks_as_they_are(self, row):
        class Layer(nn.Module):
            def forward(self, src, src_mask=None, src_key_padding_mask=None):
                assert src_mask.dtype == torch.bool and src_key_padding_mask is None
                return src + 1

        encoder = nn.TransformerEncoder(Layer(), 2, norm=nn.Identity())
        assert encoder(torch.zeros(3, 1, 2), torch.ones(3, 3, dtype=torch.bool)).sum().item() == 12

    def test_a_decoder_calls_a_layer_without_is_causal(self, row):
        class Layer(nn.Module):
            def forward(self, tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None,
                        memory_key_padding_mask=None):  # fmt: skip
                return tgt + memory

        assert nn.TransformerDecoder(Layer(), 2)(torch.zeros(1, 1, 2), torch.ones(1, 1, 2)).sum().item() == 4


@pytest.mark.parametrize("row", ["Optimizer.__init__"], indirect=True)
@pytest.mark.skipif(HERE < (2, 1, 0), reason="the hooks exist since torch 2.0 and 2.1")
def test_no_two_optimizers_share_their_hooks(row):
    class Bare(torch.optim.Optimizer):
        def __init__(self, parameters):
            self.param_groups, self.state, self.defaults = [{"params": list(parameters)}], {}, {}

        def step(self):
            pass

    one, other = Bare([]), Bare([])
    calls = []
    one.register_step_pre_hook(lambda *args: calls.append(args[0]))
    assert not other._optimizer_step_pre_hooks and len(one._optimizer_step_pre_hooks) == 1
    for optimizer in (one, other):
        optimizer.zero_grad()  # it wraps step, as __init__ does
        optimizer.step()
    assert calls == [one]
    with pytest.raises(AttributeError, match="'Bare' object has no attribute 'anything'"):
        _ = one.anything
    assert not hasattr(one, "anything")
    assert not hasattr(torch.optim.Optimizer, "__getattr__")  # it would slow every attribute down


@pytest.mark.skipif(HERE < (1, 7, 0), reason="torch up to 1.6 accepts them itself")
@pytest.mark.parametrize("row", ["torch.nn.utils.rnn.pack_padded_sequence"], indirect=True)
def test_lengths_from_elsewhere_are_copied_to_the_cpu(row):
    class Elsewhere(torch.Tensor):
        device = types.SimpleNamespace(type="cuda")
        is_cpu = False

        def cpu(self):
            return torch.tensor([2, 1])

    pack = torch.nn.utils.rnn.pack_padded_sequence
    x = torch.arange(4.0).reshape(2, 2, 1)
    packed, expected = pack(x, Elsewhere([9, 9]), batch_first=True), pack(x, torch.tensor([2, 1]), batch_first=True)
    assert torch.equal(packed.data, expected.data) and torch.equal(packed.batch_sizes, expected.batch_sizes)
    assert torch.equal(pack(x, [2, 1], True).data, expected.data)


@pytest.mark.skipif(HERE < (2, 9, 0), reason="dynamo=True is the default since 2.9")
def test_the_exporter_is_the_tracing_one(monkeypatch):
    import torch.onnx

    seen = []
    monkeypatch.setattr(torch.onnx, "export", lambda *args, **kwargs: seen.append((args, kwargs)))
    shim.activate("torch.onnx.export")
    try:
        torch.onnx.export("model", "args", f="file")
        torch.onnx.export("model", dynamo=True)
    finally:
        shim.deactivate()
    assert seen == [(("model", "args"), {"f": "file", "dynamo": False}), (("model",), {"dynamo": True})]


@pytest.mark.skipif(HERE < (2, 1, 0), reason="C++14 is enough up to torch 2.0")
def test_an_extension_that_asks_for_cpp14_builds(tmp_path):
    pytest.importorskip("setuptools")
    (tmp_path / "ours.cpp").write_text("""
        #include <Python.h>
        #include <ATen/ATen.h>
        static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "ours", nullptr, -1, nullptr};
        PyMODINIT_FUNC PyInit_ours() {
            PyObject *module = PyModule_Create(&definition);
            PyModule_AddIntConstant(module, "standard", __cplusplus);
            return module;
        }
    """)
    (tmp_path / "setup.py").write_text("""
from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CppExtension
extension = CppExtension("ours", ["ours.cpp"], extra_compile_args=["-O0", "-Wfatal-errors", "-std=c++14"])
setup(name="ours", ext_modules=[extension], cmdclass={"build_ext": BuildExtension.with_options(use_ninja=False)})
""")

    def build(**env):
        command = [sys.executable, "-W", "ignore", "setup.py", "build_ext", "--inplace"]
        return subprocess.run(command, cwd=tmp_path, env={**os.environ, **env}, capture_output=True, text=True)

    plain = build()
    assert plain.returncode != 0
    from shim.explain import explain

    row = "-std=c++17" if HERE >= (2, 14, 0) else "-std=c++14"
    assert [answer.name for answer in explain(plain.stdout + plain.stderr)] == [row]
    checkout = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    mended = build(PYTHONPATH=checkout, SHIM_FOR="2.0")
    assert mended.returncode == 0, mended.stderr
    code = "import torch, ours; print(ours.standard >= 201703)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout == "True\n", ran.stderr


@pytest.mark.skipif(HERE < (1, 5, 0), reason="this torch has AT_CHECK")
@pytest.mark.parametrize("row", ["AT_CHECK"], indirect=True)
def test_an_extension_is_built_with_at_check_as_torch_check(row):
    pytest.importorskip("setuptools")
    from torch.utils import cpp_extension

    assert ("AT_CHECK", "TORCH_CHECK") in cpp_extension.CppExtension("ours", ["ours.cpp"]).define_macros
    own = cpp_extension.CppExtension("ours", ["ours.cpp"], define_macros=[("A", None), ("AT_CHECK", "mine")])
    assert ("A", None) in own.define_macros and ("AT_CHECK", "TORCH_CHECK") not in own.define_macros


@pytest.mark.skipif(HERE < (1, 5, 0), reason="this torch has AT_CHECK")
@pytest.mark.parametrize("row", ["AT_CHECK of load"], indirect=True)
def test_load_defines_at_check_beside_the_flags_that_are_given(row):
    import inspect

    from torch.utils import cpp_extension

    around = inspect.getclosurevars(cpp_extension.load).nonlocals["how"]
    for given in ({}, {"extra_cflags": ["-O0"]}):
        seen = around(lambda name, sources, extra_cflags=None, extra_cuda_cflags=None, verbose=False: (
            extra_cflags, extra_cuda_cflags, verbose), "ours", ["ours.cpp"], verbose=True, **given)  # fmt: skip
        assert seen == ([*given.get("extra_cflags", []), "-DAT_CHECK=TORCH_CHECK"], ["-DAT_CHECK=TORCH_CHECK"], True)


def test_a_callable_module_is_the_same_module_and_is_restored():
    import torch.fft as before

    kind = type(before)
    if not isinstance(before, types.ModuleType):
        pytest.skip("torch.fft is a function up to 1.7")
    shim.activate("torch.fft")
    try:
        import torch.fft as during

        assert during is before and isinstance(during, types.ModuleType) and during.fftn(torch.ones(2)).sum() == 2
        with pytest.raises(TypeError):
            torch.fft()
    finally:
        shim.deactivate()
    assert type(before) is kind and not callable(before)


@pytest.mark.skipif(HERE < (2, 0, 0), reason="torch up to 1.13 has torch._six")
def test_a_restored_module_is_found_and_its_functions_compute_the_same():
    import importlib.util
    import pickle

    shim.activate("torch._six")
    try:
        import torch._six as six

        assert importlib.util.find_spec("torch._six").name == "torch._six" == six.__name__
        with pytest.raises(ModuleNotFoundError):
            importlib.reload(six)
        assert six.bind_method(lambda self: self + 1, 3, int)() == 4
        assert six.StringIO is six.io.StringIO and six.inf == six.math.inf and six.types is types and six.sys is sys
        assert pickle.loads(pickle.dumps(six.get_function_from_type)) is six.get_function_from_type
    finally:
        shim.deactivate()
    assert importlib.util.find_spec("torch._six") is None


def test_a_class_made_with_metaclass_has_its_own_bases():
    from shim.rows.moved import torch_six

    class Meta(type):
        pass

    class Base:
        pass

    class Made(torch_six()["with_metaclass"](Meta, Base)):
        pass

    assert type(Made) is Meta and Made.__mro__ == (Made, Base, object)


@pytest.mark.skipif(HERE < (1, 12, 0), reason="this torch has _sync_params")
@pytest.mark.parametrize("row", ["DistributedDataParallel._sync_params"], indirect=True)
def test_sync_params_sends_the_buffers_that_are_there_now(row, tmp_path):
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'x'}", rank=0, world_size=1)
    try:
        ddp = nn.parallel.DistributedDataParallel(nn.BatchNorm1d(2))
        ddp.module.running_mean = torch.full((2,), 3.0)
        sent = []
        ddp._distributed_broadcast_coalesced = lambda buffers, *how: sent.extend(buffers)
        ddp._sync_params()
        assert any(each is ddp.module.running_mean for each in sent)
        ddp.require_forward_param_sync = False
        sent.clear()
        ddp._sync_params()
        assert sent == []
    finally:
        distributed.destroy_process_group()


@pytest.fixture
def of_1_4():
    shim.activate(written_for="1.4")
    yield
    shim.deactivate()


@pytest.mark.skipif(HERE < (1, 7, 0), reason="torch up to 1.6 sorts them itself")
def test_a_dictionary_of_modules_is_sorted_by_name(of_1_4):
    assert list(nn.ModuleDict({"b": nn.ReLU(), "a": nn.ReLU()})) == ["a", "b"]
    ordered = OrderedDict([("b", nn.ReLU()), ("a", nn.ReLU())])
    assert list(nn.ModuleDict(ordered)) == list(nn.ModuleDict([*ordered.items()])) == ["b", "a"]
    assert list(nn.ModuleDict(nn.ModuleDict(ordered))) == ["b", "a"] and list(nn.ModuleDict()) == []


@pytest.mark.skipif(HERE < (2, 7, 0), reason="older releases accept verbose themselves")
@pytest.mark.filterwarnings("ignore")
def test_a_plateau_takes_verbose_as_it_did_before_the_other_schedulers(of_1_4, capsys):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, verbose=True)
    scheduler.step(1.0)
    scheduler.step(1.0)
    assert capsys.readouterr().out == "Epoch 00002: reducing learning rate of group 0 to 1.0000e-01.\n"
    with pytest.raises(TypeError, match="verbose"):
        torch.optim.lr_scheduler.StepLR(optimizer, 1, verbose=True)


def test_an_optimizer_that_hands_on_what_it_lacks_keeps_the_defaults_of_the_other(of_1_4):
    class Around(torch.optim.Optimizer):
        def __init__(self, optimizer):
            self.optimizer, self.param_groups, self.state = optimizer, optimizer.param_groups, {}

        def __getattr__(self, attribute):
            return getattr(self.optimizer, attribute)

    optimizer = Around(torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.5))
    optimizer.zero_grad()
    optimizer.__setstate__({})
    assert "defaults" not in vars(optimizer) and optimizer.defaults["lr"] == 0.5


@pytest.mark.filterwarnings("ignore:inspect.getargspec")
def test_getargspec_leaves_out_what_came_to_torch_later_and_no_other_keyword(of_1_4):
    def of_the_program(a, *, b=1):
        pass

    assert inspect.getargspec(torch.optim.SGD.__init__).args[:3] == ["self", "params", "lr"]
    assert inspect.getargspec(nn.Linear.__init__).varargs is None
    with pytest.raises(ValueError, match="keyword-only parameters or annotations"):
        inspect.getargspec(of_the_program)
