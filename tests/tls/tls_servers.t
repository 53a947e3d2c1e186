#!/usr/bin/env perl
# tls_servers.t - asocket_tls.h and its examples against servers that other people wrote: openssl's, GnuTLS's,
# Go's, Java's, Python's, nginx, stunnel, mosquitto, exim, PostgreSQL.
#
#     prove tests/tls/tls_servers.t
#
# A server that is not installed is skipped. Every wait is bounded. 127.0.0.1 only.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use File::Temp qw(tempdir);
use FindBin;
use IO::Socket::INET;
use POSIX qw(:sys_wait_h);
use Test::More;
use Time::HiRes qw(sleep time);

chdir "$FindBin::Bin/../.." or die "no top level: $!";
plan skip_all => 'libbearssl-dev is missing' if !-e '/usr/include/bearssl.h';
my $openssl = (grep { -x } map { "$_/openssl" } split /:/, $ENV{PATH})[0]
    or plan skip_all => 'openssl is missing';
alarm 500;

my $scratch = tempdir(CLEANUP => 1);
chmod 0755, $scratch;
my $test_pid = $$;
my @running;

sub program { my ($name) = @_; return (grep { -x && !-d } map { "$_/$name" } split(/:/, $ENV{PATH}), '/usr/sbin')[0] }
sub spew { my ($path, $text) = @_; open my $f, '>', $path or die "$path: $!"; print {$f} $text; close $f; return $path }
sub slurp { my ($path) = @_; open my $f, '<:raw', $path or return ''; local $/; return scalar(<$f>) // '' }

# A port that was free a moment ago.
sub free_port {
    my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "no port: $!";
    return $socket->sockport;
}

# Starts a server and waits until it accepts connections on the port; false: it does not.
sub start {
    my ($port, @command) = @_;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        setpgrp;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$scratch/server.$port";
        open STDERR, '>&', \*STDOUT;
        { no warnings 'exec'; exec { $command[0] } @command; }
        POSIX::_exit(127);
    }
    push @running, $pid;
    for (1 .. 300) {
        return $pid if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 1);
        last if waitpid($pid, WNOHANG) > 0;
        sleep 0.1;
    }
    diag "$command[0] does not listen on $port: ", substr slurp("$scratch/server.$port"), -2000;
    return;
}

