"""What the demo, the soak and the bench are made of: a throw-away PostgreSQL, a pooler, load, and someone who watches.

Python's standard library only, 3.9 or newer. Everything that is started is started through `process.Rig`, which ends
it again.
"""
