"""Storage: engine, schema, order journal, symbols, accounts, users, jobs; one module a family.

Every function takes the connection of `Database.write()` or `Database.read()` first, and gives back
frozen dataclasses. Importing this package imports neither Flask nor the ORM's Flask extension;
only `database.db` does.
"""
