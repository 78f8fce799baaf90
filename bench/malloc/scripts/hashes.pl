# SPDX-License-Identifier: MIT
# Hashes in arrays in a hash, strings of many lengths, single characters.
use strict;
use warnings;

my %lists;
for my $i (0 .. 149999) {
	push @{ $lists{ $i * 7919 % 99991 } }, { id => $i, s => 'v' x ($i % 50) };
}
my $text = join ',', map { "$_:" . scalar @{ $lists{$_} } } sort keys %lists;
my $count = () = $text =~ /:/g;
die "wrong: $count keys\n" unless $count == 99991;
my %letters;
for my $key ((sort keys %lists)[0 .. 30000]) {
	$letters{$_}++ for split //, $key . $lists{$key}[0]{s};
}
die "wrong: no letters\n" unless $letters{v};
