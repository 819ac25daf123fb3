"""The operator's command line: the verbs of `mishpulse` that run to their end, beside those that are a service.

Everyday verbs speak the public HTTP API, over the network or, with a data folder or a Redis at hand, to the same apps
in this very process: one set of rules, however it is reached. `export`, `import` and `doctor` read and write Redis
itself, because hashes and sealed secrets never leave by the API, and because a doctor must not need the patient.
"""
