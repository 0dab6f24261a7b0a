"""What all tests share."""

import hypothesis
import pytest
from hypothesis.internal.detection import is_hypothesis_test

# A busy machine must not fail a test: how long an example takes is no promise of ours. Failures print their own seed.
hypothesis.settings.register_profile("tickpulse", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tickpulse")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of real processes run one after another, in two rows; a worker that has none has a file of plain tests."""
    for item in items:
        processes = item.get_closest_marker("processes")
        group = str(item.path) if processes is None else processes.kwargs.get("row", "processes")
        item.add_marker(pytest.mark.xdist_group(group))
        if is_hypothesis_test(getattr(item, "obj", None)):
            # A hundred examples take the same lines as the plain tests beside them.
            item.add_marker(pytest.mark.unmeasured)
