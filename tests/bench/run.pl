#!/usr/bin/perl
# run.pl - builds and runs the benchmarks: asocket against a hand-written epoll server and libuv.
#
#   tests/bench/run.pl            everything, about eight minutes
#   QUICK=1 tests/bench/run.pl    short slices and fewer workloads, about a minute
#
# Environment: BENCH_BUILD (folder for what is built; build/bench), CC (cc), CORES ("1", "2",
# "1 2"), ONLY (a pattern of workloads), SERVERS ("raw asocket libuv"), and how long: BATCHES of
# SLICES of SLICE_MS.
#
# The servers of a workload run in turns, in slices of some 50 milliseconds; a ratio is the median
# of the ratios within each round, so what disturbs the machine for longer than a round cancels out.
# Each batch of rounds has new processes, for how their memory happens to lie makes some of the
# difference. Where the judgement would be a matter of luck there are more batches.
# Nothing is printed that was not measured: "-" stands where a figure is missing, the reason below.
use strict;
use warnings;
use Cwd 'abs_path';
use File::Basename 'dirname';
use File::Path 'make_path';
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(time sleep);

my $here = dirname(abs_path($0));
my $root = abs_path("$here/../..");
my $build = $ENV{BENCH_BUILD} || "$root/build/bench";
my $cc = $ENV{CC} || 'cc';
our $quick = $ENV{QUICK};
my $slices = $ENV{SLICES} || ($quick ? 3 : 6);
our $batches = $ENV{BATCHES} || 3;
my $slice_ms = $ENV{SLICE_MS} || ($quick ? 25 : 60);
my $only = $ENV{ONLY} || '.';
our @wanted = split ' ', $ENV{SERVERS} || 'raw asocket libuv';
my %title = (raw => 'by hand', asocket => 'asocket', libuv => 'libuv', single => 'one by one',
    one => 'one worker', two => 'two workers', names => 'names');

# name, mode of the servers, options of the load, and marks: "quick" is part of the short run,
# "info" is not judged, "unpaired" compares medians, because each slice has its own connection.
my @workloads = (
    ['echo1',         'echo',     '-c 1',                  'quick'],
    ['echo50',        'echo',     '-c 50',                 'quick'],
    ['echo1k',        'echo',     '-c 1000',               'quick'],
    ['echo1x16',      'echo',     '-c 1 -d 16',            ''],
    ['echo50x16',     'echo',     '-c 50 -d 16',           'quick'],
    ['echo1kx16',     'echo',     '-c 1000 -d 16',         ''],
    ['echo1-16k',     'echo',     '-c 1 -m 16384',         ''],
    ['echo50-16k',    'echo',     '-c 50 -m 16384',        'quick'],
    ['echo1k-16k',    'echo',     '-c 1000 -m 16384',      ''],
    ['echo50-16kx16', 'echo',     '-c 50 -m 16384 -d 16',  ''],
    ['line1',         'line',     '-l -c 1',               ''],
    ['line50',        'line',     '-l -c 50',              'quick'],
    ['line1k',        'line',     '-l -c 1000',            ''],
    ['line50x16',     'line',     '-l -c 50 -d 16',        'quick'],
    ['line1kx16',     'line',     '-l -c 1000 -d 16',      ''],
    ['line50-16k',    'longline', '-l -c 50 -m 16384',     ''],
    ['bulk',          'echo',     '-c 1 -m 65536 -d 4',    'quick'],
    ['bulk-deep',     'echo',     '-c 1 -m 65536 -d 64 -o',         'info unpaired'],
    ['sink',          'sink',     '-w sink -c 1 -m 65536 -s 200000', 'quick'],
    ['storm',         'echo',     '-w storm -c 64',        'quick'],
    ['storm-fin',     'echo',     '-w fin -c 64',          ''],
    ['storm-burst',   'echo',     '-w fin -c 64 -b',       'quick'],
);

# The same for datagrams. The servers are another by hand, asocket with many datagrams in each call,
# and asocket with one. "flow": where batches must pay.
my @datagrams = (
    ['udp16',         'echo',     '-w echo -c 16',         'quick'],
    ['udp16x8',       'echo',     '-w echo -c 16 -d 8',    'quick'],
    ['flow-in',       'in',       '-w in -m 64',           'quick flow'],
    ['flow-in-1200',  'in',       '-w in -m 1200',         'flow'],
    ['flow-out',      'out',      '-w out -m 64',          'quick flow'],
    ['flow-out-1200', 'out',      '-w out -m 1200',        'flow'],
);