sub stop {
    for my $pid (@_) {
        kill 'KILL', -$pid;
        waitpid $pid, 0;
    }
    @running = grep { my $pid = $_; !grep { $_ == $pid } @_ } @running;
}
END { if ($$ == ($test_pid // 0)) { my $status = $?; stop(@running); $? = $status } }

# Output and errors of a program, with its exit status in front.
sub run {
    my @command = @_;
    my $pid = open(my $out, '-|') // die "fork: $!";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        { no warnings 'exec'; exec 'timeout', '120', @command; }
        POSIX::_exit(127);
    }
    local $/;
    my $text = <$out> // '';
    close $out;
    return ($? >> 8) . "\n$text";
}

# --- certificates and clients ---------------------------------------------------------------------

spew("$scratch/leaf", "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n");
my $made = run('sh', '-ec', <<"END");
cd $scratch
openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -days 100 -subj '/CN=Interop Root' \\
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.key
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out ec384.key
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:4096 -out rsa4096.key
n=1
for kind in rsa ec ec384 rsa4096; do
    n=\$((n + 1))
    openssl req -new -key \$kind.key -subj "/CN=\$kind" -out \$kind.csr
    openssl x509 -req -in \$kind.csr -CA root.pem -CAkey root.key -set_serial \$n -days 100 -extfile leaf -out \$kind.pem
done
cat rsa.pem rsa.key >rsa.both
openssl pkcs12 -export -in rsa.pem -inkey rsa.key -out rsa.p12 -passout pass:secret
chmod 644 *.key
END
like($made, qr/^0\n/, 'certificates are made') or diag $made;
my $root = "$scratch/root.pem";

mkdir 'build';
mkdir 'build/examples';
my @examples = qw(tls_get tls_pin tls_client_cert starttls mqtt_tls);
for my $name (@examples) {
    my $lines = () = slurp("examples/$name.c") =~ /\n/g;
    cmp_ok($lines, '<', 60, "$name has fewer than 60 lines");
    is(run($ENV{CC} // 'cc', "examples/$name.c", '-lbearssl', '-o', "build/examples/$name"), "0\n",
        "$name: cc examples/$name.c -lbearssl");
    is(run($ENV{CC} // 'cc', qw(-std=c99 -pedantic -Wall -Wextra -Wshadow -Wconversion -Werror -c),
            "examples/$name.c", '-o', "$scratch/o"), "0\n", "$name: C99 without a warning");
}
my @sanitized = program('gcc') ? qw(gcc -fsanitize=address) : ('cc');
is(run(@sanitized, qw(-std=c99 -g -O1 -D_GNU_SOURCE -o), "$scratch/peer", 'tests/tls/peer.c',
        qw(-lbearssl -pthread)), "0\n", 'the client of these tests');

sub peer { my ($port, @options) = @_; return run("$scratch/peer", 'localhost', $port, "roots=$root", @options) }

# What any echo server must do, given what it is good at.
sub echoes {
    my ($name, $port, %can) = @_;
    like(peer($port, 'echo=100000'), qr/^0\nTLS 1\.2 \S+ \S+ alpn= resumed=0 verified=1 name=localhost\nechoed 100000, 0 wrong\n\z/,
        "$name: 100,000 bytes are echoed, both ways at once");
    like(peer($port, 'echo=5000000'), qr/\nechoed 5000000, 0 wrong\n/, "$name: 5,000,000 bytes") if $can{much};
    like(peer($port, 'echo=1', 'name=other.test'), qr/^1\ntls failed: tls other\.test: .*not for other\.test but localhost/,
        "$name: another name is refused");
    like(run("$scratch/peer", '127.0.0.1', $port, "roots=$root", 'echo=10'), qr/^0\n.*name=127\.0\.0\.1\n/,
        "$name: an address that the certificate has is good");
    like(run("$scratch/peer", 'localhost', $port, 'echo=1'), qr/^1\ntls failed: .*Interop Root/,
        "$name: a root that the system does not know is refused");
    my $twice = peer($port, 'echo=1000', 'times=3', 'resume=1');
    if ($can{resume}) { like($twice, qr/^0\n.*resumed=0.*resumed=1.*resumed=1/s, "$name: sessions are resumed") }
    else              { like($twice, qr/^0\n(?:TLS.*\nechoed 1000, 0 wrong\n){3}\z/, "$name: sessions do no harm") }
}

# --- openssl --------------------------------------------------------------------------------------

sub s_server { my ($port, @options) = @_; return start($port, $openssl, 's_server', '-accept', "127.0.0.1:$port", @options) }
sub certificate { my ($kind) = @_; return ('-cert', "$scratch/$kind.pem", '-key', "$scratch/$kind.key") }

my %suites = (rsa => { C02F => 'ECDHE-RSA-AES128-GCM-SHA256', CCA8 => 'ECDHE-RSA-CHACHA20-POLY1305', C030 => 'ECDHE-RSA-AES256-GCM-SHA384' },
    ec => { C02B => 'ECDHE-ECDSA-AES128-GCM-SHA256', CCA9 => 'ECDHE-ECDSA-CHACHA20-POLY1305', C02C => 'ECDHE-ECDSA-AES256-GCM-SHA384' });
for my $kind (qw(rsa ec ec384 rsa4096)) {
    my $port = free_port();
    my $server = s_server($port, certificate($kind), '-rev') or next;
    like(peer($port, 'line=hello'), qr/^0\nTLS 1\.2 .*\nolleh\n\z/, "openssl, $kind: a line comes back reversed");
    like(peer($port, 'line=hello', "suite=$_"), qr/^0\n.*\nolleh\n\z/, "openssl, $kind: $suites{$kind}{$_}") for sort keys %{ $suites{$kind} // {} };
    like(peer($port, 'line=a', 'resume=1', 'times=3'), qr/resumed=0.*resumed=1.*resumed=1/s, "openssl, $kind: sessions are resumed");
    stop($server);
}
for my $group ('X25519', 'P-256', 'P-384', 'P-521') {
    my $port = free_port();
    my $server = s_server($port, certificate('rsa'), '-rev', '-groups', $group) or next;
    like(peer($port, 'line=hello'), qr/^0\n.*\nolleh\n\z/, "openssl: group $group");
    stop($server);
}
for (
    [ '-tls1_3', qr/requires TLS 1\.3; BearSSL ends at 1\.2 \(\d+, 2\)/], ['-cipher', 'AES128-SHA', qr/none of our cipher suites/],
    ['-sigalgs', 'RSA-PSS+SHA256', qr/none of our cipher suites, curves and signatures/], ['-alpn', 'h3', qr/ALPN/],
    ['-Verify', '1', qr/requires a client certificate/]) {
    my @options = @$_;
    my $words = pop @options;
    my $port = free_port();
    my $server = s_server($port, certificate('rsa'), '-rev', @options) or next;
    like(peer($port, 'line=hello', 'alpn=h2,http/1.1'), qr/^1\ntls failed.*$words/, "openssl @options: $words");
    stop($server);
}
{
    my $port = free_port();
    my $server = s_server($port, certificate('ec'), '-www', '-alpn', 'http/1.1');
    like(run('build/examples/tls_get', 'localhost', $port, '/', $root), qr/^0\nTLS 1\.2.*HTTP\/1\.0 200 ok/s, 'tls_get: a page of openssl');
    like(run('build/examples/tls_get', 'localhost', $port, '/'), qr/^1\ntls localhost: .*Interop Root/, 'tls_get: a root that the system does not know');
    like(peer($port, 'get=/', 'alpn=h2,http/1.1'), qr/alpn=http\/1\.1 /, 'openssl: ALPN');
    my $pin = qx(openssl pkey -in $scratch/ec.key -pubout -outform DER 2>/dev/null | sha256sum);
    $pin =~ s/\s.*//s;
    like(run('build/examples/tls_pin', 'localhost', $port, $pin), qr/^0\nHTTP\/1\.0 200 ok/, 'tls_pin: the right pin');
    like(run('build/examples/tls_pin', 'localhost', $port, '0' x 64), qr/^1\ntls .*$pin/s, 'tls_pin: another one, and the right one is told');
    stop($server);
}
for my $kind (qw(rsa ec ec384 rsa4096)) {
    my $port = free_port();
    my $server = s_server($port, certificate('rsa'), '-www', '-Verify', '1', '-CAfile', $root);
    like(run('build/examples/tls_client_cert', 'localhost', $port, $root, "$scratch/$kind.pem", "$scratch/$kind.key"),
        qr/^0\nHTTP\/1\.0 200 ok.*Client certificate.*CN\s*=\s*$kind\b/s, "tls_client_cert: $kind");
    stop($server);
}

# --- GnuTLS ---------------------------------------------------------------------------------------

SKIP: {
    my $serv = program('gnutls-serv') or skip 'gnutls-serv is missing', 1;
    for my $kind (qw(rsa ec)) {
        my $port = free_port();
        my $server = start($port, $serv, '--echo', '--port', $port, '--x509certfile', "$scratch/$kind.pem",
            '--x509keyfile', "$scratch/$kind.key", '--disable-client-cert') or next;
        like(peer($port, 'line=hello'), qr/^0\n.*\nhello\n\z/, "GnuTLS, $kind: a line");
        like(peer($port, 'line=again', 'resume=1', 'times=3'), qr/^0\n.*resumed=0.*\nagain\n.*resumed=1.*\nagain\n.*resumed=1.*\nagain\n\z/s,
            "GnuTLS, $kind: a session is resumed");
        stop($server);
    }
    my $port = free_port();
    my $server = start($port, $serv, '--echo', '--port', $port, '--x509certfile', "$scratch/rsa.pem", '--x509keyfile', "$scratch/rsa.key",
        '--priority', 'NORMAL:-VERS-TLS1.2') or skip 'gnutls-serv without TLS 1.2 does not start', 1;
    like(peer($port, 'line=a'), qr/wants TLS 1\.3/, 'GnuTLS with TLS 1.3 only: told');
    stop($server);
}

# --- Python ---------------------------------------------------------------------------------------

my $python = spew("$scratch/echo.py", <<'END');
import ssl, socket, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
if len(sys.argv) > 4: context.minimum_version = ssl.TLSVersion.TLSv1_3
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
def serve(client):
    try:
        with context.wrap_socket(client, server_side=True) as secure:
            while True:
                data = secure.recv(65536)
                if not data: break
                secure.sendall(data)
            secure.unwrap()
    except OSError: pass
while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client,), daemon=True).start()
END
SKIP: {
    my $interpreter = program('python3') or skip 'python3 is missing', 1;
    for my $kind (qw(rsa ec)) {
        my $port = free_port();
        my $server = start($port, $interpreter, $python, $port, "$scratch/$kind.pem", "$scratch/$kind.key") or skip 'python3 has no ssl', 1;
        echoes("Python, $kind", $port, much => 0, resume => 0);
        stop($server);
    }
    my $port = free_port();
    my $server = start($port, $interpreter, $python, $port, "$scratch/rsa.pem", "$scratch/rsa.key", 1) or last SKIP;
    like(peer($port, 'echo=1'), qr/requires TLS 1\.3/, 'Python with TLS 1.3 only: told');
    stop($server);
}

# --- Go -------------------------------------------------------------------------------------------

my $go = spew("$scratch/echo.go", <<'END');
package main
import ("crypto/tls"; "io"; "net"; "os")
func main() {
	certificate, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	if err != nil { panic(err) }
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	if len(os.Args) > 4 { config.MinVersion = tls.VersionTLS13 }
	listener, err := tls.Listen("tcp", "127.0.0.1:"+os.Args[1], config)
	if err != nil { panic(err) }
	for {
		client, err := listener.Accept()
		if err != nil { continue }
		go func(client net.Conn) { defer client.Close(); io.Copy(client, client) }(client)
	}
}
END
SKIP: {
    my $compiler = program('go') or skip 'go is missing', 1;
    local $ENV{GOCACHE} = "$scratch/go";
    local $ENV{GOFLAGS} = '-mod=mod';
    local $ENV{GO111MODULE} = 'off';
    local $ENV{HOME} = $scratch;
    my $built = run($compiler, 'build', '-o', "$scratch/echo", $go);
    $built =~ /^0\n/ or skip "go does not build: $built", 1;
    for my $kind (qw(rsa ec ec384)) {
        my $port = free_port();
        my $server = start($port, "$scratch/echo", $port, "$scratch/$kind.pem", "$scratch/$kind.key") or next;
        echoes("Go, $kind", $port, much => 1, resume => 0);
        stop($server);
    }
    my $port = free_port();
    my $server = start($port, "$scratch/echo", $port, "$scratch/rsa.pem", "$scratch/rsa.key", 1) or last SKIP;
    like(peer($port, 'echo=1'), qr/requires TLS 1\.3/, 'Go with TLS 1.3 only: told');
    stop($server);
}

# --- Java -----------------------------------------------------------------------------------------

my $java = spew("$scratch/Echo.java", <<'END');
import java.io.*; import java.security.*; import javax.net.ssl.*;
public class Echo {
    public static void main(String[] a) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(new FileInputStream(a[1]), "secret".toCharArray());
        KeyManagerFactory keys = KeyManagerFactory.getInstance("SunX509");
        keys.init(store, "secret".toCharArray());
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), null, null);
        SSLServerSocket listener = (SSLServerSocket) context.getServerSocketFactory().createServerSocket(
            Integer.parseInt(a[0]), 50, java.net.InetAddress.getByName("127.0.0.1"));
        while (true) {
            java.net.Socket client = listener.accept();
            new Thread(() -> { try (client) { client.getInputStream().transferTo(client.getOutputStream()); } catch (IOException e) { } }).start();
        }
    }
}
END
SKIP: {
    my $machine = program('java') or skip 'java is missing', 1;
    my $port = free_port();
    my $server = start($port, $machine, $java, $port, "$scratch/rsa.p12") or skip 'java does not run', 1;
    echoes('JSSE', $port, much => 1, resume => 0);    # wants the extended master secret for that
    stop($server);
}

