leaks no-such-process-at-all
