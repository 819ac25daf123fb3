"""The watchdog notices silence: it turns deadlines that have passed into transitions, and nothing else.

It reads the `deadlines` ledger and listens to expiry events, writes monitors through `perish.lua` and `declare.lua`,
trims the event streams, and talks to nobody but Redis. Any number of replicas may run; there is no leader.
"""
