"""The fault suite: each hop broken at the wire, and what the table, the outcome, the exit code and the message say.

Every test shows one guarantee: no row lost that was reported landed, no row twice, and no exit 0 that was not true.
"""