# --- nginx ----------------------------------------------------------------------------------------

SKIP: {
    my $nginx = program('nginx') or skip 'nginx is missing', 1;
    my $port = free_port();
    my $bytes = join '', map { pack 'N', $_ * 2654435761 & 0xFFFFFFFF } 1 .. 2_000_000;
    mkdir "$scratch/www";
    spew("$scratch/www/large", $bytes);
    spew("$scratch/www/empty", '');
    spew("$scratch/nginx.conf", <<"END");
daemon off; pid $scratch/nginx.pid; error_log $scratch/nginx.log; worker_processes 1; user root;
events { worker_connections 64; }
http {
    access_log off; client_body_temp_path $scratch/b; proxy_temp_path $scratch/p; fastcgi_temp_path $scratch/f;
    uwsgi_temp_path $scratch/u; scgi_temp_path $scratch/s;
    server {
        listen 127.0.0.1:$port ssl; ssl_certificate $scratch/rsa.pem; ssl_certificate_key $scratch/rsa.key;
        ssl_certificate $scratch/ec.pem; ssl_certificate_key $scratch/ec.key; ssl_session_cache shared:x:1m;
        ssl_session_tickets off; ssl_client_certificate $root; ssl_verify_client optional; root $scratch/www;
        location = / { return 200 "verified: \$ssl_client_verify\n"; }
        location /who { return 200 "\$ssl_client_s_dn"; }
    }
}
END
    my $server = start($port, $nginx, '-c', "$scratch/nginx.conf", '-e', "$scratch/nginx.log") or skip 'nginx does not run', 1;
    my $hash = sha256_hex($bytes);
    like(peer($port, 'get=/large'), qr/\nHTTP\/1\.1 200 OK\n8000000 bytes, $hash, end of stream\n/, 'nginx: 8 MB, every byte of them');
    like(peer($port, 'get=/large', "suite=$_"), qr/8000000 bytes, $hash, end/, "nginx: ... with $_") for qw(C02B C02F CCA9 CCA8 C02C C030);
    like(peer($port, 'get=/empty'), qr/\n0 bytes, .*end of stream\n/, 'nginx: no bytes');
    like(peer($port, 'get=/empty', 'times=3', 'resume=1'), qr/^0\n.*resumed=0.*resumed=1.*resumed=1/s, 'nginx: sessions are resumed');
    like(run('build/examples/tls_client_cert', 'localhost', $port, $root, "$scratch/ec.pem", "$scratch/ec.key"), qr/^0\nHTTP\/1\.1 200 OK.*\nverified: SUCCESS\n/s, 'nginx: a client certificate');
    like(peer($port, 'get=/who', "certificate=$scratch/rsa.pem", "key=$scratch/rsa.key"), qr/\n6 bytes, ${\sha256_hex('CN=rsa')}/, 'nginx: knows whose it is');
    my $plain = IO::Socket::INET->new("127.0.0.1:$port");
    stop($server);
}

