echo text >file; leaks ./file
