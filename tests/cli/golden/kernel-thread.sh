# Where processes of the kernel cannot be seen (a container) there is nothing to refuse.
if [ "$(cat /proc/2/comm 2>/dev/null)" = kthreadd ]; then
	vmmap 2
	vmmap kthreadd 2>/dev/null
else
	echo "vmmap: process 2 (kthreadd) is a thread of the kernel: it has no memory of its own" >&2
	exit 2
fi