my $udp_legend = <<'END';
udp16: 16 sockets, 64 B datagrams echoed, one in flight each; x8: eight. flow-in: one flow to the
server, flow-out: one from it, 64 B or 1200 B datagrams, counted where they arrive; the other end
sends and takes segments whole, as a network card would (UDP_SEGMENT, UDP_GRO). one by one:
asocket with receive_from and send_to. req: datagrams.
END

my $legend = <<'END';
echoN: N connections, 64 B messages, one in flight each; -16k: 16 KiB messages; x16: 16 in flight.
line: lines, each answered by itself. bulk: one stream echoed, requests of 64 KiB, 256 KiB in
flight; bulk-deep: 4 MiB in flight, a new connection per slice (how fast it is differs by half from
one connection to the next, for every server: not judged). sink: one stream discarded. storm: 64
clients connect, ask, read, close; -fin: they half-close after asking; -burst: and the server is
held until all 64 have asked.
req/CPU-s: requests per second of the server's CPU time (user and system). ratio: to the server by
hand, median of the rounds, +- half the distance between the quartiles; above 1 is cheaper.
calls: system calls per request, by tracepoint, in slices of their own. p99: microseconds.
RSS: KiB, with the connections open.
END

my (%running, %notes, %results, @rows);
my $begin = time;
my $failed = 0;

END {
    stop($_) for keys %running;
}
$SIG{INT} = $SIG{TERM} = sub { exit 130 };

# --- processes --------------------------------------------------------------------------------

sub note {
    my ($text) = @_;
    print "! $text\n" unless $notes{$text}++;
}

sub broken {
    my ($text) = @_;
    $failed = 1;
    note($text);
}

sub pinned {
    my ($cpu, @command) = @_;
    return -x '/usr/bin/taskset' ? ('/usr/bin/taskset', '-c', $cpu, @command) : @command;
}

# Runs a program with a time limit; its output, or undef. Standard error goes to a file.
sub output_of {
    my ($seconds, @command) = @_;
    my $pid = open(my $pipe, '-|') // die "fork: $!";
    if ($pid == 0) {
        open(STDERR, '>', "$build/stderr") or die "$build/stderr: $!";
        exec(@command) or POSIX::_exit(127);
    }
    my $text = '';
    my $in_time = eval {
        local $SIG{ALRM} = sub { die "late\n" };
        alarm($seconds);
        while (defined(my $line = <$pipe>)) {
            $text .= $line;
        }
        alarm(0);
        1;
    };
    kill('KILL', $pid) unless $in_time;
    close($pipe);
    return $in_time && $? == 0 ? $text : undef;
}

sub complaint {
    open(my $file, '<', "$build/stderr") or return '';
    my @lines = grep { /\S/ } <$file>;
    chomp(@lines);
    my ($error) = grep { /error/ } @lines;
    return $error // $lines[0] // 'no message';
}

sub server_command {
    my ($server, $mode, $marks) = @_;
    my @command = ("$build/${server}_server", $mode);
    @command = ("$build/asocket_udp", $mode, 'one') if $server eq 'single';
    @command = ("$build/${server}_udp", $mode) if $server ne 'single' && $marks =~ /udp/;
    return pinned(0, @command);
}