# --- stunnel --------------------------------------------------------------------------------------

SKIP: {
    my $stunnel = program('stunnel4') // program('stunnel') or skip 'stunnel is missing', 1;
    my $socat = program('socat') or skip 'socat is missing', 1;
    my ($inner, $port) = (free_port(), free_port());
    my $echo = start($inner, $socat, "TCP-LISTEN:$inner,bind=127.0.0.1,fork,reuseaddr", 'EXEC:cat') or skip 'socat does not run', 1;
    spew("$scratch/stunnel.conf", "foreground = yes\npid =\n[echo]\naccept = 127.0.0.1:$port\nconnect = 127.0.0.1:$inner\ncert = $scratch/rsa.both\n");
    my $server = start($port, $stunnel, "$scratch/stunnel.conf") or skip 'stunnel does not run', 1;
    echoes('stunnel', $port, much => 1, resume => 1);
    stop($server, $echo);
}

# --- mosquitto ------------------------------------------------------------------------------------

SKIP: {
    my $mosquitto = program('mosquitto') or skip 'mosquitto is missing', 1;
    my $port = free_port();
    spew("$scratch/mosquitto.conf", "listener $port 127.0.0.1\nallow_anonymous true\ncafile $root\ncertfile $scratch/ec.pem\nkeyfile $scratch/ec.key\nuser root\n");
    my $server = start($port, $mosquitto, '-c', "$scratch/mosquitto.conf") or skip 'mosquitto does not run', 1;
    is(run('build/examples/mqtt_tls', 'localhost', $port, $root, 'a/topic', 'a message'), "0\nconnected\nsubscribed\na message\n", 'mqtt_tls: a message goes out and comes back');
    like(run('build/examples/mqtt_tls', 'localhost', $port, "$scratch/ec384.pem", 'a', 'b'), qr/^1\ntls localhost: /, 'mqtt_tls: an unknown root is refused');
    stop($server);
}

