#!/usr/bin/env perl
# names.t - names that a real name server answers, late, not at all, with nothing, with much: dnsmasq
# in a network of its own. The system's resolver is the one that programs have (getaddrinfo(3)).
#
#     perl tests/names.t
#
# The script runs itself again in network and mount namespaces (unshare(1)), where /etc/resolv.conf,
# hosts and nsswitch.conf are its own; where that is not allowed it skips. Needs a C compiler (CC),
# dnsmasq and mount(8). Every wait is bounded.
use strict;
use warnings;
use File::Temp qw(tempdir);
use FindBin;
use IO::Select;
use IO::Socket::IP;
use POSIX qw(:sys_wait_h);
use Test::More;
use Time::HiRes qw(sleep time);

use constant { PATIENCE => 20, WHOLE_PATIENCE => 300 };

chdir "$FindBin::Bin/.." or die "no top level: $!";
$SIG{PIPE} = 'IGNORE';
$SIG{$_} = sub { die "names.t: ended by SIG$_[0]\n" } for qw(ALRM INT TERM);
alarm WHOLE_PATIENCE;

sub program {
    my ($name) = @_;
    return (grep { -x && !-d } map { "$_/$name" } split(/:/, $ENV{PATH}), '/usr/sbin', '/sbin')[0];
}

my @unshare = ('unshare', $< ? '-r' : (), qw(-n -m));
if (!$ENV{NAMES_INSIDE}) {
    for my $needed (qw(dnsmasq unshare mount)) {
        plan skip_all => "$needed is missing" if !program($needed);
    }
    my $said = `@unshare sh -c 'mount --bind /etc/hosts /etc/hosts' 2>&1`;
    plan skip_all => "no namespaces here: $said" if $?;
    $ENV{NAMES_INSIDE} = 1;
    exec @unshare, $^X, $0 or die "unshare: $!";
}

# --- the network ----------------------------------------------------------------------------------

my $scratch = tempdir(CLEANUP => 1);
my $test_pid = $$;
my (%running, %files);

sub lo_up {    # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING
    socket my $any, Socket::AF_INET(), Socket::SOCK_DGRAM(), 0 or die "socket: $!";
    ioctl $any, 0x8914, my $request = pack 'a16 s x22', 'lo', 0x41 or die "lo: $!";
}

sub write_file {
    my ($name, $text) = @_;
    open my $file, '>', "$scratch/$name" or die "$name: $!";
    print $file $text;
    close $file;
    return "$scratch/$name";
}

sub instead_of {    # this text stands in a file of /etc from now on
    my ($path, $text) = @_;
    my $name = $path =~ s{.*/}{}r;
    write_file($name, $text);
    return if $files{$path}++;
    system('mount', '--bind', "$scratch/$name", $path) == 0 or die "mount over $path\n";
}

lo_up();
instead_of('/etc/nsswitch.conf', "hosts: files dns\n");
instead_of('/etc/resolv.conf', "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n");
instead_of('/etc/hosts', "127.0.0.1 localhost\n192.0.2.99 filed.example\n");
system("mount -t tmpfs none /run/nscd 2>/dev/null") if -d '/run/nscd';

# --- processes ------------------------------------------------------------------------------------

sub start {
    my ($output, @command) = @_;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for qw(ALRM INT PIPE TERM);
        alarm WHOLE_PATIENCE;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', $output or POSIX::_exit(126);
        open STDERR, '>&', \*STDOUT;
        { no warnings 'exec'; exec { $command[0] } @command; }
        POSIX::_exit(127);
    }
    $running{$pid} = 1;
    return $pid;
}

sub finish {    # exit status, or 'hung'
    my ($pid, $seconds) = @_;
    my $end = time + $seconds;
    my $got;
    sleep 0.01 until ($got = waitpid $pid, WNOHANG) || time > $end;
    my $status = $?;
    if (!$got) {
        kill 'KILL', $pid;
        waitpid $pid, 0;
    }
    delete $running{$pid};
    return !$got ? 'hung' : $status & 127 ? 'signal ' . ($status & 127) : $status >> 8;
}

sub stop { kill 'TERM', $_[0]; return finish($_[0], PATIENCE) }

END {
    if ($$ == $test_pid) {
        local $?;
        kill 'KILL', keys %running;
        waitpid $_, 0 for keys %running;
    }
}

sub content {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    local $/;
    return scalar(<$file>) // '';
}

