#!/usr/bin/perl
# promises.pl - promise -> the tests that keep it -> what came out.
#
#   perl tests/promises.pl asocket.h asocket_tls.h build/tap
#
# The manual in the header numbers its promises (" *  P7  Every wait can end ..."); a test names the
# ones that it keeps in its description ("P7: ..."). What is read is the output of the last runs
# (tests/run.pl). Fails when a promise has no test, or one of its tests failed.
use strict;
use warnings;
use File::Find;

my $directory = pop @ARGV;

# Promises that need no test of their own, or none yet, and why.
my %without = (13 => 'every test runs over every backend');

# Number -> its first sentence, which may go on in the next line.
my (%promise, $number);
my $headers = "@ARGV";
while (<>) {
    if (m{^ \*\s+P(\d+)\s+(\S.*?)\s*$} && !$promise{$1}) {
        $promise{$number = $1} = $2;
    } elsif ($number && m{^(?: \*)?\s{8,}(\S.*?)\s*$}) {
        $promise{$number} .= " $1";
    } else {
        undef $number;
    }
}
s/(?<=[.])\s.*// for values %promise;
die "promises.pl: $headers has no lines of the form ' *  P7  ...'\n" if !%promise;

my (%tests, %failed);    # promise -> test's description -> runs
find(sub {
    return if !-f;
    my $run = $File::Find::name =~ s{^\Q$directory\E/}{}r;
    open my $output, '<', $_ or return;
    my $program = $run =~ s{.*/}{}r;
    while (<$output>) {
        $program = $1 if m{^# --- (\w+)};    # of a suite
        my ($not, $text) = m{^(not )?ok \d+ - (.*?)\s*$} or next;
        my ($cited) = $text =~ m{^((?:P\d+(?:, |: ))+)} or next;
        for my $number ($cited =~ /P(\d+)/g) {
            my $name = "$program: $text";
            $tests{$number}{$name}++;
            push @{$failed{$number}{$name}}, $run if $not;
        }
    }
}, $directory);

my $bad = 0;
for my $number (sort { $a <=> $b } keys %promise) {
    my @names = sort keys %{$tests{$number} // {}};
    my $missing = !@names && !$without{$number};
    print "P$number  $promise{$number}\n";
    print "    $without{$number}\n" if $without{$number};
    print "    NO TEST\n" if $missing;
    for my $name (@names) {
        my @where = @{$failed{$number}{$name} // []};
        print @where ? "    FAILED in @where: $name\n" : "    $name\n";
        $bad = 1 if @where;
    }
    $bad = 1 if $missing;
}
for my $number (grep { !$promise{$_} } sort { $a <=> $b } keys %tests) {
    print "P$number is cited by tests and is not in $headers\n";
    $bad = 1;
}
exit $bad;
