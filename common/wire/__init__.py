"""The wire, as pure bytes: topics, frames, codec, and the numbering that makes a loss visible. No sockets here."""
