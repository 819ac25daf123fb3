import time


def wait_until(predicate, description, timeout=5.0):
    """Return the predicate's first true value, or fail with the description."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        value = predicate()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"within {timeout} s never: {description}")
