"""Every read that API, console and CLI share; each takes the `viewer`, so none forgets tenancy."""
