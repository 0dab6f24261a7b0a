"""The evaluation of a trader who is to be funded: rules from the config, checked against the portfolio's worth."""
