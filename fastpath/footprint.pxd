# How many bytes a worker's state takes.
from fastpath.worker cimport worker_t

cdef dict table_bytes(const worker_t* worker, int node_links, int viewer_links, int streams, int cursors)
