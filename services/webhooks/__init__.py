"""The webhooks service: subscriptions to events, their deliveries, and the live `/ws`.

It owns the webhooks' records (secrets sealed) and their targets in the delivery ledger, reads the event stream of
every shard, and writes deliveries and the events `webhook.disabled` and `delivery.dead_letter`. One process answers
HTTP and WebSockets (`app`), any number of others turn events into deliveries and send them (`worker`). It never decides
a monitor's status, and never sends to a target that the SSRF check refuses.
"""
