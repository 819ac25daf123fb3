"""The web pages: what people look at under `/ui`, and the public status pages and badges.

They read through the same functions as the API beside them, ask the other services by their public API alone, and
show nothing that comes from outside except through autoescaping templates.
"""
