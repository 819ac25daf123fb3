"""The collector takes in heartbeats, signed telemetry and application events, and answers `GET /api/status`.

It reads and writes monitors through the scripts of `shared`, appends to the event stream, and stamps four times a
second, and right after each deadline, that it listens. It never sends anything outwards and never
decides that a monitor is dead.
"""
