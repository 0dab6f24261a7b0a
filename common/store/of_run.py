"""Which event log is that of a run."""

from importlib.metadata import entry_points

from common.config import Config
from common.store.address import Address, parse_address


def address_of_run(config: Config) -> str | None:
    """The log that the recorder of this run writes; None where the config has none.

    Raises:
        StoreConfigError: The config's address is none.
    """
    for entry in entry_points(group="tickpulse.config", name="recorder"):
        text = getattr(config.section("recorder", entry.load()), "store", None)
        if text:
            address = parse_address(text)
            return str(Address(address.format, config.run_directory().path / address.path))
    return None
