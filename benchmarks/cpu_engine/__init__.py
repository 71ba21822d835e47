"""The CPU engine beside its peers: contenders in processes of their own, taking turns; rows of the table."""
