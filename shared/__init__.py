"""What two services must agree on, and nothing else: the model, events, keys and scripts, deliveries, settings, auth."""
