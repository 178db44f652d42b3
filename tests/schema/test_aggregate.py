"""Aggregates and asset types are spelled as OpenCost knows them, or refused with the list of what it knows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencost_kusto.batch import RequestOptions
from opencost_kusto.errors import UsageError
from opencost_kusto.schema.aggregate import ASSET_TYPES, CONTAINER_ROWS, WORDS, aggregate, asset_types, spelled


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("container", CONTAINER_ROWS),
        ("Namespace", "namespace"),
        ("CONTROLLERKIND", "controllerKind"),
        (" namespace , pod ", "namespace,pod"),
        ("pod,namespace", "pod,namespace"),
        ("namespace,Namespace,pod", "namespace,pod"),
        ("label:app", "label:app"),
        ("Label: App ", "label:App"),
        ("label:app.kubernetes.io/name", "label:app.kubernetes.io/name"),
        ("annotation:team,cluster", "annotation:team,cluster"),
        ("label:a:b", "label:a:b"),
    ],
)
def test_canonical_spelling(text: str, canonical: str) -> None:
    """Case and spaces do not matter, order does; the names of labels stay as they were written."""
    assert aggregate(text) == canonical
    assert aggregate(canonical) == canonical


@pytest.mark.parametrize(
    "text", ["foo", "", "namespace,", "namespace,foo", "all", "label", "label:", "label: ", "name space", "labels:app"]
)
def test_what_opencost_would_drop_is_refused(text: str) -> None:
    """A word OpenCost drops in silence would merge everything into one row, so it is refused with the list."""
    with pytest.raises(UsageError, match="would drop it in silence") as caught:
        aggregate(text)
    assert all(word in str(caught.value) for word in (*WORDS, "label:NAME", "annotation:NAME"))


def test_a_near_miss_gets_a_hint() -> None:
    """A slip of the finger is answered with the word that was meant."""
    with pytest.raises(UsageError, match="Did you mean namespace\\?"):
        aggregate("namespaces")
    with pytest.raises(UsageError, match="Did you mean controllerKind\\?"):
        aggregate("controlerkind")
    with pytest.raises(UsageError) as caught:
        aggregate("zzzzzz")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("canonical", "asked"),
    [
        ("namespace,pod", "namespace,pod"),
        ("label:app.kubernetes.io/name", "label:app_kubernetes_io_name"),
        ("namespace,label:cost-center,annotation:a b", "namespace,label:cost_center,annotation:a_b"),
        ("label:a:b", "label:a_b"),
        ("label:größe", "label:gr__e"),
    ],
)
def test_label_names_are_asked_for_as_prometheus_writes_them(canonical: str, asked: str) -> None:
    """OpenCost finds a label by the name Prometheus gives it, so that is what it is asked for."""
    assert spelled(canonical) == asked


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), st.booleans())
def test_any_list_of_known_words_is_taken(words: list[str], upper: bool) -> None:
    """Every list of known words is taken in any case, keeps its order and comes out spelled as OpenCost has it."""
    text = ",".join(words)
    assert aggregate(text.upper() if upper else text).split(",") == list(dict.fromkeys(words))
    assert spelled(aggregate(text)) == aggregate(text)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.text(max_size=12))
def test_any_text_is_an_aggregate_or_a_usage_error(text: str) -> None:
    """No text ends in anything but the canonical spelling or a usage error."""
    try:
        canonical = aggregate(text)
    except UsageError:
        return
    assert aggregate(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("Disk,LoadBalancer", ("disk", "loadbalancer")),
        ("loadbalancer, DISK ,disk", ("disk", "loadbalancer")),
        (",".join(ASSET_TYPES), ("cloud", "clustermanagement", "disk", "loadbalancer", "network", "node", "shared")),
        ("", ()),
        (" , ", ()),
    ],
)
def test_asset_types_in_any_case_and_order(text: str, types: tuple[str, ...]) -> None:
    """The same types are the same question, so the same batch, however they were written; none means all."""
    assert asset_types(text) == types
    assert RequestOptions(filter_types=asset_types(text)) == RequestOptions(filter_types=types)


@pytest.mark.parametrize("text", ["Disks", "disk;node", "Node,Banana"])
def test_unknown_asset_types_are_refused(text: str) -> None:
    """An asset type OpenCost does not have is refused with the list of those it has."""
    with pytest.raises(UsageError, match="OpenCost has no asset type") as caught:
        asset_types(text)
    assert all(kind in str(caught.value) for kind in ASSET_TYPES)
