import pytest

from passl.utils.errors import UserError
from passl.utils.registry import Registry


def registry():
    registry = Registry("fruit")

    @registry.register("Pomme")
    class Apple:
        def __init__(self, tree, /, colour="red"):
            self.tree, self.colour = tree, colour

    return registry, Apple


def test_registry_builds_by_name_and_by_alias():
    fruits, apple = registry()
    built = fruits.build({"name": "Pomme", "colour": "green"}, "tree 3")
    assert isinstance(built, apple) and (built.tree, built.colour) == ("tree 3", "green")
    assert fruits.names() == ["Apple"]


def test_registry_names_the_nearest_of_what_it_has():
    with pytest.raises(UserError, match=r"no fruit named 'Aple'. Did you mean 'Apple'\? Accepted: Apple"):
        registry()[0].get("Aple")


def test_registry_refuses_a_node_without_name_and_a_second_registration():
    fruits, apple = registry()
    with pytest.raises(UserError, match="mapping with the key 'name'"):
        fruits.build({"colour": "red"})
    with pytest.raises(KeyError, match="twice"):
        fruits.register()(apple)
