#!/usr/bin/env perl
# interop.t - the examples, built as their own comments say, spoken to by the programs that people
# have: nc, telnet, socat, curl, wrk, ab, bash, dnsmasq, redis, iperf3. Byte for byte where that can
# be said.
#
#     prove tests/interop.t
#
# Needs a C compiler (CC, CXX: which one) and Perl; a client that is not installed is skipped. Every
# wait is bounded. Talks to 127.0.0.1 and ::1 only, on ports of the system's choice (greeter: 9002).
use strict;
use warnings;
use Digest::SHA qw(sha1_hex);
use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use File::Temp qw(tempdir);
use FindBin;
use IO::Select;
use IO::Socket::IP;
use POSIX qw(:sys_wait_h);
use Socket qw(:DEFAULT SO_LINGER);
use Test::More;
use Time::HiRes qw(sleep time);

use constant { PATIENCE => 20, COMPILER_PATIENCE => 120, WHOLE_PATIENCE => 600 };
use constant MEBIBYTE => 1 << 20;

chdir "$FindBin::Bin/.." or die "no top level: $!";
$SIG{PIPE} = 'IGNORE';
$SIG{$_} = sub { die "interop.t: ended by SIG$_[0]\n" } for qw(ALRM INT TERM);
alarm WHOLE_PATIENCE;

my $nothing = qr/\A(?:<Connection reset by peer>)?\z/;    # the end, whether polite or not
my $test_pid = $$;
my $scratch = tempdir(CLEANUP => 1);
my %running;    # processes started here, by pid
my @examples = sort map { m{([^/]+)\.c$} } glob 'examples/*.c';
@examples = grep { content("examples/$_.c") !~ /asocket_tls\.h/ } @examples;    # see tls/tls_servers.t

# --- processes ------------------------------------------------------------------------------------

sub program {    # where a program is, or undef
    my ($name) = @_;
    return (grep { -x && !-d } map { "$_/$name" } split /:/, $ENV{PATH})[0];
}

sub until_true(&;$) {    # polls; the last answer
    my ($condition, $seconds) = @_;
    my $end = time + ($seconds // PATIENCE);
    my $answer;
    sleep 0.01 until ($answer = $condition->()) || time > $end;
    return $answer;
}

sub content {
    my ($path) = @_;
    open my $file, '<:raw', $path or return '';
    local $/;
    return scalar(<$file>) // '';
}

sub scratch_file {    # a new file with these bytes
    my ($bytes) = @_;
    my ($file, $path) = File::Temp::tempfile(DIR => $scratch);
    binmode $file;
    print {$file} $bytes;
    close $file;
    return $path;
}

sub become_child {    # in a process group of its own, and not for ever
    setpgrp;
    $SIG{$_} = 'DEFAULT' for qw(ALRM INT PIPE TERM);
    alarm WHOLE_PATIENCE;
}

# Starts a program in its own process group. Its input: a file's path, or undef for a pipe.
sub start {
    my ($input, @command) = @_;
    my $process = { out => scratch_file(''), err => scratch_file(''), name => $command[0] };
    pipe my $read_end, my $write_end or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        become_child();
        my $opened = defined $input ? open(STDIN, '<', $input) : open(STDIN, '<&', $read_end);
        open STDOUT, '>', $process->{out} or $opened = 0;
        open STDERR, '>', $process->{err} or $opened = 0;
        close $_ for $read_end, $write_end;
        { no warnings 'exec'; $opened and exec { $command[0] } @command; }
        POSIX::_exit(127);
    }
    setpgrp $pid, $pid;    # whoever comes first
    close $read_end;
    $write_end->autoflush(1);
    @$process{qw(pid in)} = ($pid, $write_end);
    return $running{$pid} = $process;
}

sub alive {
    my ($process) = @_;
    return 0 if exists $process->{status};
    return 1 if waitpid($process->{pid}, WNOHANG) == 0;
    delete $running{$process->{pid}};
    $process->{status} = $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
    return 0;
}

# Waits for the end of a process; its exit status, or words that say what else happened.
sub finish {
    my ($process, $seconds) = @_;
    until_true { !alive($process) } $seconds;
    return $process->{status} if !alive($process);
    kill 'KILL', -$process->{pid};
    until_true { !alive($process) };
    return $process->{status} = 'hung';
}

sub stop { kill 'TERM', -$_[0]{pid} if alive($_[0]); return finish($_[0]) }
sub output { return content($_[0]{out}) }
sub errors { return content($_[0]{err}) }

# Runs a program with these bytes as its input, to its end; its output, status and errors.
sub run {
    my ($bytes, @command) = @_;
    my $process = start(scratch_file($bytes), @command);
    my $status = finish($process, 30);
    return wantarray ? (output($process), $status, errors($process)) : output($process);
}

sub example {
    my ($name, @arguments) = @_;
    return start('/dev/null', "build/examples/$name", @arguments);
}

# Starts a server of the examples on a port of the system's choice.
sub serve {
    my ($name, @arguments) = @_;
    my $server = example($name, 0, @arguments);
    until_true { errors($server) =~ /\n/ || !alive($server) };
    ($server->{port}) = errors($server) =~ /^Listening on 127\.0\.0\.1:(\d+)$/m;
    ok($server->{port}, "$name says where it listens") or BAIL_OUT("$name: " . errors($server));
    $server->{name} = $name;
    return $server;
}

sub listen_on {
    my ($host, $port) = @_;
    return IO::Socket::IP->new(
        LocalHost => $host, LocalPort => $port, Listen => 50, ReuseAddr => 1);
}

# A server of our own, for clients and the proxy: the function is called with each connection, in a
# process of its own.
sub own_server {
    my ($function, $host) = @_;
    my $listener = listen_on($host // '127.0.0.1', 0) or return;
    my $port = $listener->sockport;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        become_child();
        $SIG{CHLD} = 'IGNORE';
        while (1) {
            my $client = $listener->accept or next;
            next if fork;
            alarm 60;
            $function->($client);
            POSIX::_exit(0);
        }
    }
    setpgrp $pid, $pid;
    return $running{$pid} = { pid => $pid, port => $port, name => 'own server' };
}

sub echo_bytes {    # for own_server
    my ($client) = @_;
    my $bytes;
    while (sysread $client, $bytes, 65536) {
        for (my $sent = 0; $sent < length $bytes; ) {
            $sent += syswrite($client, $bytes, 65536, $sent) // return;
        }
    }
}

sub free_port {    # one on which nobody listens
    return listen_on('127.0.0.1', 0)->sockport;
}

sub descriptors { return scalar(() = glob "/proc/$_[0]{pid}/fd/*") }

# --- connections ----------------------------------------------------------------------------------

sub dial {
    my ($port, @options) = @_;
    my $socket = IO::Socket::IP->new(
        PeerHost => '127.0.0.1', PeerPort => $port, Timeout => PATIENCE, @options
    ) or die "connect to port $port: $@";
    $socket->blocking(0);
    return $socket;
}

