"""Stand-ins for the world outside: a Bot API, a mail server, HTTP receivers.

In a test: `async with BotApi() as bot:`. As a process: `python tests/doubles/telegram.py --port 9001 --out
FILE`, which prints one JSON line for each thing received; the first line, on standard error, says that it
listens.
"""
