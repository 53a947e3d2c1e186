#!/usr/bin/perl
# run.pl - runs test programs over every backend, through the library behind `prove`.
#
#   perl tests/run.pl [--jobs=2] [--total=FILE] [--skipped='tsan: clang is missing']...
#                     [--pure=test_x]... [--script=tests/x.t]... [--emulator=aarch64=qemu-aarch64]...
#                     build/gcc/test_x build/asan/test_x ...
#
# The same for one configuration by hand: prove --exec '' build/gcc/test_* :: epoll
#
# Each program's output stays in build/tap/<configuration>/<backend>/<program>. Of programs that
# failed, all that is not "ok" is printed at the end, then one line for each configuration and
# "N passed, N failed, N skipped", which also goes to FILE, with a line for each failure behind it. A
# program that was not built, crashed, was ended or stopped before its plan is a failure, even if no
# test of it failed. A suite is many programs in one, with "# --- name" before each: failures, and
# where it stopped, are named by that. Up to twelve that failed run once more, alone, for their bounds
# in time: those that then pass are named "unsteady".
use strict;
use warnings;
use Getopt::Long;
use TAP::Harness;
use File::Path qw(remove_tree);

my ($jobs, $total, @skipped, @scripts, @pure, %emulator) = (2, undef);
GetOptions('jobs=i' => \$jobs, 'total=s' => \$total, 'skipped=s' => \@skipped,
           'script=s' => \@scripts, 'pure=s' => \@pure,
           'emulator=s' => \%emulator) or exit 2;

my @backends = $^O eq 'linux' ? qw(epoll poll) : $^O eq 'MSWin32' ? qw(iocp) : qw(kqueue poll);
my %backends_of = (kqueue => ['kqueue'], kqueue_netbsd => ['kqueue'],
                   darwin => ['kqueue', 'poll'], wine => ['iocp', 'poll'], lwip => ['poll'],
                   faults => ['epoll', 'poll', 'kqueue']);
my %pure = map { $_ => 1 } @pure;    # the same over every backend: one run is enough

# What stands before a program, and how much slower it makes it.
my %wrapper = (valgrind => [qw(valgrind --quiet --vgdb=no --error-exitcode=99 --leak-check=full
                               --show-leak-kinds=definite
                               --errors-for-leak-kinds=definite)],
               wine => [qw(timeout --kill-after=5 600 wine)]);
my %slowness = (valgrind => 20, tsan => 8, asan => 3, faults => 3, kqueue_netbsd => 3, darwin => 3);

# An emulator may hang where the system would not.
for my $configuration (keys %emulator) {
    $wrapper{$configuration} = [qw(env TEST_EMULATED=1 timeout --kill-after=5 200),
                                split(" ", $emulator{$configuration})];
    $slowness{$configuration} = 4;
}

$ENV{ASAN_OPTIONS}  //= 'detect_stack_use_after_return=1:strict_string_checks=1';
$ENV{UBSAN_OPTIONS} //= 'print_stacktrace=1';
$ENV{TSAN_OPTIONS}  //= 'second_deadlock_stack=1';

