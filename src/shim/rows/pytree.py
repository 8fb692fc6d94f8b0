"""torch.utils._pytree, which libraries of today use. The module came with 1.8, its public names with 2.2."""

from __future__ import annotations

import sys
from collections import OrderedDict, namedtuple
from functools import partial
from typing import Any, Callable, NamedTuple

from .row import argument, module


@module(
    "torch.utils._pytree",
    works=">=2.2",
    says=(
        r"module 'torch\.utils' has no attribute '_pytree'",
        r"No module named 'torch\.utils\._pytree'",
        r"module 'torch\.utils\._pytree' has no attribute '(register_pytree_node|tree_\w+)'",
        r"cannot import name '(register_pytree_node|tree_\w+)' from 'torch\.utils\._pytree'",
    ),
    example="""
import torch
import torch.utils._pytree as pytree

class Pair:
    def __init__(self, first, second):
        self.first, self.second = first, second

pytree.register_pytree_node(
    Pair, lambda pair: ([pair.first, pair.second], None), lambda values, _: Pair(*values), serialized_type_name="Pair"
)
tree = {"a": Pair(1, [2, 3]), "b": (4, None)}
doubled = pytree.tree_map(lambda leaf: leaf and 2 * leaf, tree)
print(doubled["a"].first, doubled["a"].second, doubled["b"])
leaves, spec = pytree.tree_flatten(tree)
print(leaves, pytree.tree_leaves(tree) == leaves, pytree.tree_unflatten(leaves, spec)["a"].second)
print(pytree.tree_structure(tree) == spec, spec.num_leaves, pytree.tree_all(lambda leaf: leaf, tree))
try:
    pytree.register_pytree_node(Pair, None, None)
except ValueError as error:
    print(str(error).split(">")[1])
""",
)
def pytree() -> dict[str, Any]:
    """torch.utils._pytree came with 1.8, register_pytree_node and tree_leaves with 2.2."""
    # https://github.com/pytorch/pytorch/blob/v1.8.1/torch/utils/_pytree.py#L36
    # https://github.com/pytorch/pytorch/blob/v2.2.2/torch/utils/_pytree.py#L128
    there = sys.modules.get("torch.utils._pytree")
    if "SUPPORTED_NODES" not in vars(there):  # the empty module that the row `pytree` has made for these names
        there = None
    names = vars(there) if there is not None else _trees()
    nodes, flatten = names["SUPPORTED_NODES"], names["tree_flatten"]
    register = names["_register_pytree_node"]

    def register_pytree_node(
        cls: type,
        flatten_fn: Callable[..., Any],
        unflatten_fn: Callable[..., Any],
        *,
        serialized_type_name: str | None = None,
        to_dumpable_context: Any = None,
        from_dumpable_context: Any = None,
        flatten_with_keys_fn: Any = None,
    ) -> None:
        """Register a type as a node; what torch.export alone reads is not kept."""
        if cls in nodes:
            raise ValueError(f"{cls} is already registered as pytree node.")
        register(cls, flatten_fn, unflatten_fn)

    def tree_map(fn: Callable[..., Any], tree: Any) -> Any:
        leaves, spec = flatten(tree)
        return names["tree_unflatten"]([fn(leaf) for leaf in leaves], spec)

    def tree_map_only(kinds: Any, fn: Callable[..., Any], tree: Any) -> Any:
        return tree_map(lambda leaf: fn(leaf) if isinstance(leaf, kinds) else leaf, tree)

    return {
        # 1.9 to 1.13 have the module. It gets the names that it lacks.
        "tree_map": partial(of_several, tree_map),
        "tree_map_only": tree_map_only,
        "tree_all": lambda predicate, tree: all(map(predicate, flatten(tree)[0])),
        "tree_any": lambda predicate, tree: any(map(predicate, flatten(tree)[0])),
        **({} if there is not None else names),
        "register_pytree_node": register_pytree_node,
        "tree_leaves": lambda tree: flatten(tree)[0],
        "tree_structure": lambda tree: flatten(tree)[1],
    }


