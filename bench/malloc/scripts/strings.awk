# SPDX-License-Identifier: MIT
# Strings that grow in an array, the array sorted, a third of them split.
BEGIN {
	letters = "abcdefghijklmnopqrstuvwxyz"
	for (i = 0; i < 500000; i++) {
		key = "k" (i * 7919 % 150001)
		text[key] = text[key] substr(letters, 1 + i % 7, i % 16)
	}
	count = asorti(text, keys)
	for (i = 1; i <= count; i += 3)
		parts += split(text[keys[i]], part, "e")
	if (count != 150001 || parts < count / 3) {
		print "wrong:", count, parts
		exit 1
	}
}
