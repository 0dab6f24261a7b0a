"""The evaluation of a trader who is to be funded: rules from the config, checked against what the portfolio is worth."""
