"""The venues' books in a file, so that a simulator that is started again goes on with its day.

`tables` says what is written, `capture` collects what changed, `store` is the SQLite file,
`restore` puts the rows back, `keeper` does all of it at the right moments. Kept are orders with
their history, trades, accounts, positions, holdings, id counters and added logins; sessions,
quirks, faults, prices and the truth of requests begin anew.
"""
