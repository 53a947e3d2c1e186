#!/usr/bin/perl
# features.pl - feature -> the tests that show it -> what came out.
#
#   perl tests/features.pl tests/features.tsv build/tap
#
# The table has a line for each test: row, what the feature is (empty: as above), the test's file,
# words of its description. What is read is the output of the last runs (tests/run.pl), in every
# configuration. Fails when a feature has no test, when a test of the table is not in the output of
# its file, or failed; a file that did not run is a failure, a test that was skipped is named.
use strict;
use warnings;
use File::Find;

my ($table, $directory) = @ARGV;

# Row -> what it is; its tests, in the order of the table.
my (%what, @rows, %wanted);
open my $lines, '<', $table or die "features.pl: $table: $!\n";
while (<$lines>) {
    chomp;
    next if /^#/ || !length;
    my ($row, $what, $file, $words, @more) = split /\t/, $_, -1;
    die "$table:$.: four fields, with tabs between them\n" if @more || !length($words // '');
    die "$table:$.: $row: what is it?\n" if !$what{$row} && !length $what;
    push @rows, $row if !$what{$row};
    $what{$row} ||= $what;
    push @{$wanted{$row}}, [$file, $words];
}

# File -> [run, "ok", description] of every test; the reasons why whole files were skipped.
my (%results, %skipped);
find(sub {
    return if !-f;
    my $run = $File::Find::name =~ s{^\Q$directory\E/}{}r;
    open my $output, '<', $_ or return;
    $results{$_} //= [];
    while (my $line = <$output>) {
        $skipped{$_} //= $1 if $line =~ /^1\.\.0\s*#\s*SKIP\s*(.*)/i;
        my ($not, $text) = $line =~ m{^(not )?ok \d+ - (.*?)\s*$} or next;
        push @{$results{$_}}, [$run, !$not, $text];
    }
}, $directory);

my ($bad, $shown) = (0, 0);
for my $row (@rows) {
    print "$row  $what{$row}\n";
    for my $test (@{$wanted{$row}}) {
        my ($file, $words) = @$test;
        my @found  = grep { index($_->[2], $words) >= 0 } @{$results{$file} // []};
        my @failed = map { $_->[0] } grep { !$_->[1] } @found;
        my $result = @failed ? "FAILED in @failed"
            : @found ? 'ok'
            : $skipped{$file} ? "skipped ($skipped{$file})"
            : $results{$file} ? 'NO SUCH TEST' : 'DID NOT RUN';
        $shown += $result eq 'ok';
        $bad++ if $result !~ /^(?:ok|skipped)/;
        print "    $result: $file: $words\n";
    }
}
printf "%d features, %d tests that show them, %d missing or failed\n", scalar @rows, $shown, $bad;
exit($bad ? 1 : 0);
