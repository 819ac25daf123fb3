"""Tells people: owns routing, texts and channels. Reads event streams and channels, writes deliveries.

It never decides a monitor's status.
"""
