"""What all tests share."""

import hypothesis

# A busy machine must not fail a test: how long an example takes is no promise of ours. Failures print their own seed.
hypothesis.settings.register_profile("tickpulse", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tickpulse")
