"""Data-parallel training: one model on several processes, each with a part of every batch.

sharding    says which values of a graph are rows of the batch, which are the same everywhere, which are
            parts of sums over all samples
stages      cuts a graph at these sums into graphs that are compiled one by one
engine      runs them, with the sums over all processes between
team        what `fit` asks of the others: what ranks agree on before it begins
events      callbacks on rank 0, whose effects all ranks have
communicator, nccl      what ranks say to each other, over MPI and NCCL
distributing    `kcompile.distribute`
"""
