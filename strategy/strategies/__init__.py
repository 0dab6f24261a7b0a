"""The strategies that come with tickpulse, one file each, found by their entry point."""
