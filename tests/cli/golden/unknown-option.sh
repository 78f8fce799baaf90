heap -nonsense 1
