"""The parts of the settings: fields, layers, rules between fields, and the documents made of them.

Everybody else imports `utils.config`.
"""
