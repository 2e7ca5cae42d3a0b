"""Everything that stands around a running gateway: senders, receivers, models and a browser."""
