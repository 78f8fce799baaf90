heapwright help vmmap | head -12; heapwright help vmmap | awk "length > 80"