my $runs = 0;

sub run {    # output with the errors, status
    my @command = @_;
    my $output = "$scratch/run." . $runs++;
    my $status = finish(start($output, @command), 60);
    return (content($output), $status);
}

sub compile {
    my ($source, $program) = @_;
    my ($said, $status) = run($ENV{CC} // 'cc', '-O1', '-o', "$scratch/$program", $source, '-pthread');
    $status eq '0' or BAIL_OUT("$source does not compile: $said");
}

# --- the name server, and one that never answers or late ------------------------------------------

my $mute = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0, Proto => 'udp');
my $late = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0, Proto => 'udp');

# Answers each query for an A record by 192.0.2.50 after 400 ms, others with nothing.
sub answer_late {
    my ($socket) = @_;
    $SIG{TERM} = sub { POSIX::_exit(0) };
    my @queue;
    while (1) {
        my $ready = IO::Select->new($socket)->can_read(0.01);
        if ($ready && defined(my $from = recv $socket, my $query, 1500, 0)) {
            push @queue, [time + 0.4, $from, $query];
        }
        while (@queue && $queue[0][0] <= time) {
            my (undef, $from, $query) = @{shift @queue};
            my ($labels) = substr($query, 12) =~ /\A((?:[^\0].*?)?\0)/s;
            my $question = substr $query, 12, length($labels) + 4;
            my $is_a = unpack('n', substr $question, length $labels, 2) == 1;
            my $head = substr($query, 0, 2) . pack 'n5', 0x8180, 1, $is_a ? 1 : 0, 0, 0;
            my $answer = $is_a ? pack('n n n N n C4', 0xc00c, 1, 1, 60, 4, 192, 0, 2, 50) : '';
            send $socket, "$head$question$answer", 0, $from;
        }
    }
}

my $late_server = fork // die "fork: $!";
if (!$late_server) {
    alarm WHOLE_PATIENCE;
    answer_late($late);
    POSIX::_exit(0);
}
$running{$late_server} = 1;

my $log = "$scratch/dnsmasq.log";
my @dnsmasq = (program('dnsmasq'), qw(--keep-in-foreground --user= --group= --no-resolv
    --conf-file=/dev/null --pid-file= --no-hosts --log-queries --log-facility=- --port=53
    --listen-address=127.0.0.1 --bind-interfaces --local=/example/ --cache-size=0),
    '--server=/slow.test/127.0.0.1#' . $mute->sockport,
    '--server=/late.test/127.0.0.1#' . $late->sockport,
    '--host-record=one.example,192.0.2.1', '--host-record=two.example,192.0.2.2,2001:db8::2',
    '--host-record=six.example,2001:db8::6', '--txt-record=empty.example,words',
    '--host-record=both.example,127.0.0.2,::1',
    '--host-record=here.example,127.0.0.1', '--cname=alias.example,one.example',
    (map { "--host-record=many.example,192.0.2.$_" } 1 .. 100));
my $server;

sub answers {
    my ($query) = @_;
    my ($said) = run("$scratch/ask", qw(names 2000), $query);
    return $said =~ /192\.0\.2\./;
}

sub start_server {
    $server = start($log, @dnsmasq);
    my $end = time + PATIENCE;
    sleep 0.05 until answers('one.example') || time > $end || waitpid($server, WNOHANG);
}

sub queries {    # how often the server was asked for a name's A record
    my ($name) = @_;
    return scalar(() = content($log) =~ /query\[A\] \Q$name\E from/g);
}

compile('tests/names/ask.c', 'ask');
compile('examples/http_get.c', 'http_get');
compile('examples/http_hello.c', 'http_hello');
start_server();
answers('one.example') or BAIL_OUT('dnsmasq does not answer: ' . content($log));

sub ask { return run("$scratch/ask", 'names', @_) }

# Name -> [what was said of it, after how many ms].
sub answers_of {
    my ($text) = @_;
    return map { /\A(\S+): (.*) \((\d+) ms\)\z/ ? ($1 => [$2, $3]) : () } split /\n/, $text;
}

# --- what a name server says ----------------------------------------------------------------------

