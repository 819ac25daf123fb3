"""The admin: managing monitors, channels, tokens and incidents. It owns the API tokens and the channels' records
(secrets sealed), reads every monitor with its heartbeats, history and deliveries, and writes settings of monitors
through their scripts. It never takes heartbeats in and never sends anything outwards: a channel's test is a delivery
that it puts into the ledger and the notifier sends.
"""