# A run is named configuration/backend/program; that is also where its output goes.
my (%command, @runs, %unbuilt);
for my $path (@ARGV) {
    my ($configuration, $program) = $path =~ m{([^/]+)/([^/]+)$} or die "run.pl: $path?\n";
    my @over = @{$backends_of{$configuration} // \@backends};
    for my $backend ($program eq 'suite' ? 'all' : $pure{$program} ? $over[0] : @over) {
        my $run = "$configuration/$backend/$program";
        if (!-x $path) { $unbuilt{$run} = 1; next }
        $command{$run} = ['env', 'TEST_SLOWNESS=' . ($slowness{$configuration} // 1),
                          @{$wrapper{$configuration} // []}, $path, $backend];
        push @runs, $run;
    }
}
for my $script (@scripts) {
    my ($name) = $script =~ m{([^/]+)$};
    open my $file, '<', $script or die "run.pl: $script: $!\n";
    $command{"scripts/all/$name"} = [<$file> =~ /perl/ ? 'perl' : 'bash', $script];
    unshift @runs, "scripts/all/$name";
}

# Why a program failed of which no test did.
sub problems_of {
    my ($parser) = @_;
    return ($parser->parse_errors, $parser->exit ? 'wait status ' . $parser->wait : ());
}

my $dump = 'build/tap';
remove_tree("$dump/$_") for map { m{^(.+)/} } @runs, keys %unbuilt;
$ENV{PERL_TEST_HARNESS_DUMP_TAP} = $dump;
my $harness = TAP::Harness->new({
    jobs => $jobs, timer => 1, merge => 1,
    exec => sub { my ($self, $run) = @_; return $command{$run} },
});
my $start  = time;
my $result = $harness->runtests(@runs);

# Tests have bounds in time, and many run at a time: what failed beside others runs again, alone.
# That is reported, and its second result counts.
my %parser = map { $_ => ($result->parsers($_))[0] } @runs;
# Not faults: there the clock is the test's own, and a run takes minutes. Nor a suite that stopped.
my @again = grep { !/^faults/ && !(m{/suite$} && $parser{$_}->parse_errors) &&
                   ($parser{$_}->failed || $parser{$_}->has_problems) } @runs;
my %first;    # of a suite, of which only the programs that failed run again
for my $run (grep { m{/suite$} } @again) {
    my ($name, %bad);
    open my $file, '<', "$dump/$run" or next;
    while (<$file>) {
        $name = $1 if m{^# --- (\w+)};
        $bad{$name} = 1 if /^not ok/ && $name;
    }
    $first{$run} = $parser{$run};
    push @{$command{$run}}, sort keys %bad;
}
if (@again && @again <= 12) {
    print "\nonce more, alone: @again\n";
    my $alone = TAP::Harness->new({
        jobs => 1, timer => 1, merge => 1,
        exec => sub { my ($self, $run) = @_; return $command{$run} },
    });
    my $second = $alone->runtests(@again);
    $parser{$_} = ($second->parsers($_))[0] for @again;
}

# Counts, and the output of what failed.
my (%count, @failed);
for my $run (@runs) {
    my $parser = $parser{$run};
    my ($configuration) = $run =~ m{^([^/]+)};
    my $c = $count{$configuration} //= {passed => 0, failed => 0, skipped => 0};
    my $whole    = $first{$run} // $parser;
    my $failures = $parser->failed;
    my $skips    = $whole->skipped;
    $failures = 1 if !$failures && $parser->has_problems;
    $skips    = 1 if !$skips && $parser->skip_all;
    $c->{failed}  += $failures;
    $c->{skipped} += $skips;
    $c->{passed}  += $whole->tests_run - $parser->failed - $whole->skipped;
    push @failed, $run if $failures;
}
for my $run (sort keys %unbuilt) {
    my ($configuration) = $run =~ m{^([^/]+)};
    $count{$configuration}{failed}++;
}

my @failures = map { "$_: was not built\n" } sort keys %unbuilt;
my %printed;    # what failed in one configuration often fails alike in the others
for my $run (@failed) {
    print "\n--- $run (@{$command{$run}})\n";
    open my $file, '<', "$dump/$run" or next;
    my ($of, $failures, @lines, @part) = ('', '');    # of which program of a suite; what it said
    while (<$file>) {
        if (/^# --- (\S+)/) {
            $of = "$1: ";
            push @lines, @part if grep { /^not ok/ } @part;
            @part = ();
        }
        $failures .= "$of$_" if /^not ok/;
        push @part, $_ if !/^ok \d/;
    }
    push @lines, @part;
    my @reasons  = split /\n/, $failures;
    my @problems = $failures ? $parser{$run}->parse_errors : problems_of($parser{$run});
    push @reasons, map { "$of$_" } @problems;
    push @failures, map { "$run: $_\n" } @reasons[0 .. ($#reasons < 9 ? $#reasons : 9)];
    my ($program) = $run =~ m{([^/]+)$};
    if ($failures && $printed{$program}{$failures}) {
        print "the same tests as in $printed{$program}{$failures}\n";
        next;
    }
    $printed{$program}{$failures} = $run;
    splice @lines, 60, @lines - 80, "    ...\n" if @lines > 100;
    print @lines;
}
print "\n--- $_: was not built\n" for sort keys %unbuilt;

my %sum = (passed => 0, failed => 0, skipped => 0);
printf "\n%-16s %8s %8s %8s\n", 'configuration', qw(passed failed skipped);
for my $configuration (sort keys %count) {
    my $c = $count{$configuration};
    $sum{$_} += $c->{$_} //= 0 for keys %sum;
    printf "%-16s %8d %8d %8d\n", $configuration, @{$c}{qw(passed failed skipped)};
}
my %reason;    # of single tests and whole programs, from their output
for my $run (@runs) {
    open my $file, '<', "$dump/$run" or next;
    m{# SKIP\S*\s+(.*?)\s*$}i and push @{$reason{$1}}, $run while <$file>;
}
for my $run (@again) {
    next if $parser{$run}->failed || $parser{$run}->has_problems;
    print "unsteady: $run failed beside others and passed alone\n";
}
print "skipped: $_\n" for @skipped;
for my $why (sort keys %reason) {
    my @where = @{$reason{$why}};
    printf "skipped: %s (%d in %s%s)\n", $why, scalar @where, $where[0], @where > 1 ? ', ...' : '';
}
$sum{skipped} += @skipped;
my $line = "$sum{passed} passed, $sum{failed} failed, $sum{skipped} skipped";
printf "%s (%d programs, %d s)\n", $line, scalar @runs, time - $start;
if (defined $total) {
    open my $file, '>', $total or die "run.pl: $total: $!\n";
    print $file "$line\n", map { "failed: $_" } @failures;
    close $file or die "run.pl: $total: $!\n";
}
exit($sum{failed} ? 1 : 0);
