"""What two services must agree on, and nothing else: model, events, keys, scripts, deliveries, settings, auth."""
