leaks --help >/dev/full; echo $?; heapwright --help >/dev/full; echo $?; leaks -quiet -atExit -- /bin/true >/dev/full; echo $?