# --- mail -----------------------------------------------------------------------------------------

SKIP: {
    my $exim = program('exim4') or skip 'exim4 is missing', 1;
    skip 'exim wants root', 1 if $>;
    my $port = free_port();
    mkdir "$scratch/spool";
    spew("$scratch/exim.conf", <<"END");
primary_hostname = localhost
spool_directory = $scratch/spool
log_file_path = $scratch/spool/%slog
pid_file_path = $scratch/spool/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = $port
tls_advertise_hosts = *
tls_certificate = $scratch/rsa.pem
tls_privatekey = $scratch/rsa.key
exim_user = root
exim_group = root
never_users =
keep_environment =
begin acl
END
    chmod 0644, "$scratch/exim.conf";
    my $server = start($port, $exim, '-C', "$scratch/exim.conf", '-bdf') or skip 'exim does not run', 1;
    like(run('build/examples/starttls', 'localhost', $port, $root), qr/^0\n220 .*\n250-STARTTLS.*\n220 .*\n--- in private\n.*\n221 /s, 'starttls: exim');
    like(run('build/examples/starttls', 'localhost', $port), qr/^1\n.*tls localhost: .*Interop Root/s, 'starttls: an unknown root is refused');
    stop($server);
}

# --- PostgreSQL -----------------------------------------------------------------------------------

