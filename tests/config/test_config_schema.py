"""The check of a config against signatures: what fits, what is filled in, and what each mistake says."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Dict, List, Literal, Optional, Sequence, Tuple, Union

import pytest

from passl.config import ConfigError, build
from passl.config.node import Spot
from passl.config.reader import read_text
from passl.config.schema import fit
from passl.config.signatures import keys_of
from passl.utils.errors import UserError
from passl.utils.registry import Registry

HEADS = Registry("head")
OPTIMIZERS = Registry("optimizer")


class NeverBuilt:
    """What the check must not instantiate."""

    def __new__(cls, *_given: Any, **_options: Any) -> None:
        raise AssertionError("the check must not build anything")


@HEADS.register("PlainHead")
class Head(NeverBuilt):
    """A head.

    Args:
        scale: a factor.
        sizes: some sizes.
    """

    def __init__(self, scale: float = 1, sizes: List[int] = (3, 4)) -> None: ...


@HEADS.register()
class Stack(NeverBuilt):
    """A head of heads."""

    def __init__(self, heads: List[Annotated[dict, HEADS]], last: Optional[Annotated[dict, HEADS]] = None) -> None: ...


@HEADS.register()
class Bare(NeverBuilt):
    """A head without arguments."""


@OPTIMIZERS.register()
class AdamW(NeverBuilt):
    """An optimizer."""

    def __init__(
        self, parameters: Any, /, lr: float, betas: Tuple[float, float] = (0.9, 0.999), *, beta1: Optional[float] = None
    ) -> None: ...


@dataclass
class Part:
    """A section."""

    size: int
    word: str = "none"

    def __post_init__(self) -> None:
        if self.size < 0:
            raise UserError(f"size must not be negative: {self.size}")


@dataclass
class Config:
    """A whole config."""

    optimizer: Annotated[dict, OPTIMIZERS]
    head: Annotated[dict, HEADS] = field(default_factory=lambda: {"name": "PlainHead"})
    part: Part = field(default_factory=lambda: Part(1))
    parts: List[Part] = field(default_factory=list)
    seed: Optional[int] = None
    layers: Union[int, List[int]] = 12


def read(text):
    return read_text(text, lambda line: f"c.yaml:{line}")


def refusal(text, schema=Config):
    with pytest.raises(ConfigError) as caught:
        build(schema, read(text))
    return str(caught.value)


def value_refusal(hint, value):
    with pytest.raises(ConfigError) as caught:
        fit(hint, value, Spot("c.yaml:1", "key"))
    return str(caught.value)


GOOD = "optimizer:\n  name: AdamW\n  lr: 1e-3\n"


# What fits.


@pytest.mark.parametrize(
    "hint, value, fitted",
    [
        (bool, True, True),
        (int, 3, 3),
        (float, 3, 3.0),
        (str, "3", "3"),
        (Literal["a", 1], 1, 1),
        (Optional[int], None, None),
        (Optional[int], 1, 1),
        (Union[int, List[int]], [3, 4, 6, 3], [3, 4, 6, 3]),
        (Union[float, int], 3, 3),
        (Union[bool, int], 1, 1),
        (Union[Literal["auto"], int], "auto", "auto"),
        (List[float], [1, 2.5], [1.0, 2.5]),
        (Sequence[str], ["a"], ["a"]),
        (Tuple[int, str], [1, "a"], (1, "a")),
        (Tuple[int, ...], [], ()),
        (Tuple[int, ...], [1, 2, 3], (1, 2, 3)),
        (Dict[str, List[int]], {"visual.*": [1]}, {"visual.*": [1]}),
        (List[Tuple[str, float]], [["a", 1]], [("a", 1.0)]),
        (list[int], [1], [1]),
        (dict[str, Optional[bool]], {"a": None}, {"a": None}),
    ],
)
def test_value_that_fits_must_come_out_with_its_annotated_type(hint, value, fitted):
    result = fit(hint, value, Spot())
    assert (result, type(result), repr(result)) == (fitted, type(fitted), repr(fitted))


def test_registered_node_must_come_out_with_its_full_name_and_every_default():
    config = build(Config, read(GOOD + "head: {name: PlainHead, scale: 2}"))
    assert config.head == {"name": "Head", "scale": 2.0, "sizes": [3, 4]}
    assert type(config.head) is dict


def test_default_that_is_a_node_must_be_filled_in_too():
    assert build(Config, read(GOOD)).head == {"name": "Head", "scale": 1.0, "sizes": [3, 4]}


def test_nested_nodes_must_be_filled_in():
    head = build(Config, read(GOOD + "head: {name: Stack, heads: [{name: Bare}, {name: Head}]}")).head
    filled = {"name": "Head", "scale": 1.0, "sizes": [3, 4]}
    assert head == {"name": "Stack", "heads": [{"name": "Bare"}, filled], "last": None}


def test_arguments_must_come_in_the_order_of_the_signature():
    config = build(Config, read("optimizer: {betas: [0, 1], lr: 1, name: AdamW}"))
    assert list(config.optimizer) == ["name", "lr", "betas"]


def test_defaults_must_not_be_shared_between_configs():
    first, second = build(Config, read(GOOD)), build(Config, read(GOOD))
    first.head["sizes"].append(5)
    first.parts.append("x")
    assert (second.head["sizes"], second.parts, build(Config, read(GOOD)).head["sizes"]) == ([3, 4], [], [3, 4])


def test_config_must_not_share_lists_with_the_node():
    node = read(GOOD + "layers: [1, 2]")
    build(Config, node).layers.append(3)
    assert node["layers"] == [1, 2]


def test_section_must_come_out_as_its_dataclass():
    assert build(Config, read(GOOD + "part: {size: 2}")).part == Part(2, "none")


def test_list_of_sections_must_come_out_as_dataclasses():
    assert build(Config, read(GOOD + "parts: [{size: 2}, {size: 3, word: x}]")).parts == [Part(2), Part(3, "x")]


def test_plain_dict_with_a_section_already_built_must_fit():
    config = build(Config, {"optimizer": {"name": "AdamW", "lr": 1.0}, "part": Part(7)})
    assert config.part == Part(7)


# What does not fit.


@pytest.mark.parametrize(
    "hint, value, message",
    [
        (bool, 1, "expected true or false, not 1; write true"),
        (bool, "no", "expected true or false, not the text 'no'; write false"),
        (bool, "abc", "expected true or false, not the text 'abc'"),
        (int, True, "expected a whole number, not true"),
        (int, 1e4, "expected a whole number, not 10000.0; write 10000"),
        (int, 1.5, "expected a whole number, not 1.5"),
        (int, None, "expected a whole number, not null"),
        (float, "1e-3", "expected a number, not the text '1e-3'; write it without quotes"),
        (float, "fast", "expected a number, not the text 'fast'"),
        (float, False, "expected a number, not false"),
        (float, [1], "expected a number, not a list of 1"),
        (float, math.inf, "expected a finite number, not inf"),
        (float, math.nan, "expected a finite number, not nan"),
        (str, 12, "expected text, not 12; put it in quotes"),
        (str, False, "expected text, not false; put it in quotes"),
        (str, {}, "expected text, not a mapping"),
        (Literal["cpu", "gpu"], "gpus", "expected 'cpu' or 'gpu', not the text 'gpus'. Did you mean 'gpu'?"),
        (Literal["a", "b", None], 3, "expected 'a', 'b' or null, not 3"),
        (Literal[1], True, "expected 1, not true"),
        (Optional[float], "1", "expected a number or null, not the text '1'; write it without quotes"),
        (Union[int, List[int]], "x", "expected a whole number or a list of whole numbers, not the text 'x'"),
        (List[int], 3, "expected a list of whole numbers, not 3"),
        (List[int], "ab", "expected a list of whole numbers, not the text 'ab'"),
        (Tuple[float, float], [1], "expected a list of 2 numbers, not a list of 1"),
        (Tuple[str, int], [1], "expected a list (text, a whole number), not a list of 1"),
        (Dict[str, bool], [], "expected a mapping of names to booleans, not a list of 0"),
        (Part, None, "expected a mapping, not null"),
        (Annotated[dict, HEADS], "PlainHead", "expected a head, not the text 'PlainHead'; write {name: PlainHead}"),
        (Annotated[dict, OPTIMIZERS], 3, "expected an optimizer, not 3; write {name: ...}"),
        (str, 10**99, f"expected text, not 1{'0' * 59}...; put it in quotes"),
    ],
)
def test_value_that_does_not_fit_must_be_explained(hint, value, message):
    assert value_refusal(hint, value) == f"c.yaml:1: key: {message}"


@pytest.mark.parametrize(
    "hint, value, message",
    [
        (Optional[List[int]], [1, "a"], "key.1: expected a whole number, not the text 'a'"),
        (Union[int, List[int]], [1, "a"], "key.1: expected a whole number, not the text 'a'"),
        (Dict[str, Tuple[int, int]], {"a": [1, None]}, "key.a.1: expected a whole number, not null"),
        (Optional[Part], {"size": "1"}, "key.size: expected a whole number, not the text '1'; write it without quotes"),
        (Optional[Annotated[dict, HEADS]], {"name": "Head", "scale": None}, "key.scale: expected a number, not null"),
        (
            Union[Part, Annotated[dict, HEADS]],
            {"name": "Head", "scale": "a"},
            "key.scale: expected a number, not the text 'a'",
        ),
    ],
)
def test_mistake_inside_a_union_must_be_told_where_it_is(hint, value, message):
    assert value_refusal(hint, value) == f"c.yaml:1: {message}"


def test_number_too_large_for_a_float_must_be_refused():
    assert "c.yaml:1: optimizer.lr: expected a finite number, not inf" in refusal("optimizer: {name: AdamW, lr: 1e999}")


def test_unknown_key_must_name_the_nearest_and_all_others():
    message = refusal(GOOD + "  beta: [0, 1]\n")
    assert message == "c.yaml:4: optimizer.beta: unknown key. Did you mean 'betas'? Accepted here: name, lr, betas"


def test_unknown_section_must_be_refused():
    assert "c.yaml:4: heads: unknown key. Did you mean 'head'? Accepted here: optimizer, head, " in refusal(
        GOOD + "heads: 1"
    )


def test_key_of_a_class_without_any_must_be_refused():
    assert refusal(GOOD + "head: {name: Bare, x: 1}").endswith("unknown key. Accepted here: name")


def test_missing_key_must_name_the_section_and_its_line():
    message = refusal("seed: 1\noptimizer:\n  name: AdamW\n")
    assert message == "c.yaml:2: optimizer: the key 'lr' is missing; it takes a number"


def test_missing_section_must_name_the_file():
    assert refusal("seed: 1\n") == "c.yaml:1: the key 'optimizer' is missing; it takes an optimizer"


def test_missing_key_in_a_list_must_name_the_items_line():
    assert refusal(GOOD + "parts:\n- size: 1\n- word: x\n").startswith("c.yaml:6: parts.1: the key 'size' is missing")


def test_missing_name_must_list_the_registered():
    message = refusal(GOOD + "head: {scale: 1}")
    assert message == "c.yaml:4: head: the key 'name' is missing; it says which head: Bare, Head, Stack"


def test_unknown_name_must_name_the_nearest():
    assert refusal(GOOD + "head:\n  name: Heads\n").startswith(
        "c.yaml:5: head.name: there is no head named 'Heads'. Did you mean 'Head'?"
    )


@pytest.mark.parametrize("name", ["1", "[Head]", "{a: b}", "null"])
def test_name_that_is_no_text_must_be_refused(name):
    assert refusal(GOOD + f"head: {{name: {name}}}").startswith("c.yaml:4: head.name: expected text")


@pytest.mark.parametrize("name", ["__class__", "object", "os.system", "passl.config.build", "AdamW", "builtins.eval"])
def test_name_outside_the_registry_must_be_refused(name):
    assert f"there is no head named '{name}'" in refusal(GOOD + f"head: {{name: {name}}}")


@pytest.mark.parametrize("key", ["__class__", "__init__", "__dict__", "self", "parameters", "beta1", "_base_"])
def test_key_that_is_no_parameter_must_be_refused(key):
    assert f"c.yaml:4: optimizer.{key}: unknown key." in refusal(GOOD + f"  {key}: 1\n")


@pytest.mark.parametrize("key", ["__class__", "__post_init__", "__dict__", "self"])
def test_attribute_of_a_section_must_be_refused_as_a_key(key):
    assert f"part.{key}: unknown key." in refusal(GOOD + f"part: {{size: 1, {key}: 1}}")


def test_all_mistakes_must_be_told_at_once():
    message = refusal(
        "optimizer: {name: AdamW, lr: x, b: 1}\nhead: {name: Stack, heads: [{name: X}, {name: Head, scale: a}]}\nsed: 1"
    )
    assert [line.split(": ")[1] for line in message.splitlines()] == [
        "sed", "optimizer.b", "optimizer.lr", "head.heads.0.name", "head.heads.1.scale"
    ]  # fmt: skip


def test_more_than_ten_mistakes_must_be_counted():
    lines = refusal(GOOD + "".join(f"x{n}: 1\n" for n in range(13))).splitlines()
    assert (len(lines), lines[-1]) == (11, "... and 3 more")


def test_section_that_refuses_itself_must_be_located():
    assert refusal(GOOD + "part:\n  size: -1\n") == "c.yaml:4: part: size must not be negative: -1"


def test_sections_that_refuse_themselves_must_be_told_together():
    assert len(refusal(GOOD + "part: {size: -1}\nparts: [{size: -2}]\nseed: x").splitlines()) == 3


def test_plain_dict_must_be_refused_without_a_place():
    with pytest.raises(ConfigError, match=r"^optimizer\.lr: expected a number"):
        build(Config, {"optimizer": {"name": "AdamW", "lr": "x"}})


def test_constructor_of_paddles_base_class_must_give_no_keys():
    layer = type(
        "Layer", (), {"__init__": lambda _self, _name_scope=None: None, "__module__": "paddle.nn.layer.layers"}
    )
    assert keys_of(type("Head", (layer,), {})) == {}


def test_inherited_constructor_must_give_its_keys():
    assert list(keys_of(type("Child", (Head,), {}))) == ["scale", "sizes"]


# Defects of classes.


class TakesAnything:
    def __init__(self, size: int = 1, **options: int) -> None: ...


class Unannotated:
    def __init__(self, size=1) -> None: ...


class TooVague:
    def __init__(self, size: Optional[Any] = None) -> None: ...


class BareDict:
    def __init__(self, size: Optional[dict] = None) -> None: ...


class BareList:
    def __init__(self, size: List = ()) -> None: ...


class NumberedKeys:
    def __init__(self, size: Optional[Dict[int, str]] = None) -> None: ...


class Named:
    def __init__(self, name: str = "x") -> None: ...


class WrongDefault:
    def __init__(self, size: int = 0.5) -> None: ...


class NotFinite:
    def __init__(self, size: float = math.inf) -> None: ...


@pytest.mark.parametrize(
    "cls",
    [
        TakesAnything,
        Unannotated,
        TooVague,
        BareDict,
        BareList,
        NumberedKeys,
        Named,
        WrongDefault,
        NotFinite,
    ],
)
def test_class_that_is_no_schema_must_be_a_defect(cls):
    registry = Registry("thing")
    registry.register()(cls)
    with pytest.raises(TypeError, match=cls.__name__):
        fit(Annotated[dict, registry], {"name": cls.__name__}, Spot())