{
    my ($said, $status) = ask(5000, qw(one.example two.example six.example alias.example
        filed.example));
    my %of = answers_of($said);
    is($status, 0, 'names are looked up');
    is($of{'one.example'}[0], '192.0.2.1:80', 'a name with one address');
    is(join(' ', sort split / /, $of{'two.example'}[0]), '192.0.2.2:80 [2001:db8::2]:80',
        'one with addresses of both families');
    is($of{'six.example'}[0], '[2001:db8::6]:80', 'one with an IPv6 address only');
    is($of{'alias.example'}[0], '192.0.2.1:80', 'an alias');
    is($of{'filed.example'}[0], '192.0.2.99:80', 'one that /etc/hosts has');
    is(queries('filed.example'), 0, '... of which nobody was asked');

    ($said) = ask(5000, 'many.example');
    my @many = $said =~ /192\.0\.2\.\d+:80/g;
    is(scalar(@many), 32, 'of a hundred addresses (by TCP) the first 32 are taken');
    my %different = map { $_ => 1 } @many;
    is(scalar(keys %different), 32, '... each once');

    ($said) = ask(5000, qw(none.example empty.example));
    %of = answers_of($said);
    like($of{'none.example'}[0], qr/\Aresolve none\.example: .*not found\z/i,
        'a name that does not exist says so, and which');
    like($of{'empty.example'}[0], qr/\Aresolve empty\.example: .*not found\z/i,
        'one that exists without an address is not found either');
}

# --- slow ones ------------------------------------------------------------------------------------

{
    my @others = map { "n$_.late.test" } 1 .. 3;
    my ($said, $status) = ask(1000, qw(a.slow.test b.slow.test), 'one.example', $others[0]);
    my %of = answers_of($said);
    like($of{"$_.slow.test"}[0], qr/\Aresolve $_\.slow\.test: timed out/,
        'P7: a name that nobody answers ends with the deadline') for qw(a b);
    cmp_ok($of{'a.slow.test'}[1], '>=', 1000, '... not before');
    cmp_ok($of{'a.slow.test'}[1], '<', 1900, '... and not when the resolver gives up (2 s or more)');
    is($of{'one.example'}[0], '192.0.2.1:80', '... another name is answered meanwhile');
    cmp_ok($of{'one.example'}[1], '<', $of{'a.slow.test'}[1], '... without waiting for it');
    is($of{$others[0]}[0], '192.0.2.50:80', '... so is one that is answered late');
    cmp_ok($of{$others[0]}[1], '>=', 400, '... when it is');
    my ($longest) = $said =~ /^longest turn: (\d+) ms$/m;
    cmp_ok($longest, '<', 1000, "... and other coroutines go on (every $longest ms)");

    ($said) = ask(0, 'c.slow.test');
    %of = answers_of($said);
    like($of{'c.slow.test'}[0], qr/\Aresolve c\.slow\.test: /, 'without a limit it ends, too');
    cmp_ok($of{'c.slow.test'}[1], '>=', 1900, '... when the resolver gives up');
    unlike($of{'c.slow.test'}[0], qr/not found/, '... and is not said not to exist');

    ($said, $status) = run("$scratch/ask", qw(connect 500 d.slow.test 80));
    is($status, 1, "connect's time-out covers the name");
    like($said, qr/\Aconnect d\.slow\.test: timed out/, '... and says which');
    my ($ms) = $said =~ /\((\d+) ms\)/;
    ok($ms >= 500 && $ms < 1900, "... in time ($ms ms)");
}

# --- together -------------------------------------------------------------------------------------

{
    my ($said) = ask(10_000, ('same.late.test') x 50);
    is(scalar(() = $said =~ /^same\.late\.test: 192\.0\.2\.50:80 /mg), 50,
        'fifty who ask for one name at a time are answered');
    is(queries('same.late.test'), 1, '... by one question');
    my ($first, $last) = (sort { $a <=> $b } $said =~ /\((\d+) ms\)/g)[0, -1];
    cmp_ok($last - $first, '<', 400, '... at the same time: sooner than by two answers');

    my @names = map { "x$_.late.test" } 1 .. 12;
    ($said) = ask(20_000, @names);
    is(scalar(() = $said =~ /192\.0\.2\.50:80/g), 12, 'twelve slow names are all answered');
    is(scalar(grep { queries($_) == 1 } @names), 12, '... each asked for once');
}

# --- connecting -----------------------------------------------------------------------------------

sub listen_on {
    my ($host, $port, $queue) = @_;
    return IO::Socket::IP->new(LocalHost => $host, LocalPort => $port, Listen => $queue,
        ReuseAddr => 1) // die "listen $host:$port: $@";
}

