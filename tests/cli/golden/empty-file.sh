: >empty; heap ./empty
