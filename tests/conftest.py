"""What all tests share."""

import hypothesis
import pytest
from hypothesis.internal.detection import is_hypothesis_test

# A busy machine must not fail a test: how long an example takes is no promise of ours. Failures print their own seed.
hypothesis.settings.register_profile("tickpulse", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tickpulse")


def pytest_itemcollected(item: pytest.Item) -> None:
    """What draws examples runs without coverage: a hundred of them take the lines of the tests beside them."""
    if is_hypothesis_test(getattr(item, "obj", None)):
        item.add_marker(pytest.mark.unmeasured)