SKIP: {
    my ($bin) = sort { $b cmp $a } glob '/usr/lib/postgresql/*/bin';
    skip 'PostgreSQL is missing', 1 if !$bin || !-x "$bin/initdb";
    skip 'PostgreSQL must not run as root, and needs it here', 1 if $> || !getpwnam 'postgres';
    my $port = free_port();
    my $data = tempdir(CLEANUP => 1);
    my ($user, $group) = (getpwnam 'postgres')[2, 3];
    for (qw(rsa.pem rsa.key)) { spew("$data/$_", slurp("$scratch/$_")); chown $user, $group, "$data/$_"; chmod 0600, "$data/$_" }
    chown $user, $group, $data;
    my $made = run('runuser', '-u', 'postgres', '--', "$bin/initdb", '-A', 'trust', '-N', '-D', "$data/db");
    $made =~ /^0\n/ or skip "initdb: $made", 1;
    my $server = start($port, 'runuser', '-u', 'postgres', '--', "$bin/postgres", '-D', "$data/db", '-p', $port, '-c', 'ssl=on',
        '-c', "ssl_cert_file=$data/rsa.pem", '-c', "ssl_key_file=$data/rsa.key", '-c', "unix_socket_directories=$data", '-c', 'listen_addresses=127.0.0.1')
        or skip 'PostgreSQL does not run', 1;
    like(peer($port, 'postgres=1'), qr/^0\nTLS 1\.2 .*verified=1.*\nanswer: E\n\z/, 'PostgreSQL: SSLRequest, then TLS');
    stop($server);
}

done_testing();