@argument(
    "torch.utils._pytree:tree_map",
    called="tree_map of several trees",
    works=">=2.3",
    versions=">=1.9",
    says=r"\btree_map\(\) takes 2 positional arguments but \d+ were given",
    example="""
from torch.utils._pytree import tree_map
print(tree_map(lambda a, b: a + b, {"x": [1, (2, 3)]}, {"x": [10, (20, 30)]}), tree_map(abs, [-1, [2]]))
try:
    tree_map(max, [1, 2], [1, 2, 3])
except ValueError:
    print("other trees are refused")
""",
)
def of_several(original: Any, fn: Any, tree: Any, *rests: Any, **options: Any) -> Any:
    """tree_map of torch.utils._pytree takes several trees since 2.3."""
    if not rests or options:
        return original(fn, tree, *rests, **options)
    pytree = sys.modules["torch.utils._pytree"]
    leaves, spec = pytree.tree_flatten(tree)
    others = [pytree.tree_flatten(rest) for rest in rests]
    for _, other in others:
        if other != spec:
            raise ValueError(f"tree_map: the trees have different structures, {spec} and {other}")
    return pytree.tree_unflatten(list(map(fn, leaves, *(flat for flat, _ in others))), spec)


class _Node(NamedTuple):
    flatten_fn: Callable[..., Any]
    unflatten_fn: Callable[..., Any]


class TreeSpec:
    """The structure of a tree: the type of its root, the context that rebuilds it, and its children."""

    def __init__(self, type: Any, context: Any, children_specs: list[TreeSpec]) -> None:
        self.type = type
        self.context = context
        self.children_specs = children_specs
        self.num_leaves: int = sum(spec.num_leaves for spec in children_specs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TreeSpec) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.type, self.num_leaves))

    def __repr__(self) -> str:
        return f"TreeSpec({self.type.__name__}, {self.context}, {self.children_specs})"


class LeafSpec(TreeSpec):
    """The structure of a leaf."""

    def __init__(self) -> None:
        super().__init__(None, None, [])
        self.num_leaves = 1

    def __repr__(self) -> str:
        return "*"


def _trees() -> dict[str, Any]:
    """Make the names that the module has in 1.13."""

    def of_dict(kind: type) -> _Node:
        return _Node(lambda tree: (list(tree.values()), list(tree)), lambda values, keys: kind(list(zip(keys, values))))

    nodes: dict[Any, _Node] = {
        dict: of_dict(dict),
        OrderedDict: of_dict(OrderedDict),
        list: _Node(lambda tree: (tree, None), lambda values, _: list(values)),
        tuple: _Node(lambda tree: (list(tree), None), lambda values, _: tuple(values)),
        namedtuple: _Node(lambda tree: (list(tree), type(tree)), lambda values, kind: kind(*values)),
    }

    def type_of(tree: Any) -> Any:
        kind = type(tree)
        named = kind.__bases__ == (tuple,) and isinstance(getattr(kind, "_fields", None), tuple)
        return namedtuple if named and kind not in nodes else kind

    def register(cls: type, flatten_fn: Callable[..., Any], unflatten_fn: Callable[..., Any]) -> None:
        nodes[cls] = _Node(flatten_fn, unflatten_fn)

    def tree_flatten(tree: Any) -> tuple[list[Any], TreeSpec]:
        kind = type_of(tree)
        if kind not in nodes:
            return [tree], LeafSpec()
        children, context = nodes[kind].flatten_fn(tree)
        flat = [tree_flatten(child) for child in children]
        return [leaf for leaves, _ in flat for leaf in leaves], TreeSpec(kind, context, [spec for _, spec in flat])

    def tree_unflatten(values: Any, spec: TreeSpec) -> Any:
        values = list(values)
        if len(values) != spec.num_leaves:
            raise ValueError(
                f"tree_unflatten(values, spec): `values` has length {len(values)} but the spec refers to a pytree that "
                f"holds {spec.num_leaves} items ({spec})."
            )
        remaining = iter(values)

        def made(spec: TreeSpec) -> Any:
            if isinstance(spec, LeafSpec):
                return next(remaining)
            return nodes[spec.type].unflatten_fn([made(child) for child in spec.children_specs], spec.context)

        return made(spec)

    def tree_map(fn: Callable[..., Any], tree: Any) -> Any:
        leaves, spec = tree_flatten(tree)
        return tree_unflatten([fn(leaf) for leaf in leaves], spec)

    def only(kinds: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
        return lambda leaf: fn(leaf) if isinstance(leaf, kinds) else leaf

    return {
        "LeafSpec": LeafSpec,
        "PyTree": Any,
        "SUPPORTED_NODES": nodes,
        "TreeSpec": TreeSpec,
        "_register_pytree_node": register,
        "tree_all": lambda pred, tree: all(map(pred, tree_flatten(tree)[0])),
        "tree_any": lambda pred, tree: any(map(pred, tree_flatten(tree)[0])),
        "tree_flatten": tree_flatten,
        "tree_map": tree_map,
        "tree_map_only": lambda kinds, fn, tree: tree_map(only(kinds, fn), tree),
        "tree_unflatten": tree_unflatten,
    }