# A port whose queue is full: who connects to it hears nothing.
sub fill {
    my ($host, $port) = @_;
    my @inside;
    for (1 .. 20) {
        my $socket = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Timeout => 0.3);
        return @inside if !$socket;
        push @inside, $socket;
    }
    return ();
}

# What is said at last, the status, and the least ms of three times: any one may be late on a busy
# machine.
sub connect_thrice {
    my ($host, $port) = @_;
    my ($said, $status, $least);
    for (1 .. 3) {
        ($said, $status) = run("$scratch/ask", qw(connect 5000), $host, $port);
        my ($ms) = $said =~ /\((\d+) ms\)/;
        $least = $ms if !defined $least || $ms < $least;
    }
    return ($said, $status, $least);
}

# both.example is [::1], which comes first (RFC 6724), and 127.0.0.2.
SKIP: {
    my $works = listen_on('127.0.0.2', 0, 5);
    my $port = $works->sockport;
    my $greeter = fork // die "fork: $!";
    if (!$greeter) {
        alarm WHOLE_PATIENCE;
        $SIG{TERM} = sub { POSIX::_exit(0) };
        while (my $client = $works->accept) {
            syswrite $client, "hello\n";
            close $client;
        }
        POSIX::_exit(0);
    }
    $running{$greeter} = 1;
    close $works;
    my $hangs = eval { listen_on('::1', $port, 0) } or skip 'no IPv6 here', 10;
    my @inside = fill('::1', $port);
    my ($said, $status) = ask(5000, 'both.example');
    like($said, qr/\Aboth\.example: \[::1\]:80 127\.0\.0\.2:80 /,
        'a name with two addresses, in the order to try them');
    SKIP: {
        skip 'no port can be made to hang here', 5 if !@inside;
        ($said, $status, my $ms) = connect_thrice('both.example', $port);
        is($status, 0, 'the first address hangs: connect works all the same');
        like($said, qr/\Aconnected to 127\.0\.0\.2:$port .*\nhello\n\z/, '... by the second');
        cmp_ok($ms, '>=', 250, '... which is tried 250 ms later (RFC 8305)');
        cmp_ok($ms, '<', 900, "... and no later than TCP tries the first again ($ms ms)");
        ($said, $status) = run("$scratch/ask", qw(connect 100 both.example), $port);
        like($said, qr/\Aconnect .*timed out \([1-9]\d\d+ ms\)/,
            '... unless the time-out comes before');
    }
    close $hangs;
    close $_ for @inside;
    ($said, $status, my $ms) = connect_thrice('both.example', $port);
    like($said, qr/\Aconnected to 127\.0\.0\.2:$port /, 'the first address refuses: the second');
    cmp_ok($ms, '<', 240, '... without a pause');
    stop($greeter);
    ($said, $status) = run("$scratch/ask", qw(connect 5000 both.example), $port);
    is($status, 1, 'both refuse: it fails');
    like($said, qr/\Aconnect (?:\[::1\]|127\.0\.0\.2):$port of both\.example: .*refused/,
        '... and says where and why');
}

{
    my $output = "$scratch/hello";
    my $hello = start($output, "$scratch/http_hello", 0);
    my $end = time + PATIENCE;
    sleep 0.02 until content($output) =~ /Listening on \S+:(\d+)/ || time > $end;
    my ($port) = content($output) =~ /Listening on \S+:(\d+)/;
    my ($said, $status) = run("$scratch/http_get", "here.example:$port", '/');
    is("$status: $said", "0: Hello, World!\n", 'http_get by a name of the name server');
    ($said, $status) = run("$scratch/http_get", "none.example:$port", '/');
    like("$status: $said", qr/\A1: connect none\.example: .*not found/,
        '... says of a name that is none that it is not found');
    stop($hello);
}

# --- nobody there ---------------------------------------------------------------------------------

{
    stop($server);
    my ($said) = ask(20_000, 'one.example');
    like($said, qr/\Aone\.example: resolve one\.example: /, 'without a name server it fails');
    unlike($said, qr/not found/, '... but is not said not to exist');
    like($said, qr/unreachable/, '... no name server answered');
    start_server();
    ($said) = ask(5000, 'one.example');
    like($said, qr/\Aone\.example: 192\.0\.2\.1:80 /, '... and works when it is back');
}

stop($late_server);
stop($server);
done_testing();
