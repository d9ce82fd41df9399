"""An AWS that behaves, on one machine: for rehearsals, for the demo and for every test.

moto keeps most of the state; this layer corrects what stock moto gets wrong (identity, paging,
states that take time, sharing, quotas) and adds what a rehearsal needs: faults on demand, counts
of calls and estates made in bulk. It imports nothing of the product but the clock.
"""
