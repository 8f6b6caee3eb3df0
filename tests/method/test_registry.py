"""Registries: what they take, and what they say of a name that they lack."""

from dataclasses import dataclass, replace

import pytest

from pat.criteria import CRITERIA
from pat.methods import METHODS
from pat.policy import POLICIES
from pat.registry import Registry, Settings, load, plugins


@dataclass(frozen=True)
class Entry(Settings):
    name = "one"

    needed: int
    usual: int = 3


def test_entries_keep_their_order_and_unknown_names_are_refused_with_the_known_ones() -> None:
    registry: Registry[type[Entry]] = Registry("thing")
    assert registry.register(Entry) is Entry
    assert registry.find("one") is Entry
    assert "one" in registry
    assert "two" not in registry
    with pytest.raises(ValueError, match=r"unknown thing 'two'; known are one"):
        registry.find("two")


def test_a_name_is_given_once() -> None:
    registry: Registry[object] = Registry("thing")
    registry.register(Entry)
    registry.register(Entry)  # its file loaded anew
    with pytest.raises(ValueError, match="there is a thing 'one' already"):
        registry.register(type("Other", (), {"name": "one", "__module__": "elsewhere"}))


def test_settings_are_the_fields() -> None:
    assert Entry.takes() == {"needed": True, "usual": False}
    assert Entry(2).options() == {"needed": 2, "usual": 3}


def test_every_entry_says_where_it_comes_from() -> None:
    assert [*CRITERIA] == ["gradient", "magnitude"]
    rules = ["early_bert", "early_bird", "kendall", "loss_plateau", "ocspruner", "share", "spearman"]
    assert sorted(POLICIES) == sorted(["epoch", "random", "epi", *rules])
    at_the_start = ["snip", "iterative_snip", "force", "grasp", "synflow", "random"]
    assert sorted(METHODS) == sorted(["prunetrain", "gpwp", "lfpc", *at_the_start])
    for entry in (*CRITERIA.values(), *POLICIES.values(), *METHODS.values()):
        assert entry.source, entry


def test_a_criterion_with_the_name_of_another_is_refused() -> None:
    with pytest.raises(ValueError, match="there is a criterion 'gradient' already"):
        CRITERIA.register(replace(CRITERIA["gradient"], source="elsewhere"))


def test_a_plugin_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="the plugin 'no_such_module' cannot be imported"):
        load(["no_such_module"])
    assert "no_such_module" not in plugins()
