"""Rules that come with tickpulse, one file each: a function of their parameters that gives a rule."""
