"""With the patch named resume, checkpoints of other releases load, and all others load as without it."""

from __future__ import annotations

import copy
import functools
import inspect

import pytest
import torch
from optimizer_steps import OPTIMIZERS, RELEASE, parameters, step


class TestResume:
    @staticmethod
    def checkpoint(make, change):
        """Return parameters after a step, and the state of their optimizer, converted to that of another release."""
        before_it = parameters(2)
        optimizer = make(before_it)
        step(optimizer)
        saved = copy.deepcopy(optimizer.state_dict())
        change(saved)
        step(optimizer, 2)
        return saved, [parameter.detach() for parameter in before_it]

    @staticmethod
    def resume(make, saved):
        resumed = parameters(2)
        optimizer = make(resumed)
        step(optimizer)
        optimizer.load_state_dict(saved)
        step(optimizer, 2)
        return [parameter.detach() for parameter in resumed]

    @staticmethod
    def tensor_and_number(saved):
        first, second = saved["state"].values()
        first["step"] = torch.tensor(float(first["step"]))
        second["step"] = int(second["step"])

    @staticmethod
    def tensors(saved):
        for state in saved["state"].values():
            state["step"] = torch.tensor(float(state["step"]))

    @pytest.mark.skipif(not (1, 12) <= RELEASE < (2, 0), reason="bites on torch 1.12 and 1.13")
    @pytest.mark.parametrize("name", ["Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "NAdam", "RAdam"])
    def test_a_step_number_among_step_tensors_loads(self, mended, name):
        make = getattr(torch.optim, name)
        saved, expected = self.checkpoint(make, self.tensor_and_number)
        with pytest.raises((RuntimeError, AttributeError), match="singleton tensors|has no attribute 'item'"):
            self.resume(make, saved)
        mended("resume")
        assert all(torch.equal(*pair) for pair in zip(self.resume(make, saved), expected))

    @pytest.mark.skipif(not (1, 9) <= RELEASE < (1, 12), reason="bites on torch 1.9 to 1.11")
    def test_step_tensors_where_numbers_are_usual_load(self, mended):
        make = torch.optim._multi_tensor.Adam
        saved, expected = self.checkpoint(make, self.tensors)
        with pytest.raises(TypeError, match="_foreach_addcdiv_"):
            self.resume(make, saved)
        mended("resume")
        assert all(torch.equal(*pair) for pair in zip(self.resume(make, saved), expected))

    @pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "RMSprop", "Rprop"])
    @pytest.mark.parametrize("change", ["tensors", "tensor_and_number"])
    def test_any_kind_of_step_counter_gives_the_same_result(self, mended, name, change):
        if not hasattr(torch.optim, name):
            pytest.skip(f"this torch has no {name}")
        make = getattr(torch.optim, name)
        saved, expected = self.checkpoint(make, getattr(self, change))
        mended("resume")
        assert all(torch.equal(*pair) for pair in zip(self.resume(make, saved), expected))

    #: Options that releases since 1.4 have added to the groups of their optimizers.
    ADDED = ("capturable", "decoupled_weight_decay", "differentiable", "foreach", "fused", "maximize")

    @pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ("LBFGS", "SparseAdam")])
    def test_the_keys_that_newer_releases_have_added_keep_the_values_they_have(self, mended, name):
        def lacks_them(saved):
            for key in self.ADDED:
                saved["param_groups"][0].pop(key, None)

        cls = getattr(torch.optim, name)
        takes = inspect.signature(cls.__init__).parameters
        make = functools.partial(cls, **({"maximize": True} if "maximize" in takes else {}))
        saved, expected = self.checkpoint(lambda params: make(params, lr=0.1), lacks_them)
        mended("resume")
        assert all(
            torch.equal(*pair) for pair in zip(self.resume(lambda params: make(params, lr=0.1), saved), expected)
        )

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_an_optimizer_can_load_repeatedly(self, mended, name):
        def loaded():
            optimizer = getattr(torch.optim, name)(parameters(1), lr=0.25)
            saved = optimizer.state_dict()
            for _ in range(3):
                optimizer.load_state_dict(saved)
            optimizer.load_state_dict(optimizer.state_dict())
            return str(optimizer.param_groups)

        before_it = loaded()
        mended("resume")
        assert loaded() == before_it

    def test_a_checkpoint_may_be_given_as_a_keyword(self, mended):
        first, second = (torch.optim.SGD(parameters(), lr=0.1) for _ in range(2))
        saved = first.state_dict()
        added = set(self.ADDED).intersection(saved["param_groups"][0])
        for key in added:
            del saved["param_groups"][0][key]
        mended("resume")
        second.load_state_dict(state_dict=saved)
        assert added <= set(second.param_groups[0])

    def test_entries_of_the_program_in_the_state_stay(self, mended):
        def loaded():
            optimizer = torch.optim.Adam(parameters(), lr=0.1)
            saved = optimizer.state_dict()
            saved["state"]["history"] = {"step": 7}
            optimizer.load_state_dict(saved)
            return repr(optimizer.state["history"])  # torch 1.12 to 2.0 converts it, too

        before_it = loaded()
        mended("resume")
        assert loaded() == before_it

    @pytest.mark.parametrize("name", ["Adam", "SGD"])
    @pytest.mark.parametrize("missing", ["lr", "weight_decay"])
    def test_any_other_missing_key_raises_torchs_error(self, mended, name, missing):
        def make(params):
            return getattr(torch.optim, name)(params, lr=0.1)

        saved, _ = self.checkpoint(make, lambda saved: saved["param_groups"][0].pop(missing))
        mended("resume")
        with pytest.raises(KeyError, match=missing):
            self.resume(make, saved)

    @pytest.mark.parametrize(
        "ours, theirs", [(ours, theirs) for ours in OPTIMIZERS for theirs in OPTIMIZERS if ours != theirs]
    )
    def test_a_checkpoint_of_another_optimizer_loads_as_without_the_patch(self, mended, ours, theirs):
        def loaded():
            first, second = (getattr(torch.optim, each)(parameters(1), lr=0.25) for each in (theirs, ours))
            saved = first.state_dict()
            saved["param_groups"][0].update(lr=0.5)
            try:
                second.load_state_dict(saved)
            except (KeyError, RuntimeError, ValueError) as error:
                return repr(error)
            return {key: value for key, value in second.param_groups[0].items() if key != "params"}

        before_it = loaded()
        mended("resume")
        assert loaded() == before_it

    @pytest.mark.parametrize("name", OPTIMIZERS)
    @pytest.mark.parametrize(
        "more",
        [{"epoch": 3}, {"note": "a"}, {"list": [1, {"step": 2}]}, {"dict": {"a": 1}}, {"tensor": torch.ones(2)}],
        ids=str,
    )
    def test_a_state_may_hold_entries_of_no_parameter(self, mended, name, more):
        def loaded():
            first, second = (getattr(torch.optim, name)(parameters(1), lr=0.25) for _ in range(2))
            first.state.update(more)
            try:
                second.load_state_dict(first.state_dict())
            except (IndexError, KeyError, TypeError) as error:  # up to torch 2.2, some optimizers read its step
                return repr(error)
            return {key: str(second.state[key]) for key in more}

        before_it = loaded()
        assert RELEASE < (2, 3) or before_it == {key: str(value) for key, value in more.items()}
        mended("resume")
        assert loaded() == before_it

    @pytest.mark.parametrize("step", [None, True, torch.ones(2), [1]], ids=str)
    def test_a_step_that_is_no_counter_is_unchanged(self, mended, step):
        mended("resume")
        optimizer = torch.optim.SGD(parameters(1), lr=0.25)
        optimizer.state[optimizer.param_groups[0]["params"][0]] = {"step": step}
        saved = optimizer.state_dict()
        optimizer.load_state_dict(saved)
        assert str(list(optimizer.state.values())) == str([{"step": step}])

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_a_checkpoint_of_this_torch_loads_as_without_the_patch(self, mended, name):
        def loaded():
            first, second = (getattr(torch.optim, name)(parameters(2), lr=0.25) for _ in range(2))
            if name not in ("LBFGS", "SparseAdam"):
                step(first, 2)
            second.load_state_dict(first.state_dict())
            return str(list(second.state.values())), str(second.param_groups)

        before_it = loaded()
        mended("resume")
        assert loaded() == before_it

    @pytest.mark.parametrize("saved", [{}, {"state": {}}, {"state": {}, "param_groups": 3}, None, [], {1: 2}], ids=str)
    def test_an_object_that_is_no_checkpoint_raises_torchs_error(self, mended, saved):
        def error():
            with pytest.raises(Exception) as caught:
                torch.optim.SGD(parameters(), lr=0.1).load_state_dict(saved)
            return repr(caught.value)

        before_it = error()
        mended("resume")
        assert error() == before_it

    def test_a_checkpoint_of_another_shape_is_refused_as_before(self, mended):
        optimizer = torch.optim.Adam(parameters())
        mended("resume")
        with pytest.raises(ValueError, match="different number of parameter groups"):
            optimizer.load_state_dict({"state": {}, "param_groups": []})
