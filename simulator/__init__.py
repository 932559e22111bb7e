"""A Symphony XTS exchange on loopback: the embedded sandbox and the peer of most tests.

It speaks the wire format of the XTS reference, quirks included, and knows its own truth, so a
test can compare what a client believes with what really happened. It imports nothing from the
rest of the project: one bug must not hide in both the client and its peer.
"""
