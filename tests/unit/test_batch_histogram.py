"""Many observations at once leave what one by one leaves."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from shared.metrics import LAG_BUCKETS, BatchHistogram

AMOUNTS = st.floats(-1, 100) | st.sampled_from(LAG_BUCKETS)


@given(st.lists(st.lists(AMOUNTS, max_size=40), max_size=5))
def test_a_batch_counts_as_its_observations_do(batches: list[list[float]]) -> None:
    """In every bucket, at the bounds too; the sum but for the order of adding."""
    single, many = CollectorRegistry(), CollectorRegistry()
    by_one = Histogram("lag", "One by one", buckets=LAG_BUCKETS, registry=single)
    at_once = BatchHistogram("lag", "A batch at once", buckets=LAG_BUCKETS, registry=many)
    for batch in batches:
        at_once.observe_all(batch)
        for amount in batch:
            by_one.observe(amount)
    for bound in (*LAG_BUCKETS, float("inf")):
        name, le = "lag_bucket", {"le": str(float(bound)) if bound != float("inf") else "+Inf"}
        assert single.get_sample_value(name, le) is not None
        assert many.get_sample_value(name, le) == single.get_sample_value(name, le)
    assert many.get_sample_value("lag_count") == single.get_sample_value("lag_count")
    total = single.get_sample_value("lag_sum") or 0.0
    assert abs((many.get_sample_value("lag_sum") or 0.0) - total) < 1e-6
