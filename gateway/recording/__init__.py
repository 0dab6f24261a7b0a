"""Recording: what a gateway broadcasts, written in the raw form that the recorded feed plays again."""
