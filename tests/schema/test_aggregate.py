"""Aggregates and asset types get OpenCost's spelling, or are refused with the list of what there is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opencost_kusto.batch import RequestOptions
from opencost_kusto.errors import UsageError
from opencost_kusto.schema.aggregate import ASSET_TYPES, CONTAINER_ROWS, PROPERTIES, aggregate, asset_types, spelled


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
    """Case and spaces do not matter, order does; the names of labels are kept as written."""
    assert aggregate(text) == canonical
    assert aggregate(canonical) == canonical


@pytest.mark.parametrize(
    "text", ["foo", "", "namespace,", "namespace,foo", "all", "label", "label:", "label: ", "name space", "labels:app"]
)
def test_what_opencost_would_ignore_is_refused(text: str) -> None:
    """A word that OpenCost ignores would merge everything into one row, so it is refused with the list."""
    with pytest.raises(UsageError, match="would ignore it") as caught:
        aggregate(text)
    assert all(word in str(caught.value) for word in (*PROPERTIES, "label:NAME", "annotation:NAME"))


def test_a_near_miss_gets_a_hint() -> None:
    """A misspelled word is refused with the word that is closest to it."""
    with pytest.raises(UsageError, match="Did you mean namespace\\?"):
        aggregate("namespaces")
    with pytest.raises(UsageError, match="Did you mean controllerKind\\?"):
        aggregate("controlerkind")
    with pytest.raises(UsageError) as caught:
        aggregate("zzzzzz")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("canonical", "sent"),
    [
        ("namespace,pod", "namespace,pod"),
        ("label:app.kubernetes.io/name", "label:app_kubernetes_io_name"),
        ("namespace,label:cost-center,annotation:a b", "namespace,label:cost_center,annotation:a_b"),
        ("label:a:b", "label:a_b"),
        ("label:größe", "label:gr__e"),
    ],
)
def test_label_names_are_sent_as_prometheus_writes_them(canonical: str, sent: str) -> None:
    """OpenCost finds a label by its Prometheus name, so that is what is sent."""
    assert spelled(canonical) == sent


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(PROPERTIES), min_size=1, max_size=4), st.booleans())
def test_any_list_of_properties_is_accepted(words: list[str], upper: bool) -> None:
    """Every list of OpenCost's properties is accepted in any case, keeps its order and gets OpenCost's spelling."""
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
    """The same types make the same batch, however they are written; none means all."""
    assert asset_types(text) == types
    assert RequestOptions(filter_types=asset_types(text)) == RequestOptions(filter_types=types)


@pytest.mark.parametrize("text", ["Disks", "disk;node", "Node,Banana"])
def test_unknown_asset_types_are_refused(text: str) -> None:
    """An unknown asset type is refused with the list of types."""
    with pytest.raises(UsageError, match="OpenCost has no asset type") as caught:
        asset_types(text)
    assert all(kind in str(caught.value) for kind in ASSET_TYPES)