# Sends the bytes while it receives: until `done`, a function, likes what came; or 'to the end' of
# the stream; or to the end, with a half-close after the bytes: 'finish'. What came is the result;
# how it ended, when not as wanted, stands behind it.
sub exchange {
    my ($socket, $bytes, $done, $seconds) = @_;
    my ($received, $sent, $ended, $end) = ('', 0, 0, time + ($seconds // PATIENCE));
    my $all = IO::Select->new($socket);
    while (1) {
        if ($sent == length $bytes) {
            shutdown $socket, 1 if $done eq 'finish';
            return $received if $ended || ref $done && $done->($received);
        }
        my $left = $end - time;
        return "$received<no more>" if $left <= 0;
        my ($readable, $writable) = IO::Select->select(
            $ended ? undef : $all, $sent < length $bytes ? $all : undef, undef, $left);
        if ($writable && @$writable) {
            my $count = syswrite $socket, $bytes, 262144, $sent;
            return "$received<send: $!>" if !defined $count && !$!{EAGAIN} && !$!{EINTR};
            $sent += $count // 0;
        }
        if ($readable && @$readable) {
            my $count = sysread $socket, $received, 262144, length $received;
            return "$received<$!>" if !defined $count && !$!{EAGAIN} && !$!{EINTR};
            return "$received<end>" if ref $done && defined $count && !$count;
            $ended = defined $count && !$count;
        }
    }
}

sub ask {    # sends, and receives exactly that many bytes
    my ($socket, $bytes, $length) = @_;
    return exchange($socket, $bytes, sub { length $_[0] >= $length });
}

sub line {    # what comes, up to the end of a line
    my ($socket) = @_;
    return exchange($socket, '', sub { $_[0] =~ /\n/ });
}

sub rest {    # all that comes
    my ($socket, $seconds) = @_;
    return exchange($socket, '', 'to the end', $seconds);
}

sub converse {    # a whole connection: send, half-close, receive to the end
    my ($port, $bytes, $seconds) = @_;
    return exchange(dial($port), $bytes, 'finish', $seconds);
}

sub lone {    # the same without the half-close
    my ($port, $bytes) = @_;
    return exchange(dial($port), $bytes, 'to the end');
}

sub reset_connection {    # leaves with an RST
    my ($socket) = @_;
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0) or die "SO_LINGER: $!";
    close $socket;
}

sub same {    # is(), for bytes too many to print
    my ($got, $expected, $name) = @_;
    ok($got eq $expected, $name)
        or diag(sprintf '%d bytes, sha1 %s; expected %d bytes, sha1 %s; end: %s',
            length $got, sha1_hex($got), length $expected, sha1_hex($expected), substr $got, -80);
}

# Tests that need a program: a block that runs with its path, or that many skips.
sub with {
    my ($name, $count, $block) = @_;
    my $path = program($name);
    SKIP: {
        skip "$name is not installed", $count if !$path;
        $block->($path);
    }
}

sub with_nc {    # the netcat of OpenBSD: the others lack -N
    my ($count, $block) = @_;
    my @paths = grep { defined } map { program($_) } qw(nc.openbsd nc);
    my ($path) = grep { `$_ -h 2>&1` =~ /OpenBSD/ } @paths;
    SKIP: {
        skip 'netcat-openbsd is not installed', $count if !$path;
        $block->($path);
    }
}

# After a test, as many descriptors as before it.
sub gives_descriptors_back {
    my ($server, $base) = @_;
    SKIP: {
        skip 'there is no /proc', 1 if !descriptors($server);
        ok((until_true { descriptors($server) <= $base }), "$server->{name}: no descriptor is lost")
            or diag(descriptors($server) . " now, $base before");
    }
}

END {
    my $status = $?;
    if ($$ == $test_pid) {
        kill 'KILL', -$_ for keys %running;
        waitpid $_, 0 for keys %running;
    }
    $? = $status;
}

# --- building -------------------------------------------------------------------------------------

mkdir 'build';
mkdir 'build/examples';

my @cc = split ' ', $ENV{CC} // 'cc';
my @cxx = split ' ', $ENV{CXX} // (program('g++') ? 'g++' : 'c++');
my @strict = qw(-pedantic -Wall -Wextra -Wshadow -Wconversion -Werror -c);
my @c99 = (@cc, '-std=c99', @strict);
my @cxx11 = (@cxx, qw(-x c++ -std=c++11), @strict);
my @compiling;

for my $name (@examples) {
    my ($source, $target) = ("examples/$name.c", "build/examples/$name");
    my $lines = () = content($source) =~ /\n/g;
    cmp_ok($lines, '<', 60, "$name has fewer than 60 lines");
    push @compiling, ["cc $source", @cc, $source, '-o', $target];
    push @compiling, ["$name: C99 without a warning", @c99, $source, '-o', "$target.o"];
    push @compiling, ["$name: C++11 without a warning", @cxx11, $source, '-o', "$target.cpp.o"]
        if program($cxx[0]);
}

while (@compiling) {    # four at a time
    my @batch = map { [$_->[0], start('/dev/null', @$_[1 .. $#$_])] } splice @compiling, 0, 4;
    for (@batch) {
        my ($name, $process) = @$_;
        my $status = finish($process, COMPILER_PATIENCE);
        is(substr("$status: " . output($process) . errors($process), 0, 2000), '0: ', $name);
    }
}
for (@examples) {
    BAIL_OUT("examples/$_.c does not compile") if !-x "build/examples/$_";
}

# --- ping -----------------------------------------------------------------------------------------

for my $time (1, 2) {
    my ($out, $status, $errors) = run('', 'build/examples/ping');
    is("$status: $out$errors", "0: ping\n", "ping, time $time");
}

# --- echo_server ----------------------------------------------------------------------------------

{
    my $server = serve('echo_server');
    my $port = $server->{port};

    my $socket = dial($port);
    is(ask($socket, "hello\r\n", 7), "hello\r\n", 'echo_server answers a line');
    my $base = descriptors($server);
    my $client = '127.0.0.1:' . $socket->sockport;
    like(errors($server), qr/^Accepted \Q$client\E$/m, 'echo_server names its client');
    is(join('', map { ask($socket, $_, 0) } split //, "slow\r\n") . ask($socket, '', 6), "slow\r\n",
        'a line may come byte by byte');
    close $socket;

    is(converse($port, "one\ntwo\n"), "one\r\ntwo\r\n", 'P3: lines, half-close, answers, end');
    is(converse($port, "one\r\n\r\n\ntwo"), "one\r\n\r\n\r\ntwo\r\n",
        'P1: CRLF and LF end a line, empty lines are lines, and a last line needs no end');
    is(converse($port, "a\rb\r\r\n\0c\0\n\xff\xfe\n"), "a\rb\r\r\n\0c\0\r\n\xff\xfe\r\n",
        'a line may hold any other byte');
    is(converse($port, ''), '', 'P1: an empty connection ends');
    is(converse($port, "\n"), "\r\n", 'P1: an empty line is not the end');

    my $lines = join '', map { sprintf "%06d %s\r\n", $_, 'x' x ($_ % 120) } 1 .. 130_000;
    cmp_ok(length $lines, '>', 8 * MEBIBYTE, '8 MiB of lines');
    same(converse($port, $lines, 60), $lines, 'P3: ... come back');

    like(converse($port, 'x' x 5000 . "\nnext\n"), $nothing, 'a line too long ends its connection');
    ok((until_true { errors($server) =~ /^(?!Accepted|Listening)./m }), '... with a message')
        or diag(errors($server));
    is(converse($port, "after\n"), "after\r\n", '... and nobody else\'s');

    for (1 .. 20) {
        my $rude = dial($port);
        syswrite $rude, "line\n" x 20_000;
        reset_connection($rude);
    }
    is(converse($port, "after\n"), "after\r\n", 'P10: 20 resets harm nobody');

    my @many = map { dial($port) } 1 .. 200;
    syswrite $many[$_], "client $_\n" for 0 .. $#many;
    my $right = grep { line($many[$_]) eq "client $_\r\n" } reverse 0 .. $#many;
    is($right, 200, '200 clients at once are all answered');
    close $_ for @many;

    with_nc(2, sub {
        is(run("one\r\ntwo\nthree", $_[0], qw(-N 127.0.0.1), $port),
            "one\r\ntwo\r\nthree\r\n", 'nc -N');
        is(run("slow\n", 'sh', '-c', "(cat; sleep 0.3; echo later) | $_[0] -N 127.0.0.1 $port"),
            "slow\r\nlater\r\n", 'nc -N, with a pause');
    });
    with('ncat', 1, sub {
        is(run("one\ntwo\n", $_[0], '127.0.0.1', $port), "one\r\ntwo\r\n", 'ncat');
    });
    with('socat', 2, sub {
        is(run("one\ntwo\nthree", $_[0], '-t5', '-', "TCP:127.0.0.1:$port"),
            "one\r\ntwo\r\nthree\r\n", 'socat');
        is(run("one\n", $_[0], '-t5', '-', "TCP:127.0.0.1:$port,crnl"), "one\n", 'socat, crnl');
    });
    with('telnet', 2, sub {
        my $telnet = start(undef, $_[0], '127.0.0.1', $port);
        until_true { output($telnet) =~ /Escape/ };
        print { $telnet->{in} } "by telnet\n";
        ok((until_true { output($telnet) =~ /^by telnet\r*$/m }), 'telnet: a line is answered');
        close $telnet->{in};
        isnt(finish($telnet), 'hung', '... and it ends');
    });
    with('bash', 1, sub {
        my $script = 'exec 3<>/dev/tcp/127.0.0.1/$0 && printf "one\r\ntwo\n" >&3 && '
            . 'read -r -t 9 a <&3 && read -r -t 9 b <&3 && printf "%s|%s|" "$a" "$b"';
        is(run('', $_[0], '-c', $script, $port), "one\r|two\r|", "bash's /dev/tcp");
    });

    my ($out, $status, $errors) = run('', 'build/examples/echo_client', '127.0.0.1', $port);
    is("$status: $out$errors", "0: hello\n", 'echo_client says hello by itself');
    my @words = ('one', '', 'x y');
    ($out, $status, $errors) = run('', 'build/examples/echo_client', 'localhost', $port, @words);
    is("$status: $out$errors", "0: one\n\nx y\n", 'echo_client to a name, with lines of its own');

    gives_descriptors_back($server, $base);
    ok(alive($server), 'echo_server is still there');
    is(stop($server), 'signal 15', '... until it is told to go');
}

# --- echo_client ----------------------------------------------------------------------------------

{
    my $mute = own_server(sub { sleep 30 });
    my $deaf = start('/dev/null', 'build/examples/echo_client', '127.0.0.1', $mute->{port});
    my $rude = own_server(sub { sysread $_[0], my $bytes, 100 });
    my $unused = free_port();

    my ($out, $status, $errors) = run('', 'build/examples/echo_client', '127.0.0.1', $unused);
    is("$status: $out", '1: ', 'echo_client fails when nobody listens');
    like($errors, qr/\A.*127\.0\.0\.1:$unused.*refused.*\n\z/i, '... and says what and why');
    ($out, $status, $errors) = run('', 'build/examples/echo_client', '127.0.0.1', $rude->{port});
    is("$status: $out", '1: ', 'P1: echo_client does not take the end for an answer');
    like($errors, qr/\A.+\n\z/, '... and says so');
    ($out, $status, $errors) = run('', 'build/examples/echo_client', '127.0.0.1', 70_000);
    is("$status: $out", '1: ', 'echo_client fails when there is no such port');
    like($errors, qr/\A.+\n\z/, '... and says so');
    is(finish($deaf), 1, 'P7: echo_client does not wait for ever');
    like(errors($deaf), qr/\A.*time.*\n\z/i, '... and says so');
    stop($_) for $mute, $rude;
}

# --- greeter and its client -----------------------------------------------------------------------

SKIP: {
    my $test = listen_on('127.0.0.1', 9002);
    skip 'port 9002 is taken', 14 if !$test;
    close $test;
    my $server = example('greeter');
    ok((until_true { IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => 9002) }),
        'greeter listens');

    my $prompt = "Please enter your name\n";
    my $socket = dial(9002);
    is(ask($socket, '', length $prompt), $prompt, 'greeter speaks first');
    is(ask($socket, "Ann\r\n", 12), "Hello, Ann!\n", 'greeter answers, and knows CRLF');
    is(ask($socket, "Bob\n", 12), "Hello, Bob!\n", '... and LF');
    close $socket;
    is(converse(9002, "Ann\nBob"), "${prompt}Hello, Ann!\nHello, Bob!\n",
        'P1, P2, P3: all is said before the end');

    with_nc(1, sub {
        is(run("Ann\n", $_[0], qw(-N 127.0.0.1 9002)), "${prompt}Hello, Ann!\n", 'greeter by nc');
    });
    with('telnet', 1, sub {
        my $telnet = start(undef, $_[0], '127.0.0.1', 9002);
        until_true { output($telnet) =~ /name/ };
        print { $telnet->{in} } "Ann\n";
        ok((until_true { output($telnet) =~ /Hello, Ann!/ }), 'greeter by telnet')
            or diag(output($telnet));
        close $telnet->{in};
        finish($telnet);
    });

    my $client = start(undef, 'build/examples/greeter_client');
    ok((until_true { output($client) eq $prompt }), 'greeter_client prints what arrives');
    print { $client->{in} } "Ann\n";
    ok((until_true { output($client) eq "${prompt}Hello, Ann!\n" }),
        '... while it waits for more to send');
    close $client->{in};
    is(finish($client), 0, '... and ends with its input');

    my ($out, $status, $errors) = run("Ann\nBob", 'build/examples/greeter_client');
    is("$status: $out", "0: ${prompt}Hello, Ann!\nHello, Bob!\n",
        'P3: greeter_client reads from a file');
    ($out, $status, $errors) = run('', 'build/examples/greeter_client', 'localhost', 9002);
    is("$status: $out", "0: $prompt", '... from an empty one');

    my $second = example('greeter');
    is(finish($second), 1, 'a second greeter does not start');
    like(errors($second), qr/\A.*127\.0\.0\.1:9002.*in use.*\n\z/i, '... and says why');
    stop($server);
}

{
    my $short = own_server(sub { syswrite $_[0], "Bye\n" });
    my $client = start(undef, 'build/examples/greeter_client', '127.0.0.1', $short->{port});
    is(finish($client), 0, 'greeter_client ends when the server closes, its input open');
    is(output($client) . errors($client), "Bye\nConnection closed\n",
        '... and all that came was printed');
    stop($short);

    my $unused = free_port();
    my ($out, $status, $errors) = run('', 'build/examples/greeter_client', '127.0.0.1', $unused);
    is("$status: $out", '1: ', 'greeter_client fails when nobody listens');
    like($errors, qr/\A.*127\.0\.0\.1:$unused.*refused.*\n\z/i, '... and says what and why');

    my $echo = own_server(\&echo_bytes);
    my $bytes = join '', map { pack 'N', ($_ * 2654435761) % 4294967296 } 1 .. MEBIBYTE;
    same(scalar run($bytes, 'build/examples/greeter_client', '127.0.0.1', $echo->{port}), $bytes,
        '4 MiB through both of its coroutines');
    stop($echo);
}

# --- http_hello -----------------------------------------------------------------------------------

{
    my $server = serve('http_hello');
    my $port = $server->{port};
    my $url = "http://127.0.0.1:$port/";
    my $hello = "Hello, World!\n";
    my $answer = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n$hello";
    my $last = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\nConnection: close\r\n\r\n$hello";
    my $bad = $last =~ s/200 OK/400 Bad Request/r;
    my $get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    my $socket = dial($port);
    is(ask($socket, $get, length $answer), $answer, 'http_hello answers');
    my $base = descriptors($server);
    is(ask($socket, $get x 3, 3 * length $answer), $answer x 3, '... three requests in one packet');
    is(ask($socket, "HEAD / HTTP/1.1\r\n\r\n", length($answer) - 14), $answer =~ s/Hello.*\n//r,
        '... HEAD');
    my $post = "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nGET /";
    is(ask($socket, $post . $get, 2 * length $answer), $answer x 2, '... a body is no request');
    is(join('', map { ask($socket, $_, 0) } split //, $get) . ask($socket, '', length $answer),
        $answer, '... byte by byte');
    is(exchange($socket, "GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", 'to the end'), $last,
        '... and the last');
    is(lone($port, "GET / HTTP/1.0\r\n\r\n"), $last, 'HTTP/1.0 ends');
    is(lone($port, "\x16\x03\x01\x02\r\n\r\n"), $bad, 'what is no request is refused');
    is(lone($port, "GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n"), $bad,
        '... so is a negative length');
    is(converse($port, $get x 1000, 20), $answer x 1000,
        'P3: 1,000 requests, half-close, 1,000 answers');
    is(converse($port, 'GET / HT'), '', 'P1: half a request is none');

    with('curl', 9, sub {
        my @curl = ($_[0], qw(-q -sS -m 20 --noproxy * -w), '%{http_code} %{num_connects}\n');
        is(run('', @curl, $url, $url, $url), "${hello}200 1\n${hello}200 0\n${hello}200 0\n",
            'curl: three requests over one connection');
        like(scalar run('', @curl, '-I', $url, $url),
            qr/\AHTTP.*?\r\n\r\n200 1\nHTTP.*?\r\n\r\n200 0\n\z/s, 'curl -I, twice');
        is(run('', @curl, '-d', 'a=b', $url, $url), "${hello}200 1\n${hello}200 0\n",
            'curl -d, twice');
        my $big = scratch_file('x' x (3 * MEBIBYTE));
        is(run('', @curl, '--data-binary', "\@$big", $url, $url), "${hello}200 1\n${hello}200 0\n",
            'curl: bodies of 3 MiB, twice');
        like(scalar run('body', @curl, qw(-T -), $url), qr/400 1\n\z/,
            'curl: a chunked body is refused');
        is(run('', @curl, '-0', $url, $url), "${hello}200 1\n${hello}200 1\n",
            'curl -0: a connection for each');
        is(run('', @curl, '-H', 'Connection: close', $url, $url), "${hello}200 1\n${hello}200 1\n",
            'curl, Connection: close');
        my @parallel = split /^/, run('', @curl, qw(-Z --parallel-max 50), "$url\[1-200]");
        is(scalar(grep { $_ eq $hello } @parallel), 200, 'curl -Z: 200 requests, 50 at a time');
        is(run('', @curl, '-H', 'X-Long: ' . 'x' x 3000, $url), "${hello}200 1\n",
            'curl: a long header');
    });
    like(lone($port, "GET / HTTP/1.1\r\nX: " . 'x' x 10_000 . "\r\n\r\n"), $nothing,
        'a header too long ends its connection');

    with('wrk', 3, sub {
        my ($out, $status) = run('', $_[0], qw(-t 1 -c 50 -d 1s), $url);
        is($status, 0, 'wrk runs');
        unlike($out, qr/Socket errors|Non-2xx/, '... without an error');
        like($out, qr/[1-9]\d* requests in/, '... and is answered');
        diag($out =~ /(Requests\/sec:.*)/) if $ENV{TEST_VERBOSE};
    });
    with('ab', 4, sub {
        for my $keep ([], ['-k']) {
            my ($out, $status) = run('', $_[0], qw(-q -n 1000 -c 20), @$keep, $url);
            is($status, 0, "ab @$keep runs");
            like($out, qr/Complete requests:\s+1000\nFailed requests:\s+0\n/,
                '... without an error');
        }
    });

    for (1 .. 20) {
        my $rude = dial($port);
        syswrite $rude, $get x 1000;
        reset_connection($rude);
    }
    is(lone($port, "GET / HTTP/1.0\r\n\r\n"), $last, 'P10: 20 resets harm nobody');
    gives_descriptors_back($server, $base);
    ok(alive($server), 'http_hello is still there');
    stop($server);
}

# --- tcp_proxy ------------------------------------------------------------------------------------

{
    my $echo = own_server(\&echo_bytes);
    my $server = serve('tcp_proxy', '127.0.0.1', $echo->{port});
    my $port = $server->{port};
    my $bytes = join '', map { pack 'N', ($_ * 2246822519) % 4294967296 } 1 .. 2 * MEBIBYTE;

    my $socket = dial($port);
    is(ask($socket, 'ping', 4) . ask($socket, 'pong', 4), 'pingpong',
        'tcp_proxy holds nothing back');
    my $base = descriptors($server);
    is(exchange($socket, 'bye', 'finish'), 'bye', 'P3: half-close, answer, end');
    same(converse($port, $bytes, 60), $bytes, 'P3: 8 MiB there and back, with half-close');
    same(converse($port, $bytes, 60), $bytes, '... again');
    is(converse($port, ''), '', 'an empty connection ends');
    my @many = map { dial($port) } 1 .. 50;
    syswrite $many[$_], "from $_" for 0 .. $#many;
    is(scalar(grep { exchange($many[$_], '', 'finish') eq "from $_" } reverse 0 .. $#many), 50,
        '50 connections at once');

    with_nc(1, sub {
        same(scalar run($bytes, $_[0], qw(-N 127.0.0.1), $port), $bytes,
            'nc -N: 8 MiB there and back');
    });
    with('socat', 1, sub {
        same(scalar run($bytes, $_[0], '-t9', '-', "TCP:127.0.0.1:$port"), $bytes,
            'socat: 8 MiB there and back');
    });

    for (1 .. 20) {
        my $rude = dial($port);
        ask($rude, 'x', 1);
        syswrite $rude, 'x' x 100_000;
        reset_connection($rude);
    }
    is(converse($port, 'after'), 'after', 'P10: 20 resets harm nobody');
    gives_descriptors_back($server, $base - 2);
    ok(alive($server), 'tcp_proxy is still there');
    stop($_) for $server, $echo;
}

{    # the target ends first
    my $received = scratch_file('');
    my $early = own_server(sub {
        my ($client) = @_;
        syswrite $client, 'welcome';
        shutdown $client, 1;
        open my $file, '>', $received or return;
        local $/;
        print {$file} scalar <$client>;
        close $file;
    });
    my $server = serve('tcp_proxy', '127.0.0.1', $early->{port});
    my $socket = dial($server->{port});
    is(rest($socket), 'welcome', 'P3: the target ends first');
    is(exchange($socket, 'x' x MEBIBYTE, 'finish'), '', '... the other direction goes on');
    ok((until_true { content($received) eq 'x' x MEBIBYTE }), '... and all of it arrives');
    stop($_) for $server, $early;
}

{    # resets, refusals, IPv6
    my $resetting = own_server(sub { sysread $_[0], my $bytes, 1; reset_connection($_[0]) });
    my $server = serve('tcp_proxy', '127.0.0.1', $resetting->{port});
    for (1, 2) {
        my $socket = dial($server->{port});
        like(exchange($socket, 'hello', 'to the end'), qr/\A<Connection reset/,
            'a reset is passed on');
    }
    stop($_) for $server, $resetting;

    my $unused = free_port();
    $server = serve('tcp_proxy', '127.0.0.1', $unused);
    for (1, 2) {
        like(rest(dial($server->{port})), $nothing, 'nobody behind the proxy: the end');
    }
    my $refused = qr/127\.0\.0\.1:$unused.*refused/i;
    ok((until_true { errors($server) =~ /$refused.*\n.*$refused/ }), '... with a message');
    ok(alive($server), '... and it goes on');
    stop($server);

    my $echo = own_server(\&echo_bytes, '::1');
    SKIP: {
        skip 'there is no ::1', 2 if !$echo;
        $server = serve('tcp_proxy', '::1', $echo->{port});
        is(converse($server->{port}, 'six'), 'six', 'tcp_proxy to ::1');
        stop($_) for $server, $echo;
    }

    my $http = serve('http_hello');
    $server = serve('tcp_proxy', 'localhost', $http->{port});
    with('curl', 1, sub {
        my $url = "http://127.0.0.1:$server->{port}/";
        is(run('', $_[0], qw(-q -sS -m 20 --noproxy * -w), '%{num_connects}\n', $url, $url),
            "Hello, World!\n1\nHello, World!\n0\n", 'curl through tcp_proxy to http_hello');
    });
    stop($_) for $server, $http;
}

# --- chat -----------------------------------------------------------------------------------------

sub enter {    # a new member, of whom the others were told
    my ($port, $name, $others, @options) = @_;
    my $prompt = "Please enter your name\n";
    my $socket = dial($port, @options);
    is(ask($socket, '', length $prompt), $prompt, "chat: $name is asked for a name");
    syswrite $socket, "$name\n";
    my $news = "$name joined\n";
    is(ask($_, '', length $news), $news, '... and the others are told') for @$others;
    return $socket;
}

{
    my $server = serve('chat');
    my $port = $server->{port};
    my $ann = enter($port, 'ann', []);
    my $base = descriptors($server);
    my $bob = enter($port, 'bob', [$ann]);
    my $cat = enter($port, 'cat', [$ann, $bob]);

    syswrite $ann, "hello\r\n";
    is(ask($bob, '', 11), "ann: hello\n", 'chat: what one says,');
    is(ask($cat, '', 11), "ann: hello\n", '... all others hear');
    syswrite $bob, "hi\n";
    is(ask($ann, '', 8), "bob: hi\n", '... and not the speaker');
    is(ask($cat, '', 8), "bob: hi\n", '... each line once');
    syswrite $cat, 'bye';
    shutdown $cat, 1;
    is(ask($ann, '', 18), "cat: bye\ncat left\n", 'P1: the last line needs no end; she has left');
    is(ask($bob, '', 18), "cat: bye\ncat left\n", '... for all others');
    is(rest($cat), '', '... and her connection ends');

    with_nc(2, sub {
        is(run("nan\nby nc\n", $_[0], qw(-N 127.0.0.1), $port), "Please enter your name\n",
            'chat by nc');
        is(ask($ann, '', 31), "nan joined\nnan: by nc\nnan left\n", '... is heard');
        ask($bob, '', 31);
    });
    with('telnet', 2, sub {
        my $telnet = start(undef, $_[0], '127.0.0.1', $port);
        until_true { output($telnet) =~ /name/ };
        print { $telnet->{in} } "tel\nby telnet\n";
        is(ask($ann, '', 26), "tel joined\ntel: by telnet\n", 'chat by telnet is heard');
        ask($bob, '', 26);
        syswrite $ann, "hello\n";
        ok((until_true { output($telnet) =~ /^ann: hello\r*$/m }), '... and hears');
        ask($bob, '', 11);
        close $telnet->{in};
        finish($telnet);
        ask($_, '', 9) for $ann, $bob;
    });

    my $rude = enter($port, 'rude', [$ann, $bob]);
    reset_connection($rude);
    is(ask($_, '', 10), "rude left\n", 'P10: who leaves with a reset has left') for $ann, $bob;

    # A slow reader: 10 MB are said, which its own buffers cannot hold.
    my $slow = enter($port, 'slow', [$ann, $bob], Sockopts => [[SOL_SOCKET, SO_RCVBUF, 4096]]);
    my $heard = 0;
    for my $batch (0 .. 199) {
        my @lines = map { sprintf "%05d %s\n", 100 * $batch + $_, 'x' x 490 } 0 .. 99;
        my $expected = join '', map { "ann: $_" } @lines;
        exchange($ann, join('', @lines), sub { 1 });
        $heard++ if ask($bob, '', length $expected) eq $expected;
        last if $heard <= $batch;
    }
    is($heard, 200, 'P5: 10 MB are heard by all others, though one does not read');
    my $bytes = '';
    while ((my $more = exchange($slow, '', sub { length $_[0] }, 1)) ne '<no more>') {
        $bytes .= $more;    # until nothing has come for a second
    }
    my @numbers = $bytes =~ /\Gann: (\d{5}) x{490}\n/g;
    is(length $bytes, 502 * @numbers, '... who has whole lines only');
    is("@numbers", "@{[sort { $a <=> $b } @numbers]}", '... in order');
    ok(@numbers > 0 && @numbers < 20_000, '... but not all of them (' . @numbers . ' of 20000)');
    syswrite $ann, "again\n";
    is(ask($slow, '', 11), "ann: again\n", '... and takes part again');
    ask($bob, '', 11);
    close $slow;
    is(ask($_, '', 10), "slow left\n", '... and leaves') for $ann, $bob;
    close $bob;
    is(ask($ann, '', 9), "bob left\n", 'all but one have left');

    # A full room.
    my @members = map { dial($port) } 1 .. 100;
    syswrite $members[$_], "m$_\n" for 0 .. 99;
    my @joined = split /^/, exchange($ann, '', sub { 100 == (() = $_[0] =~ /joined\n/g) });
    is(join('', sort @joined), join('', sort map { "m$_ joined\n" } 0 .. 99),
        '100 members come at once');
    syswrite $members[$_], "I am $_\n" for 0 .. 99;
    my @said = split /^/, exchange($ann, '', sub { 100 == (() = $_[0] =~ /\n/g) });
    is(join('', sort @said), join('', sort map { "m$_: I am $_\n" } 0 .. 99),
        '... all of them speak');
    my $all = 0;
    for my $me (0 .. 99) {
        my $text = exchange($members[$me], '', sub { 99 == (() = $_[0] =~ /: I am \d+\n/g) });
        my %lines = map { $_ => 1 } grep { /: I am/ } split /^/, $text;
        $all++ if 99 == keys %lines && !$lines{"m$me: I am $me\n"};
    }
    is($all, 100, '... and hear each other');
    close $_ for @members;
    my @left = split /^/, exchange($ann, '', sub { 100 == (() = $_[0] =~ /left\n/g) });
    is(join('', sort @left), join('', sort map { "m$_ left\n" } 0 .. 99), '... and leave');

    gives_descriptors_back($server, $base);
    ok(alive($server), 'chat is still there');
    stop($server);
}

# --- udp_echo -------------------------------------------------------------------------------------

sub answer {    # the next datagram
    my ($socket) = @_;
    my $bytes;
    IO::Select->new($socket)->can_read(PATIENCE) or return '<nothing>';
    return defined recv($socket, $bytes, 65536, 0) ? $bytes : "<$!>";
}

sub datagram {    # sends one, and receives one
    my ($socket, $bytes) = @_;
    send $socket, $bytes, 0;
    return answer($socket);
}

sub dial_udp {
    my ($port) = @_;
    return IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $port, Proto => 'udp');
}

{
    my $server = serve('udp_echo');
    my $port = $server->{port};
    my $socket = dial_udp($port);
    is(datagram($socket, 'hello'), 'hello', 'udp_echo answers a datagram');
    is(datagram($socket, ''), '', 'P1: an empty one, too');
    same(datagram($socket, 'x' x 65507), 'x' x 65507, '... and the largest');
    my $base = descriptors($server);
    my @many = map { dial_udp($port) } 1 .. 100;
    send $many[$_], "client $_", 0 for 0 .. 99;
    is(scalar(grep { answer($many[$_]) eq "client $_" } reverse 0 .. 99), 100,
        '... and 100 clients, each its own');
    for (1 .. 20) {
        send dial_udp($port), 'gone before the answer', 0;
    }
    is(datagram($socket, 'still'), 'still', 'P10: clients that are gone harm nobody');

    with_nc(1, sub {
        is(run("by nc\n", $_[0], qw(-u -w1 127.0.0.1), $port), "by nc\n", 'udp_echo by nc -u');
    });
    with('socat', 1, sub {
        is(run("by socat\n", $_[0], '-t1', '-', "UDP:127.0.0.1:$port"), "by socat\n",
            'udp_echo by socat');
    });
    my $second = example('udp_echo', $port);
    is(finish($second), 1, 'udp_echo: a port in use is status 1');
    like(errors($second), qr/\A.*127\.0\.0\.1:$port.*in use.*\n\z/i, '... and says so');
    gives_descriptors_back($server, $base);
    ok(alive($server), 'udp_echo is still there');
    stop($server);
}

# --- unix_echo ------------------------------------------------------------------------------------

sub serve_path {
    my ($path) = @_;
    my $server = example('unix_echo', $path);
    until_true { errors($server) =~ /\n/ || !alive($server) };
    $server->{name} = 'unix_echo';
    return $server;
}

{
    my $path = "$scratch/echo.socket";
    my $server = serve_path($path);
    is(errors($server), "Listening on $path\n", 'unix_echo says where it listens');
    my $base = descriptors($server);
    my $bytes = join '', map { pack 'N', ($_ * 2246822519) % 4294967296 } 1 .. 2 * MEBIBYTE;
    my $accepted = qr/^Accepted process \d+ of user $<$/m;

    with_nc(3, sub {
        is(run("one\ntwo", $_[0], '-NU', $path), "one\ntwo", 'unix_echo by nc -U');
        like(errors($server), $accepted, '... which it knows');
        same(scalar run($bytes, $_[0], '-NU', $path), $bytes, '... 8 MiB there and back');
    });
    with('socat', 2, sub {
        is(run("one\ntwo", $_[0], '-t5', '-', "UNIX-CONNECT:$path"), "one\ntwo",
            'unix_echo by socat');
        same(scalar run($bytes, $_[0], '-t9', '-', "UNIX-CONNECT:$path"), $bytes,
            '... 8 MiB there and back');
    });
    gives_descriptors_back($server, $base);
    my $second = example('unix_echo', $path);
    is(finish($second), 1, 'unix_echo: a path in use is status 1');
    like(errors($second), qr/\A.*\Q$path\E.*in use.*\n\z/i, '... and says so');
    ok(alive($server), 'unix_echo is still there');
    stop($server);
    ok(-S $path, 'unix_echo that was killed leaves its file');
    $server = serve_path($path);
    like(errors($server), qr/^Listening/, '... which is not in the way of the next');
    stop($server);
    like(errors(serve_path("$scratch/" . 'x' x 200)), qr/\A.*too long.*\n\z/,
        'a path that is too long is an error with a message');
}

# --- dns_query ------------------------------------------------------------------------------------

{
    my @query = ('build/examples/dns_query', '127.0.0.1:' . free_port(), 'test.example');
    my ($out, $status, $errors) = run('', @query);
    is("$status: $out", '1: ', 'dns_query fails when nobody listens');
    like($errors, qr/\A.*\Q$query[1]\E.*refused.*\n\z/i, '... and says so');
    my $mute = IO::Socket::IP->new(LocalHost => '127.0.0.1', LocalPort => 0, Proto => 'udp');
    my $start = time;
    ($out, $status, $errors) = run('', $query[0], '127.0.0.1:' . $mute->sockport, $query[2]);
    is("$status: $out", '1: ', 'P7: dns_query does not wait for ever');
    like($errors, qr/\A.*timed out.*\n\z/, '... and says so');
    cmp_ok(time - $start, '>=', 3, '... after its third try');
    my $asked = 0;
    $asked++ while IO::Select->new($mute)->can_read(0) && defined recv $mute, my $bytes, 512, 0;
    is($asked, 3, '... each of which was sent');

    with('dnsmasq', 4, sub {
        my ($port) = $query[1] =~ /(\d+)$/;
        my $dnsmasq = start('/dev/null', $_[0], qw(--keep-in-foreground --no-resolv --no-hosts
            --conf-file=/dev/null --pid-file= --bind-interfaces --listen-address=127.0.0.1
            --address=/test.example/192.0.2.7), "--port=$port");
        until_true { (run('', @query))[1] eq '0' || !alive($dnsmasq) };
        is(scalar run('', @query), "192.0.2.7\n", 'dns_query is answered by dnsmasq')
            or diag(errors($dnsmasq));
        is(scalar run('', @query[0, 1], 'a.b.test.example.'), "192.0.2.7\n",
            '... to a longer name, too');
        ($out, $status, $errors) = run('', @query[0, 1], 'other.example');
        is("$status: $out", '1: ', '... a name that is none is an error');
        like($errors, qr/\A.*error 5\n\z/, '... and says so');
        stop($dnsmasq);
    });
}

# --- multicast ------------------------------------------------------------------------------------

SKIP: {
    my ($lo) = content('/sys/class/net/lo/ifindex') =~ /(\d+)/;
    skip 'there is no loopback interface', 5 if !$lo;
    my @group = ('239.255.23.23:' . free_port(), $lo);
    my @members = map { example('multicast', 'receive', @group) } 1, 2;
    for my $member (@members) {
        until_true { errors($member) =~ /\n/ || !alive($member) };
    }
    skip 'no groups on lo: ' . errors($members[0]), 5 if !alive($members[0]);
    is(errors($_), "Listening\n", 'multicast receives') for @members;
    my ($out, $status, $errors) = run("one\ntwo\n", 'build/examples/multicast', 'send', @group);
    is("$status: $out$errors", '0: ', 'multicast sends');
    for my $member (@members) {
        ok((until_true { output($member) =~ /\A\S+: one\n\S+: two\n\z/ }), '... and each receives')
            or diag(output($member));
    }
    stop($_) for @members;
}

# --- broadcast ------------------------------------------------------------------------------------

{
    my $port = free_port();
    my @hearers = map { example('broadcast', 'receive', $port) } 1, 2;
    for my $hearer (@hearers) {
        until_true { errors($hearer) =~ /\n/ || !alive($hearer) };
        is(errors($hearer), "Listening\n", 'broadcast receives');
    }
    my ($out, $status, $errors) =
        run("one\ntwo\n", 'build/examples/broadcast', 'send', "127.255.255.255:$port");
    is("$status: $out$errors", '0: ', 'broadcast sends');
    for my $hearer (@hearers) {
        ok((until_true { output($hearer) =~ /\A\S+: one\n\S+: two\n\z/ }), '... and each receives')
            or diag(output($hearer));
    }
    stop($_) for @hearers;
    ($out, $status, $errors) = run('', 'build/examples/broadcast', 'send', 'nowhere');
    is("$status: $errors", "1: no address and port: nowhere\n", 'broadcast says what is wrong');
}

# --- workers --------------------------------------------------------------------------------------

{
    my $server = serve('workers');
    my $port = $server->{port};
    my $answer = qr{HTTP/1\.0 200 OK\r\n\r\nworker [0-3]\n};
    like(lone($port, "GET / HTTP/1.0\r\n\r\n"), qr/\A$answer\z/, 'workers answers');
    my $base = descriptors($server);
    my %who;
    for (1 .. 20) {
        my @many = map { dial($port) } 1 .. 10;
        syswrite $_, "\n" for @many;
        $who{exchange($_, '', 'to the end')}++ for @many;
    }
    is(eval { my $sum = 0; $sum += $_ for values %who; $sum }, 200, '200 connections are answered');
    is(scalar(grep { !/\A$answer\z/ } keys %who), 0, '... each by one worker, once');
    cmp_ok(scalar(keys %who), '>', 1, '... by several of them (' . keys(%who) . ')');
    with('curl', 2, sub {
        my @answers = split /^/, run('', $_[0], qw(-q -sS -m 20 --noproxy * -Z --parallel-max 50),
            "http://127.0.0.1:$port/[1-200]");
        is(scalar(grep { /\Aworker [0-3]\n\z/ } @answers), 200, 'curl -Z: 200, 50 at a time');
        is(scalar(@answers), 200, '... and nothing else');
    });
    with_nc(1, sub {
        like(scalar run("\n", $_[0], qw(-N 127.0.0.1), $port), qr/\A$answer\z/, 'nc is answered');
    });
    gives_descriptors_back($server, $base);
    ok(alive($server), 'workers is still there');
    stop($server);
}

# --- hand_over ------------------------------------------------------------------------------------

{
    my $server = serve('hand_over');
    my @peers = map { dial($server->{port}) } 1 .. 6;
    my @answers = map { ask($_, "hi\n", 6) } @peers;
    is("@answers", join(' ', ("0: hi\n", "1: hi\n") x 3), 'two workers by turns');
    kill 'INT', $server->{pid};
    is(join('', map { rest($_) } @peers), '', 'SIGINT: all are hung up on');
    is(finish($server), 0, '... and all threads have ended');
    is((errors($server) =~ tr/\n//), 1, '... without a complaint');
}

# --- goodbye --------------------------------------------------------------------------------------

{
    my $server = serve('goodbye', 2000);
    my $port = $server->{port};
    is(converse($port, "one\ntwo"), "one\ntwo\n", 'goodbye echoes lines, and the end needs no word');
    is(rest(dial($port)), "Goodbye: timed out\n", 'an idle client is told');
    is(lone($port, 'x' x 300 . "\n"), "Goodbye: too long\n", 'so is one with a long line');
    kill 'INT', $server->{pid};
    is(finish($server), 0, 'SIGINT stops it well');

    $server = serve('goodbye');
    my @peers = map { dial($server->{port}) } 1 .. 20;
    is(ask($_, "hi\n", 3), "hi\n", "twenty are there") for @peers[0, -1];
    kill 'INT', $server->{pid};
    is(join('', map { rest($_) } @peers), "Goodbye: cancelled\n" x 20, 'and told when it stops');
    is(finish($server), 0, '... which is no failure');
}

# --- pass_socket ----------------------------------------------------------------------------------

{
    my $server = serve('pass_socket');
    my $port = $server->{port};
    my $bytes = join '', map { pack 'N', ($_ * 2246822519) % 4294967296 } 1 .. MEBIBYTE;
    my $socket = dial($port);
    my ($pid) = line($socket) =~ /\Aprocess (\d+) answers\n\z/;
    ok($pid && $pid != $server->{pid}, 'another process answers than the one that accepts');
    is(ask($socket, "ping\n", 5), "ping\n", '... and repeats what it is told');
    my $base = descriptors($server);
    my @many = map { dial($port) } 1 .. 50;
    syswrite $many[$_], "from $_" for 0 .. $#many;
    is(scalar(grep { exchange($many[$_], '', 'finish') eq "process $pid answers\nfrom $_" }
        reverse 0 .. $#many), 50, '50 connections at once');
    with_nc(1, sub {
        same(scalar run($bytes, $_[0], qw(-N 127.0.0.1), $port), "process $pid answers\n$bytes",
            'nc -N: 4 MiB there and back');
    });
    for (1 .. 20) {
        my $rude = dial($port);
        syswrite $rude, 'x' x 1000;
        reset_connection($rude);
    }
    is(exchange($socket, 'after', 'finish'), 'after', 'P10: 20 resets harm nobody');
    gives_descriptors_back($server, $base);
    gives_descriptors_back({ pid => $pid, name => 'its other process' }, $base);
    ok(alive($server), 'pass_socket is still there');
    stop($server);
}

# --- http_get -------------------------------------------------------------------------------------

{
    my $http = serve('http_hello');
    my @get = 'build/examples/http_get';
    my $here = "localhost:$http->{port}";
    my ($out, $status, $errors) = run('', @get, $here, '/');
    is("$status: $out$errors", "0: Hello, World!\n", 'http_get of http_hello');
    stop($http);
    ($out, $status, $errors) = run('', @get, $here, '/');
    is("$status: $out", '1: ', '... fails when nobody listens');
    like($errors, qr/\Aconnect .*refused\n\z/, '... and says so');
    ($out, $status, $errors) = run('', @get, 'nobody.invalid', '/');
    is("$status: $out", '1: ', '... fails for a name that does not exist (RFC 6761)');
    like($errors, qr/\Aconnect nobody\.invalid: .+\n\z/, '... and says which');

    with('nginx', 5, sub {
        my $port = free_port();
        my $page = join '', map { "line $_\n" } 1 .. 100_000;
        mkdir "$scratch/www";
        rename scratch_file($page), "$scratch/www/page";
        chmod 0755, $scratch, "$scratch/www";
        chmod 0644, "$scratch/www/page";
        my $config = scratch_file(<<"END");
daemon off; master_process off; pid $scratch/nginx.pid; error_log stderr;
events { }
http {
    access_log off;
    client_body_temp_path $scratch/body; proxy_temp_path $scratch/proxy;
    fastcgi_temp_path $scratch/fastcgi; uwsgi_temp_path $scratch/uwsgi;
    scgi_temp_path $scratch/scgi;
    server { listen 127.0.0.1:$port; root $scratch/www; }
}
END
        my $nginx = start('/dev/null', $_[0], '-e', 'stderr', '-p', $scratch, '-c', $config);
        my $listens = until_true {
            !alive($nginx) || IO::Socket::IP->new(PeerHost => '127.0.0.1', PeerPort => $port)
        };
        ok($listens && alive($nginx), 'nginx starts') or diag(errors($nginx));
        my ($body, $ended) = run('', @get, "localhost:$port", '/page');
        same($body, $page, '... http_get gets a page of it, by name');
        is($ended, 0, '... and says that all is well');
        same(scalar run('', @get, "127.0.0.1:$port", '/page'), $page, '... and by address');
        is((run('', @get, "localhost:$port", '/none'))[1], 1, '... but not a page that is none');
        stop($nginx);
    });
}

# --- redis_client, and what others say through tcp_proxy ------------------------------------------

with('redis-server', 12, sub {
    my $port = free_port();
    my $redis = start('/dev/null', $_[0], '--port', $port, qw(--bind 127.0.0.1 --save), '',
        qw(--appendonly no --dir), $scratch);
    until_true { output($redis) =~ /Ready to accept/ || !alive($redis) };
    ok(alive($redis), 'redis-server runs') or diag(output($redis));
    for my $host ('127.0.0.1', 'localhost') {
        my ($out, $status, $errors) = run('', 'build/examples/redis_client', $host, $port);
        is("$status: $out$errors", "0: 1000 of 1000 keys are right\n",
            "redis_client: 2,000 commands in one go, to $host");
    }
    my $proxy = serve('tcp_proxy', '127.0.0.1', $port);
    my $base = descriptors($proxy);
    is(run('', 'build/examples/redis_client', '127.0.0.1', $proxy->{port}),
        "1000 of 1000 keys are right\n", 'redis_client through tcp_proxy');
    with('redis-cli', 2, sub {
        my @cli = ($_[0], '-p', $proxy->{port});
        is(run('', @cli, 'DBSIZE'), "1000\n", 'redis-cli through tcp_proxy');
        my $lines = join '', map { "SET other:$_ $_\r\n" } 1 .. 20_000;
        like(scalar run($lines, @cli, '--pipe'), qr/errors: 0, replies: 20000/,
            '... 20,000 commands by its pipe');
    });
    with('redis-benchmark', 2, sub {
        my ($out, $status) = run('', $_[0], '-p', $proxy->{port},
            qw(-q -c 50 -n 5000 -P 16 -t), 'set,get,lrange_100');
        is($status, 0, 'redis-benchmark: 50 connections through tcp_proxy');
        like($out, qr/GET: [1-9][\d.]* requests per second/, '... are answered');
    });
    stop($redis);
    my ($out, $status, $errors) = run('', 'build/examples/redis_client', '127.0.0.1', $port);
    is("$status: $out", "1: 0 of 1000 keys are right\n", 'redis_client fails without a server');
    like($errors, qr/127\.0\.0\.1:$port.*refused/, '... and says why');
    gives_descriptors_back($proxy, $base);
    stop($proxy);
});

with('iperf3', 6, sub {
    my $port = free_port();
    my $iperf = start('/dev/null', $_[0], '-s', '-B', '127.0.0.1', '-p', $port, '--forceflush');
    until_true { output($iperf) =~ /listening/ || !alive($iperf) };
    my $proxy = serve('tcp_proxy', '127.0.0.1', $port);
    my @client = ($_[0], qw(-c 127.0.0.1 -p), $proxy->{port}, qw(-J -n 20M));
    for (['one way'], ['the other way', '-R'], ['both ways', '--bidir'],
        ['on four connections', '-P', 4])
    {
        my ($how, @options) = @$_;
        my ($out, $status) = run('', @client, @options);
        is($status, 0, "iperf3 through tcp_proxy: 20 MiB $how") or diag($out);
    }
    ok(alive($proxy), '... and tcp_proxy is still there');
    stop($_) for $proxy, $iperf;
});

# --- what all servers share -----------------------------------------------------------------------

for my $name (qw(chat echo_server goodbye hand_over http_hello pass_socket tcp_proxy workers)) {
    my $server = serve($name);
    my $second = example($name, $server->{port});
    is(finish($second), 1, "$name: a port in use is status 1");
    like(errors($second), qr/\A.*127\.0\.0\.1:$server->{port}.*in use.*\n\z/i,
        '... and one line that says so');
    my $wrong = example($name, 70_000);
    is(finish($wrong), 1, "$name: so is a port that is none");
    like(errors($wrong), qr/\A.+\n\z/, '... and one line that says so');

    my $busy = dial($server->{port});    # ends up in TIME_WAIT at the server's side
    stop($server);
    my $again = example($name, $server->{port});
    until_true { errors($again) =~ /\n/ || !alive($again) };
    like(errors($again), qr/^Listening/, "$name: a server that was stopped starts again at once");
    stop($again);
}

done_testing();