sub start {
    my ($server, $limit, @command) = @_;
    my $pid = open(my $pipe, '-|') // die "fork: $!";
    if ($pid == 0) {
        @command = ('sh', '-c', "ulimit -n $limit; exec \"\$@\"", 'sh', @command) if $limit;
        exec(@command) or POSIX::_exit(127);
    }
    my $port = eval {
        local $SIG{ALRM} = sub { die "late\n" };
        alarm(5);
        my $line = <$pipe>;
        alarm(0);
        $line;
    };
    $running{$pid} = $pipe;
    return "$1:$pid" if ($port // '') =~ /^(\d+)$/;
    stop($pid);
    broken("the $title{$server} server did not start (@command)");
    return undef;
}

sub stop {
    my ($pid) = @_;
    my $pipe = delete $running{$pid} or return;
    local $?;
    kill('CONT', $pid);
    kill('KILL', $pid);
    my @said = <$pipe>;
    close($pipe);
    return $said[-1];
}

sub stop_all {
    stop((split /:/)[1]) for @_;
}

sub fields {
    my ($line) = @_;
    return {$line =~ /(\w+)=(-?[\d.]+)/g};
}

# --- building ---------------------------------------------------------------------------------

sub compile {
    my ($name, @libraries) = @_;
    my @command = ($cc, '-O2', '-DNDEBUG', "$here/$name.c", '-o', "$build/$name", '-pthread',
        @libraries);
    return 1 if defined output_of(300, @command);
    note("$name was not built: " . complaint());
    return 0;
}

sub build_all {
    make_path($build);
    compile($_) || die "the load does not build\n" for qw(load idle fdlimit udp_load);
    my %built = (raw => compile('raw_server'), libuv => compile('uv_server', '-luv'),
        asocket => compile('asocket_server'));
    rename("$build/uv_server", "$build/libuv_server") if $built{libuv};
    @wanted = grep { $built{$_} } @wanted;
    $built{$_} = compile($_)
        for qw(micro raw_udp asocket_udp handover workers_server names_server);
    $failed = 1 if grep { !$built{$_} && $_ ne 'libuv' } keys %built;
    return %built;
}

# --- arithmetic -------------------------------------------------------------------------------

sub quantile {
    my ($part, @values) = @_;
    return undef unless @values;
    @values = sort { $a <=> $b } @values;
    my $position = $part * (@values - 1);
    my $low = int $position;
    return $values[$low] unless $low + 1 < @values;
    return $values[$low] + ($position - $low) * ($values[$low + 1] - $values[$low]);
}

sub median { return quantile(0.5, @_) }

# --- workloads --------------------------------------------------------------------------------

# Adds to {server}: rate (per batch and round), calls, sends, p99, rss.
sub gather {
    my ($all, $batch, $text, @servers) = @_;
    for my $slice (map { fields($_) } split /\n/, $text) {
        my $one = $all->{$servers[$slice->{server}]} //= {};
        next if $slice->{requests} == 0;
        if ($slice->{calls} >= 0) {
            push @{$one->{all_calls}}, $slice->{calls} / $slice->{requests};
            push @{$one->{all_sends}}, $slice->{sends} / $slice->{requests};
            next;
        }
        $one->{rate}{"$batch $slice->{round}"} = $slice->{requests} * 1e9 / ($slice->{cpu_ns} || 1);
        $one->{wall}{"$batch $slice->{round}"} = $slice->{requests} * 1e9 / $slice->{wall_ns};
        push @{$one->{all_p99}}, $slice->{p99_ns} / 1000 if $slice->{p99_ns} > 0;
        $one->{rss} = $slice->{rss_kib} if $slice->{rss_kib} > 0;
    }
}

sub ratios {
    my ($key, $one, $other) = @_;
    return map { $one->{$key}{$_} / $other->{$key}{$_} }
        grep { $other->{$key}{$_} } keys %{$one->{$key} || {}};
}

sub compare {
    my ($one, $raw, $marks) = @_;
    my @ratios = ratios('rate', $one, $raw);
    return unless @ratios;
    $one->{ratio} = $marks =~ /unpaired/
        ? median(values %{$one->{rate}}) / median(values %{$raw->{rate}}) : median(@ratios);
    $one->{spread} = (quantile(0.75, @ratios) - quantile(0.25, @ratios)) / 2;
    $one->{doubt} = 1.86 * $one->{spread} / sqrt(@ratios); # standard error of a median
}

# One batch: new servers, and the load over all of them. False: it did not run.
sub run_batch {
    my ($all, $batch, $cores, $name, $mode, $options, $marks) = @_;
    my (@servers, @addresses);
    for my $server (@wanted) {
        my $address = start($server, 0, server_command($server, $mode, $marks)) or next;
        push @servers, $server;
        push @addresses, $address;
    }
    my $load = $marks =~ /udp/ ? 'udp_load' : 'load';
    my @load = pinned($cores - 1, "$build/$load", split(' ', $options));
    # A thousand connections take a while to have their turn: short slices cut a round in two.
    my $ms = $options =~ /-c 1000/ ? 2 * $slice_ms : $slice_ms;
    push @load, '-t', $ms, '-r', $slices, '-k', $batch > 1 ? 0 : $quick ? 1 : 2, @addresses;
    my $text = output_of(120, @load);
    stop_all(@addresses);
    my $said = complaint();
    note("$name: $said") if defined $text && $said ne 'no message';
    broken("$name on $cores core(s) did not run: $said") unless defined $text;
    gather($all, $batch, $text, @servers) if defined $text;
    return defined $text;
}

# Whether more batches could change the verdict.
sub is_open {
    my ($one, $marks) = @_;
    my $limit = $marks =~ /udp/ ? 1 / 1.1 : 1 / 1.05;
    return $one && $one->{ratio} && abs($one->{ratio} - $limit) < 2 * $one->{doubt};
}

sub measure {
    my ($cores, $name, $mode, $options, $marks) = @_;
    my %all;
    for my $batch (1 .. 2 * $batches) {
        my $late = $quick || $marks =~ /info/ || time - $begin > 160 * $cores;
        last if $batch > $batches && ($late || !is_open($all{asocket}, $marks));
        run_batch(\%all, $batch, $cores, $name, $mode, $options, $marks) or return;
        for my $one (values %all) {
            $one->{$_} = median(@{$one->{"all_$_"} || []}) for qw(calls sends p99);
            compare($one, $all{raw}, $marks) if $all{raw};
        }
    }
    $results{$cores}{$name} = \%all;
}

sub cell {
    my ($format, $value) = @_;
    return sprintf $format, $value if defined $value;
    my ($width) = $format =~ /(\d+)/;
    return sprintf "%${width}s", '-';
}

sub print_workload {
    my ($name, $all) = @_;
    my @others = grep { $_ ne 'raw' } @wanted;
    my $raw = $all->{raw} || {};
    my $line = sprintf '%-14s', $name;
    $line .= cell('%9.0f', $raw->{rate} ? median(values %{$raw->{rate}}) : undef);
    $line .= cell('%8.3f', $all->{$_}{ratio}) . cell('+-%4.3f', $all->{$_}{spread}) for @others;
    $line .= cell('%8.3f', $all->{$_}{calls}) for @wanted;
    $line .= cell('%8.0f', $all->{$_}{p99}) for @wanted;
    $line .= cell('%8.0f', $all->{$_}{rss}) for @wanted;
    print "$line\n";
}

sub print_head {
    my ($cores) = @_;
    my @others = grep { $_ ne 'raw' } @wanted;
    my $n = @wanted;
    my $widths = [15 * @others, 8 * $n, 8 * $n, 8 * $n];
    printf "\n%s core%s for server and load\n", $cores == 1 ? ('One', '') : ('Two', 's');
    printf "%-14s%9s%*s%*s%*s%*s\n", '', 'req/CPU-s', $widths->[0], 'ratio', $widths->[1], 'calls',
        $widths->[2], 'p99 us', $widths->[3], 'RSS KiB';
    printf "%-14s%9s", 'workload', $title{raw};
    printf '%15s', $title{$_} for @others;
    print map({ sprintf '%8s', $_ } @wanted, @wanted, @wanted), "\n";
}

sub run_workloads {
    my ($cores, $what, @list) = @_;
    print_head($cores);
    for my $workload (@list) {
        my ($name, $mode, $options, $marks) = @$workload;
        next if $name !~ /$only/ || ($quick && !$ENV{ONLY} && $marks !~ /quick/);
        measure($cores, $name, $mode, $options, "$marks $what");
        print_workload($name, $results{$cores}{$name}) if $results{$cores}{$name};
    }
}

sub run_datagrams {
    my @cores = $quick ? $_[0] : @_;
    local @wanted = qw(raw asocket single);
    local $batches = $quick ? 2 : $batches;
    run_workloads($_, 'udp', @datagrams) for @cores;
    print "\n$udp_legend";
}

# --- the other measurements -------------------------------------------------------------------

sub run_idle {
    my %idle;
    print "\nIdle connections: bytes each of the server's resident memory (page tables beside)\n";
    printf "%-10s%8s%10s%12s%14s%10s%12s\n", 'server', 'held', 'answered', 'when held',
        'when answered', 'tables', 'accept ns';
    for my $server (@wanted) {
        for my $count ($server eq 'asocket' || !$quick ? (1000, 19000) : (1000)) {
            my $address = start($server, 0, server_command($server, 'line', '')) or next;
            my $text = output_of(60, pinned(1 % cores(), "$build/idle", $address, $count));
            stop_all($address);
            my $said = complaint();
            broken("idle: $title{$server}, $count: $said") unless defined $text;
            my $one = $idle{$server}{$count} = fields($text // next);
            printf "%-10s%8d%10d%12d%14d%10d%12d\n", $title{$server},
                @$one{qw(connections answered open_bytes used_bytes table_bytes accept_ns)};
        }
    }
    $results{idle} = \%idle;
}

sub run_limit {
    print "\nAt the descriptor limit (64): 20 clients inside, 300 knock, then some leave\n";
    printf "%-10s%12s%8s%12s%12s%10s%10s%12s\n", 'server', 'failed/s', 'CPU %', 'calm us',
        'crowded us', 'answered', 'dropped', 'recovery ms';
    for my $server (@wanted) {
        my $address = start($server, 64, server_command($server, 'echo', '')) or next;
        my $text = output_of(60, pinned(1 % cores(), "$build/fdlimit", $address));
        stop_all($address);
        my $said = complaint();
        broken("descriptor limit: $title{$server}: $said") unless defined $text;
        my $one = $results{limit}{$server} = fields($text // next);
        printf "%-10s%12s%8.2f%12.0f%12.0f%10d%10d%12.0f\n", $title{$server},
            $one->{failed_accepts} < 0 ? '-' : $one->{failed_accepts}, $one->{idle_cpu_percent},
            $one->{calm_p50_ns} / 1000, $one->{crowd_p50_ns} / 1000,
            @$one{qw(answered dropped recovered_ms)};
    }
}

sub run_micro {
    my $text = output_of(120, pinned(0, "$build/micro"));
    return broken('micro did not run: ' . complaint()) unless defined $text;
    $results{micro} = fields($text);
    print "\nCoroutines\n";
    print map { "  $_\n" } split /\n/, $text;
}

sub run_handover {
    my $text = output_of(120, "$build/handover");
    return broken('handover did not run: ' . complaint()) unless defined $text;
    $results{handover} = fields($text);
    print "\nConnections handed to and fro between two selectors in two threads, us each: 64 under "
        . "way,\none alone, and 64 that are used at each stop (with the exchange)\n";
    print map { "  $_\n" } split /\n/, $text;
}

# One worker and two in turns, nothing pinned: {one} and {two}, and the load's CPU time per request.
sub compare_workers {
    my ($work_us) = @_;
    my (%all, $requests);
    my $ms = 3 * $slice_ms;
    my @before = times;
    for my $batch (1 .. $batches) {
        my @addresses = map { start($_, 0, "$build/workers_server", $_ eq 'one' ? 1 : 2, $work_us) }
            qw(one two);
        return if grep { !defined } @addresses;
        my $text = output_of(60, "$build/load", qw(-l -c 64 -r), $slices, '-t', $ms, @addresses);
        $all{load_ns} += 1e9 * ((times)[2] + (times)[3]) - 1e9 * ($before[2] + $before[3]);
        stop_all(@addresses);
        @before = times;
        return broken('workers: ' . complaint()) unless defined $text;
        gather(\%all, $batch, $text, qw(one two));
        $requests += fields($_)->{requests} for split /\n/, $text;
    }
    $all{load_ns} *= $ms / ($ms + 10) / $requests; # 10 ms of warm-up in each slice
    return \%all;
}

# What two cores can do for two workers: the load takes its part of them.
sub run_workers {
    print "\nOne worker and two, 64 connections with lines, on the same two cores as the load\n";
    printf "%-12s%12s%10s%12s%10s%8s%10s%13s%10s\n", 'work a line', 'one, req/s', 'cores',
        'two, req/s', 'cores', 'ratio', 'possible', 'CPU two/one', 'load, us';
    for my $us (0, 50) {
        my $all = compare_workers($us) or next;
        my %one = (ratio => median(ratios('wall', @$all{qw(two one)})));
        my $server_ns = 1e9 / median(values %{$all->{one}{rate}});
        $one{possible} = possible($server_ns, $all->{load_ns});
        @one{qw(got_one got_two)} = map { (rate_and_cores($all->{$_}))[1] } qw(one two);
        printf "%-12s%12.0f%10.2f%12.0f%10.2f%8.2f%10.2f%13.2f%10.1f\n", "$us us",
            rate_and_cores($all->{one}), rate_and_cores($all->{two}), @one{qw(ratio possible)},
            1 / median(ratios('rate', @$all{qw(two one)})), $all->{load_ns} / 1000;
        $results{workers}{$us} = \%one;
    }
    print "cores: what the server got of them. possible: if all of both went into the server and\n",
        "the load, by their CPU time per request: the load needs its part, and so does whatever\n",
        "else the machine does.\n";
}

sub rate_and_cores {
    my ($one) = @_;
    my $rate = median(values %{$one->{wall}});
    return $rate, $rate / median(values %{$one->{rate}});
}

# One worker is held up by itself or by the load, whichever needs more; two share both cores with
# it.
sub possible {
    my ($server, $load) = @_;
    my $one = 1 / ($server > $load ? $server : $load);
    my $two = 2 / ($server + $load);
    $two = 1 / $load if $load > $server;
    return $two / $one;
}

sub run_names {
    my $text = output_of(60, "$build/names_server", 'rates');
    return broken('names did not run: ' . complaint()) unless defined $text;
    print "\nNames: lookups per second: known at once, by the threads, by four askers\n";
    print map { "  $_\n" } split /\n/, $text;
    my %p99;
    for my $batch (1 .. ($quick ? 2 : $batches)) {
        for my $rate ($batch % 2 ? (0, 1000) : (1000, 0)) {
            my ($slices, $done) = slices_beside($rate) or return;
            push @{$p99{$rate}}, map { $_->{p99_ns} / 1000 } @$slices;
            $results{names}{lookups} = $done if $rate;
        }
    }
    my ($calm, $asked) = map { median(@{$p99{$_}}) } 0, 1000;
    printf "  1,000 connections echo: p99 %.0f us, with %d lookups per second %.0f us\n", $calm,
        $results{names}{lookups}, $asked;
    $results{names}{ratio} = $asked / $calm;
}

# A thousand connections, and so many lookups per second: the slices, and how many there were.
sub slices_beside {
    my ($rate) = @_;
    my $address = start('names', 0, "$build/names_server", $rate) or return;
    my $text = output_of(60, "$build/load", qw(-c 1000 -r), $slices, '-t', 2 * $slice_ms, $address);
    sleep 0.2;
    my $said = stop((split /:/, $address)[1]);
    return broken('names: ' . complaint()) unless defined $text;
    return [map { fields($_) } split /\n/, $text], fields($said // '')->{lookups} // 0;
}

# The processor's time, not the clock's: the machine may be busy with something else.
sub run_compiler {
    my $source = "$build/implementation.c";
    my @seconds;
    open(my $file, '>', $source) or die "$source: $!";
    print $file "#define ASOCKET_IMPLEMENTATION\n#include \"$root/asocket.h\"\n";
    close($file);
    for (1 .. ($quick ? 1 : 3)) {
        my @before = times;
        defined output_of(300, $cc, '-O2', '-c', $source, '-o', "$build/implementation.o")
            or return broken('the implementation does not compile: ' . complaint());
        my @after = times;
        push @seconds, $after[2] + $after[3] - $before[2] - $before[3];
    }
    $results{compile} = quantile(0, @seconds);
    defined output_of(300, $cc, '-Os', '-c', $source, '-o', "$build/small.o")
        or return broken('the implementation does not compile at -Os: ' . complaint());
    my $sizes = output_of(10, 'size', '-A', "$build/small.o") // '';
    $results{text} += $1 while $sizes =~ /^\.text\S*\s+(\d+)/mg;
    $results{constants} += $1 while $sizes =~ /^\.rodata\S*\s+(\d+)/mg;
    $results{carried} = carried_by_greeter();
    $results{core} = text_of_core();
    printf "\nThe implementation: cc -O2 -c %.2f s of CPU; at -Os %s\n", $results{compile},
        $results{text} ? sprintf('%.1f KiB of text and %.1f KiB of constants', $results{text} / 1024,
            $results{constants} / 1024) : 'not measured: no size(1)';
}

# What a program that calls a part of it carries: the rest is dropped by the compiler.
sub carried_by_greeter {
    defined output_of(300, $cc, '-Os', '-DASOCKET_STATIC', '-w', "$root/examples/greeter.c", '-o',
        "$build/greeter") or return;
    my $sizes = output_of(10, 'size', '-A', "$build/greeter") // '';
    return $sizes =~ /^\.text\s+(\d+)/m ? $1 : undef;
}

# What a program carries that calls everything for TCP: all but datagrams, Unix sockets, lists of
# addresses, moving sockets, layers and files.
sub text_of_core {
    my $later = qr/_(?:udp|unix\w*|\w+_group|receive\w*|send\w*|hand_over|share|layer\w*|detach|attach\w*
        |fail|write_file|remote_host|peer_credentials|set_capacity|resolve|connect_any)$/x;
    my $names = output_of(10, 'nm', '-g', '--defined-only', "$build/small.o") // '';
    my @core = grep { !/$later/ } $names =~ / T (asocket_\w+)$/mg;
    my $source = "$build/core.c";
    open(my $file, '>', $source) or die "$source: $!";
    print $file "#define ASOCKET_STATIC\n#define ASOCKET_IMPLEMENTATION\n#include \"$root/asocket.h\"\n",
        "typedef void any(void);\nany *const core[] = {\n", map({ "(any *)$_,\n" } @core), "};\n";
    close($file);
    defined output_of(300, $cc, '-Os', '-w', '-c', $source, '-o', "$build/core.o") or return;
    my $sizes = output_of(10, 'size', '-A', "$build/core.o") // '';
    return $sizes =~ /^\.text\s+(\d+)/m ? $1 : undef;
}

sub cores {
    return POSIX::sysconf(84) || 1; # _SC_NPROCESSORS_ONLN on Linux; the name is not in POSIX.pm
}

# --- what it must reach -----------------------------------------------------------------------

sub row {
    my ($what, $must, $format, $value, $ok, $beside) = @_;
    my $verdict = !defined $value ? 'not measured' : $ok ? 'ok' : 'MISSED';
    push @rows, sprintf '%-55s%12s%12s  %-14s%s', $what, $must,
        defined $value ? sprintf($format, $value) : '-', $verdict, $beside // '';
}

sub at_most {
    my ($what, $must, $tolerance, $format, $value, $beside) = @_;
    row($what, "<= $must", $format, $value,
        defined $value && $value <= $must + $tolerance, $beside);
}

sub figure {
    my ($cores, $name, $key, $server) = @_;
    return ($results{$cores}{$name} || {})->{$server || 'asocket'}{$key};
}

sub beside {
    my ($name, $key) = @_;
    my @parts;
    for my $case (['by hand', 1, 'raw'], ['two cores', 2, 'asocket'], ['by hand there', 2, 'raw']) {
        my $value = figure($case->[1], $name, $key, $case->[2]);
        push @parts, sprintf('%s %.3f', $case->[0], $value) if defined $value;
    }
    return @parts ? '(' . join(', ', @parts) . ')' : '';
}

sub judge_cpu {
    my ($cores) = @_;
    my ($worst, $where, @over);
    for my $workload (grep { $_->[3] !~ /info/ } @workloads) {
        my $ratio = figure($cores, $workload->[0], 'ratio') or next;
        my $more = 100 / $ratio - 100;
        ($worst, $where) = ($more, $workload->[0]) if !defined $worst || $more > $worst;
        push @over, sprintf('%s %+.1f +-%.1f', $workload->[0], $more,
            100 * figure($cores, $workload->[0], 'doubt')) if $more > 5;
    }
    row("server CPU per request over the one by hand, $cores core(s)", '<= 5 %',
        '%+.1f %%', $worst, defined $worst && $worst <= 5,
        @over ? '(' . join(', ', @over) . ')' : defined $where ? "(worst: $where)" : '');
}

sub judge_datagrams {
    my ($cores) = @_;
    my ($worst, @all, %gain);
    for my $workload (@datagrams) {
        my $ratio = figure($cores, $workload->[0], 'ratio') or next;
        my $more = 100 / $ratio - 100;
        $worst = $more if !defined $worst || $more > $worst;
        push @all, sprintf('%s %+.1f', $workload->[0], $more);
        my $single = figure($cores, $workload->[0], 'ratio', 'single') or next;
        $gain{$workload->[0]} = $ratio / $single if $workload->[3] =~ /flow/;
    }
    row("UDP CPU per datagram over the one by hand, $cores core(s)", '<= 10 %', '%+.1f %%', $worst,
        defined $worst && $worst <= 10, '(' . join(', ', @all) . ')');
    my ($least) = sort { $a <=> $b } values %gain;
    row("  many with each call over one by one, flows, $cores core(s)", '>= 1.5', '%.2f', $least,
        defined $least && $least >= 1.5,
        '(' . join(', ', map { sprintf '%s %.2f', $_, $gain{$_} } sort keys %gain) . ')');
}

sub judge_threads {
    my $handover = $results{handover} || {};
    my $workers = $results{workers}{50} || {};
    at_most('a connection handed to another thread, us', 10, 0, '%.2f', $handover->{handover_us},
        defined $handover->{handover_used_us}
        ? "(alone $handover->{handover_alone_us}, used $handover->{handover_used_us})" : '');
    my $part = $workers->{ratio} ? 100 * $workers->{ratio} / $workers->{possible} : undef;
    row('two workers over one, of what the load leaves', '>= 90 %', '%.0f %%', $part,
        defined $part && $part >= 90,
        defined $part ? sprintf('(%.2f of %.2f; one got %.2f cores, two %.2f)',
            @$workers{qw(ratio possible got_one got_two)}) : '');
    at_most('p99 of 1,000 connections, with lookups / without', 1.25, 0, '%.2f',
        ($results{names} || {})->{ratio});
}

sub judge_limit {
    my $limit = $results{limit}{asocket} || {};
    my $failed = $limit->{failed_accepts};
    undef $failed if defined $failed && $failed < 0;
    row('failed accepts per second at the descriptor limit', '< 20', '%.1f', $failed,
        defined $failed && $failed < 20);
    my $slower = $limit->{calm_p50_ns} ? $limit->{crowd_p50_ns} / $limit->{calm_p50_ns} : undef;
    row('  latency of those inside, crowded / calm', '<= 1.25', '%.2f', $slower,
        defined $slower && $slower <= 1.25);
    row('  waiting clients answered when others have left', '300', '%d', $limit->{answered},
        ($limit->{answered} // 0) == 300);
}

sub judge {
    my $micro = $results{micro} || {};
    my $idle = ($results{idle}{asocket} || {})->{19000} || {};
    my $each = $idle->{open_bytes};
    at_most('system calls per echoed 64 B message, 1 connection', '3.0', 0.05, '%.2f',
        figure(1, 'echo1', 'calls'), beside('echo1', 'calls'));
    at_most('system calls per echoed 64 B message, 50 connections', 2.1, 0, '%.2f',
        figure(1, 'echo50', 'calls'), beside('echo50', 'calls'));
    judge_cpu($_) for grep { $results{$_} } 1, 2;
    at_most('system calls per connection of a storm (64 at once)', 5.1, 0, '%.2f',
        figure(1, 'storm-burst', 'calls'), beside('storm-burst', 'calls'));
    at_most('sends per line, 16 in flight, 50 connections', 0.07, 0, '%.3f',
        figure(1, 'line50x16', 'sends'), beside('line50x16', 'sends'));
    at_most('coroutine switch, ns', 5, 0, '%.1f', $micro->{switch_ns},
        defined $micro->{yield_ns} ? "(a yield through the scheduler: $micro->{yield_ns})" : '');
    at_most('coroutine launched and finished, pooled, ns', 60, 0, '%.1f',
        $micro->{launch_finish_ns});
    at_most('memory of an idle connection and its coroutine, KiB', 4.5, 0, '%.2f',
        defined $each ? $each / 1024 : undef,
        defined $idle->{table_bytes} ? "(and page tables: $idle->{table_bytes} bytes)" : '');
    row('idle connections in one process, all answered', 19000, '%d', $idle->{answered},
        ($idle->{answered} // 0) == 19000);
    row('coroutines asleep', 100000, '%d', $micro->{sleepers}, ($micro->{sleepers} // 0) >= 100000);
    at_most('  of their stacks without a guard', 0, 0, '%d', $micro->{unguarded_stacks});
    at_most('cc -O2 -c of the implementation, s', 2, 0, '%.2f', $results{compile});
    at_most('its text at -Os, KiB', 40, 0, '%.1f',
        defined $results{text} ? $results{text} / 1024 : undef,
        $results{carried}
        ? sprintf('(examples/greeter.c with ASOCKET_STATIC: %.1f)', $results{carried} / 1024) : '');
    at_most('  of TCP, names, channels and coroutines', 40, 0, '%.1f',
        defined $results{core} ? $results{core} / 1024 : undef);
    judge_limit();
    judge_datagrams($_) for grep { figure($_, 'udp16', 'ratio') } 1, 2;
    judge_threads();
}

# --- main -------------------------------------------------------------------------------------

$| = 1;
my %built = build_all();
my @cores = split ' ', $ENV{CORES} || (cores() > 1 ? '1 2' : '1');
note('taskset is missing: nothing is pinned') unless -x '/usr/bin/taskset';
note('one processor: no runs with a core each') if cores() < 2;
run_workloads($_, 'tcp', @workloads) for @cores;
print "\n$legend";
run_datagrams(@cores) if $built{raw_udp} && $built{asocket_udp};
unless ($ENV{ONLY}) {
    run_idle();
    run_limit();
    run_micro() if $built{micro};
    run_handover() if $built{handover};
    run_workers() if $built{workers_server} && cores() > 1;
    run_names() if $built{names_server};
    run_compiler() if -e "$root/asocket.h";
}
judge();
printf "\n%-55s%12s%12s\n%s\n", 'asocket', 'must', 'measured', join("\n", @rows);
printf "\n%.0f seconds\n", time - $begin;
print "Something did not run: see the lines that begin with \"!\".\n" if $failed;
exit $failed;
