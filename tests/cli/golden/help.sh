heapwright --help
