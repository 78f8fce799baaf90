heapwright --version; leaks --version; heapwright vmmap -version
