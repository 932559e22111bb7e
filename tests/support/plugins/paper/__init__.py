"""A broker without a venue, whose master contract is what the account's options say."""
