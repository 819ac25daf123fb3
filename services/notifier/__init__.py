"""Tells people: owns routing, texts and channels. Reads the event streams and the channels, writes deliveries.

It never decides a monitor's status.
"""
