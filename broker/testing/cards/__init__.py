"""The cards of the contract, one module a group; `broker.testing.contract` puts them together.

Numbers have gaps: a card keeps its number for good, and a new one finds room.
"""
