#!/usr/bin/perl
# make_certificates.pl - the chains of chains.tsv: every way of being wrong, and the unusual ways of
# being right.
#
#     perl tests/tls/make_certificates.pl DIRECTORY
#
# openssl makes the keys and signs; the certificates are put together here, byte by byte, so that
# they can be wrong. For each chain NAME the directory gets
#
#     NAME.chain       what the server sends: for each certificate 4 bytes of length, then it
#     NAME.pem         the same for `openssl s_server`; NAME.rest.pem: without the first
#     NAME.key         the private key that belongs to the first
#     NAME.trust.pem   the trusted certificates
#     NAME.pins        SHA-256 of SubjectPublicKeyInfos, in hexadecimal, if any
#
# and random.tsv, with the verdicts of those that are made up at random.
#
# All dates are fixed: good from 2020 to 2049, looked at as if it were 2026-06-15.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use MIME::Base64;

my $directory = shift or die "usage: $0 DIRECTORY\n";
mkdir $directory;

# --- DER ------------------------------------------------------------------------------------------

sub tlv {
    my ($tag, $content) = @_;
    my $length = length $content;
    return pack('CC', $tag, $length) . $content if $length < 128;
    return pack('CCC', $tag, 0x81, $length) . $content if $length < 256;
    return pack('CCn', $tag, 0x82, $length) . $content if $length < 65536;
    return pack('CCN', $tag, 0x84, $length) . $content;
}

sub seq  { return tlv(0x30, join '', @_) }
sub bits { return tlv(0x03, "\0" . $_[0]) }
sub integer { return tlv(0x02, $_[0]) }

sub oid {
    my ($first, $second, @rest) = split /\./, $_[0];
    my $content = chr($first * 40 + $second);
    for my $arc (@rest) {
        my $bytes = chr($arc & 127);
        $bytes = chr(128 | $arc & 127) . $bytes while $arc >>= 7;
        $content .= $bytes;
    }
    return tlv(0x06, $content);
}

# "CN=Name,O=Other": a PrintableString each, or a UTF8String behind "utf8:".
my %attribute = (CN => '2.5.4.3', O => '2.5.4.10');

sub name {
    my ($text) = @_;
    my $tag = $text =~ s/^utf8:// ? 0x0C : 0x13;
    return seq(map { /(\w+)=(.*)/s; tlv(0x31, seq(oid($attribute{$1}), tlv($tag, $2))) }
            split /,/, $text);
}

# "2026-06-15 12:00:00", or bytes as they are behind "raw:".
sub date {
    my ($text) = @_;
    return $1 if $text =~ /^raw:(.*)/s;
    $text .= ' 00:00:00' if length $text == 10;
    my $year = substr $text, 0, 4;
    (my $digits = $text) =~ s/\D//g;
    return $year < 2050 ? tlv(0x17, substr($digits, 2) . 'Z') : tlv(0x18, $digits . 'Z');
}

# --- keys -----------------------------------------------------------------------------------------

sub slurp {
    my ($file) = @_;
    open my $in, '<:raw', $file or die "$file: $!\n";
    local $/;
    return scalar <$in>;
}

sub spew {
    my ($file, $bytes) = @_;
    open my $out, '>:raw', $file or die "$file: $!\n";
    print $out $bytes;
    close $out or die "$file: $!\n";
}

sub openssl {
    my ($command) = @_;
    my $answer = `openssl $command 2>$directory/openssl.log`;
    die "openssl $command: " . slurp("$directory/openssl.log") if $?;
    return $answer;
}

my %kinds = (
    p384 => 'EC -pkeyopt ec_paramgen_curve:P-384', p521 => 'EC -pkeyopt ec_paramgen_curve:P-521',
    koblitz => 'EC -pkeyopt ec_paramgen_curve:secp256k1',
    explicit => 'EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit',
    rsa1024 => 'RSA -pkeyopt rsa_keygen_bits:1024', rsa2048 => 'RSA -pkeyopt rsa_keygen_bits:2048',
    rsa2040 => 'RSA -pkeyopt rsa_keygen_bits:2040', rsa4096 => 'RSA -pkeyopt rsa_keygen_bits:4096',
    ed25519 => 'ED25519', rsa_other => 'RSA -pkeyopt rsa_keygen_bits:2048');
my %spki;

sub key { # its file; made when it is first asked for, and kept between runs
    my ($name) = @_;
    my $file = "$directory/key.$name";
    my $kind = $kinds{$name} || 'EC -pkeyopt ec_paramgen_curve:P-256';
    openssl("genpkey -algorithm $kind -out $file") unless -s $file;
    return $file;
}

sub rsa {
    my ($modulus, $exponent) = @_;
    return seq(seq(oid('1.2.840.113549.1.1.1'), tlv(5, '')),
        bits(seq(integer($modulus), integer($exponent))));
}

sub spki {
    my ($name) = @_;
    # A modulus that nobody has the factors of.
    return rsa("\0" . "\xC5" x ($1 / 8), "\1\0\1") if $name =~ /^fake(\d+)/;
    return $spki{$name} //= openssl('pkey -pubout -outform DER -in ' . key($name));
}

# --- certificates ---------------------------------------------------------------------------------

my %algorithm = (
    'rsa-md5'    => '1.2.840.113549.1.1.4',  'rsa-sha1'   => '1.2.840.113549.1.1.5',
    'rsa-sha256' => '1.2.840.113549.1.1.11', 'rsa-sha384' => '1.2.840.113549.1.1.12',
    'rsa-sha512' => '1.2.840.113549.1.1.13', 'ec-sha1'    => '1.2.840.10045.4.1',
    'ec-sha256'  => '1.2.840.10045.4.3.2',   'ec-sha384'  => '1.2.840.10045.4.3.3',
    'ec-sha512'  => '1.2.840.10045.4.3.4',   'ec-sha224'  => '1.2.840.10045.4.3.1',
      'ed25519'    => '1.3.101.112',
    'rsa-pss'    => '1.2.840.113549.1.1.10');

sub algorithm_of {
    my ($signer, $hash) = @_;
    return 'ed25519' if $signer eq 'ed25519';
    return 'rsa-pss' if $hash eq 'pss';
    return ($signer =~ /rsa/ ? 'rsa' : 'ec') . "-$hash";
}

sub identifier {
    my ($algorithm) = @_;
    my $sha256 = seq(oid('2.16.840.1.101.3.4.2.1'), tlv(5, ''));
    my $parameters = $algorithm =~ /^rsa-(?!pss)/ ? tlv(5, '') : '';
    $parameters = seq(tlv(0xA0, $sha256), tlv(0xA1, seq(oid('1.2.840.113549.1.1.8'), $sha256)),
        tlv(0xA2, integer("\x20"))) if $algorithm eq 'rsa-pss';
    return seq(oid($algorithm{$algorithm}), $parameters);
}

sub sign {
    my ($bytes, $signer, $hash) = @_;
    my $file = "$directory/tbs";
    my $key = key($signer);
    spew($file, $bytes);
    return openssl("pkeyutl -sign -rawin -inkey $key -in $file") if $signer eq 'ed25519';
    return openssl("dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32"
            . " -sign $key $file") if $hash eq 'pss';
    return openssl("dgst -$hash -sign $key $file");
}

sub extension {
    my ($oid, $value, $critical) = @_;
    return seq(oid($oid), $critical ? tlv(1, "\xFF") : '', tlv(4, $value));
}

my %purpose = (server => '1.3.6.1.5.5.7.3.1', client => '1.3.6.1.5.5.7.3.2',
    code => '1.3.6.1.5.5.7.3.3', any => '2.5.29.37.0');
my %usage = (sign => 0, encipher => 2, agree => 4, cert => 5, crl => 6);

sub key_usage {
    my $byte = 0;
    $byte |= 0x80 >> $usage{$_} for @_;
    my $unused = 0;
    $unused++ until $byte >> $unused & 1;
    return extension('2.5.29.15', tlv(3, chr($unused) . chr($byte)), 1);
}

sub eku { return extension('2.5.29.37', seq(map { oid($purpose{$_}) } @{$_[0]}), $_[1]) }

# "dns:a.test", "ip:<4 or 16 bytes in hexadecimal>", "mail:", "uri:"
my %general = (mail => 0x81, dns => 0x82, uri => 0x86, ip => 0x87);

sub san_value {
    return seq(map { /^(\w+):(.*)/s; tlv($general{$1}, $1 eq 'ip' ? pack('H*', $2) : $2) } @_);
}

sub san { return extension('2.5.29.17', san_value(@{$_[0]}), $_[1]) }

sub constraints {
    my ($ca, $length) = @_;
    return extension('2.5.29.19',
        seq($ca ? tlv(1, "\xFF") : '', defined $length ? integer(chr $length) : ''), 1);
}

sub name_constraints { # permitted: DNS:test
    return extension('2.5.29.30', seq(tlv(0xA0, seq(tlv(0x82, 'test')))), $_[0]);
}

my $serial = 1000;

# From what differs from a good one. `by` names the issuer in %ca; `key` and `signer` are names of
# keys; `change` edits the parts before they are signed, `spoil` the bytes after it.
our %ca;

sub certificate {
    my %c = (key => 'leaf', by => 'intermediate', from => '2020-01-01', to => '2049-12-31',
        hash => 'sha256', @_);
    my $issuer = $ca{$c{by}} || {};
    $c{signer} //= $issuer->{key} // $c{key};
    $c{issuer} //= $issuer->{subject} // $c{subject};
    my $identifier = identifier(algorithm_of($c{signer}, $c{hash}));
    my %part = (
        version => tlv(0xA0, integer("\2")), serial => integer(pack 'n', $serial++),
        algorithm => $identifier, issuer => name($c{issuer}),
        validity => seq(date($c{from}), date($c{to})), subject => name($c{subject}),
        spki => spki($c{key}), unique => '', outer => $identifier,
        extensions => tlv(0xA3, seq(@{$c{extensions}})));
    $c{change}->(\%part) if $c{change};
    my $tbs = seq(@part{qw(version serial algorithm issuer validity subject spki unique extensions)});
    my $signature = sign($tbs, $c{signer}, $c{hash});
    substr($signature, -1) ^= "\1" if $c{forge};
    my $bytes = seq($tbs, $part{outer}, bits($signature));
    $bytes = $c{spoil}->($bytes) if $c{spoil};
    return {bytes => $bytes, key => $c{key}};
}

my $host = 'www.example.test';

# A server's certificate; `eku`, `usage`, `san`, `more` replace or add extensions.
sub leaf {
    my %c = (subject => "CN=$host", san => ["dns:$host"], eku => ['server'], usage => ['sign'], @_);
    my @extensions = $c{basic} // constraints(0);
    push @extensions, key_usage(@{$c{usage}}) if $c{usage};
    push @extensions, eku($c{eku}, $c{eku_critical}) if $c{eku};
    push @extensions, san($c{san}, $c{san_critical}) if $c{san};
    push @extensions, @{$c{more} || []};
    return certificate(%c, extensions => \@extensions);
}

# One of an authority; it is remembered as the issuer `as`.
sub authority {
    my %c = (by => 'root', usage => ['cert', 'crl'], ca => 1, @_);
    my @extensions;
    push @extensions, constraints($c{ca}, $c{length}) if defined $c{ca};
    push @extensions, key_usage(@{$c{usage}}) if $c{usage};
    push @extensions, eku($c{eku}, $c{eku_critical}) if $c{eku};
    push @extensions, @{$c{more} || []};
    $ca{$c{as}} = {subject => $c{subject}, key => $c{key}} if $c{as};
    return certificate(%c, extensions => \@extensions);
}

my %chains;

# What the server sends and what is trusted; certificates, or bytes.
sub chain {
    my ($name, $sent, $trusted, %more) = @_;
    my @sent = map { ref $_ ? $_->{bytes} : $_ } @$sent;
    die "two chains are called $name\n" if $chains{$name}++;
    spew("$directory/$name.chain", join '', map { pack('N', length $_) . $_ } @sent);
    spew("$directory/$name.pem", join '', map { pem($_) } @sent);
    unlink "$directory/$name.rest.pem";
    spew("$directory/$name.rest.pem", join '', map { pem($_) } @sent[1 .. $#sent]) if @sent > 1;
    spew("$directory/$name.trust.pem", join '', map { pem($_->{bytes}) } @$trusted);
    spew("$directory/$name.key", slurp(key($more{key} || $sent->[0]{key})))
        if ref $sent->[0] && $sent->[0]{key} !~ /fake/;
    unlink "$directory/$name.pins";
    spew("$directory/$name.pins", join "\n", @{$more{pins}}, '') if $more{pins};
}

sub pem {
    my $text = encode_base64($_[0], '');
    return "-----BEGIN CERTIFICATE-----\n" . join("\n", $text =~ /.{1,64}/g)
        . "\n-----END CERTIFICATE-----\n";
}

sub pin { return sha256_hex(spki($_[0])) }

# --- the authorities of most chains ---------------------------------------------------------------

my $root = authority(as => 'root', by => '', subject => 'CN=Test Root,O=Tests', key => 'root');
my $int = authority(as => 'intermediate', subject => 'CN=Test Intermediate', key => 'intermediate');
my $good = leaf();

sub plain { my ($name, @leaf) = @_; return chain($name, [leaf(@leaf), $int], [$root]) }

# Chains whose intermediate differs: leaf, that one, the usual root.
sub middle {
    my ($name, @how) = @_;
    my $odd = authority(as => 'odd', subject => "CN=Odd Intermediate", key => 'odd', @how);
    chain($name, [leaf(by => 'odd'), $odd], [$root]);
}

# Chains whose trusted root differs.
sub above {
    my ($name, @how) = @_;
    my $odd = authority(as => 'odd', by => '', subject => "CN=Odd Root", key => 'odd', @how);
    chain($name, [leaf(by => 'odd')], [$odd]);
}

# --- right ----------------------------------------------------------------------------------------

plain('plain');
chain('root_only', [leaf(by => 'root')], [$root]);
chain('many_roots', [$good, $int], [map({ authority(by => '', subject => "CN=Root $_",
    key => "many$_") } 1 .. 5), $root]);
{
    my $upper = authority(as => 'upper', subject => 'CN=Upper', key => 'upper');
    my $lower = authority(as => 'lower', by => 'upper', subject => 'CN=Lower', key => 'lower');
    my $end = leaf(by => 'lower');
    my $stray = authority(by => '', subject => 'CN=Stray', key => 'stray');
    chain('three', [$end, $lower, $upper], [$root]);
    chain('disordered', [$end, $upper, $lower], [$root]);
    chain('root_sent', [$end, $lower, $upper, $root], [$root]);
    chain('root_sent_first', [$end, $root, $upper, $lower], [$root]);
    chain('stray', [$end, $stray, $lower, $upper], [$root]);
    chain('twice', [$end, $end, $lower, $lower, $upper], [$root]);
    chain('other_server', [$end, leaf(san => ['dns:evil.test']), $lower, $upper], [$root]);
    chain('intermediate_trusted', [$end, $lower, $upper], [$upper]);
    chain('lowest_trusted', [$end], [$lower]);
    my $l1 = authority(as => 'l1', subject => 'CN=L1', key => 'upper', length => 1);
    my $l0 = authority(as => 'l0', by => 'l1', subject => 'CN=L0', key => 'lower', length => 0);
    chain('pathlen_kept', [leaf(by => 'l0'), $l0, $l1], [$root]);
    chain('missing', [$end, $upper], [$root]);
    chain('reversed', [$root, $upper, $lower, $end], [$root]);
    chain('limit_fits', [$end, $lower, $upper], [$root]);
    chain('limit_passed', [$end, $lower, $upper], [$root]);
}
{   # one name and key, certified by several: whichever way leads to a root is good
    my $lost = authority(as => 'lost', by => '', subject => 'CN=Lost Root', key => 'lost');
    my @same = (subject => 'CN=Cross', key => 'cross');
    my $right = authority(as => 'cross', @same);
    my $end = leaf(by => 'cross');
    my %wrong = (
        unknown => [by => 'lost'], expired => [to => '2021-01-01'], early => [from => '2040-01-01'],
        constrained => [more => [name_constraints(1)]], no_ca => [ca => 0], no_basic => [ca => undef],
        no_certs => [usage => ['sign']], client => [eku => ['client']], sha1 => [hash => 'sha1'],
        critical => [more => [extension('1.2.3.4', tlv(5, ''), 1)]], forged => [forge => 1],
        other_key => [key => 'other']);
    for (sort keys %wrong) {
        my $wrong = authority(@same, @{$wrong{$_}});
        chain("cross_$_", [$end, $wrong, $right], [$root]);
        chain("cross_only_$_", [$end, $wrong], [$root]);
    }
    # The way leads down from a root that is not trusted any more, but its first part is.
    my $x1 = authority(as => 'x1', by => '', subject => 'CN=New Root', key => 'x1');
    my $x1_cross = authority(by => 'lost', subject => 'CN=New Root', key => 'x1');
    my $old = authority(by => '', subject => 'CN=Lost Root', key => 'lost', to => '2021-09-30');
    my $r3 = authority(as => 'r3', by => 'x1', subject => 'CN=R3', key => 'r3');
    chain('old_root_gone', [leaf(by => 'r3'), $r3, $x1_cross], [$x1]);
    chain('old_root_expired', [leaf(by => 'r3'), $r3, $x1_cross], [$old, $x1]);
    chain('old_root_only', [leaf(by => 'r3'), $r3, $x1_cross], [$old]);
    # A root that changed its key and certifies the new one with the old.
    my $new = authority(as => 'rolled', subject => 'CN=Test Root,O=Tests', key => 'rolled');
    chain('key_rollover', [leaf(by => 'rolled'), $new], [$root]);
    chain('pin_rollover', [leaf(by => 'rolled'), $new], [$root], pins => [pin('rolled')]);
    # Two that certify each other, and nobody else.
    $ca{tom} = {subject => 'CN=Tom', key => 'tom'};
    my $jerry = authority(as => 'jerry', by => 'tom', subject => 'CN=Jerry', key => 'jerry');
    my $tom = authority(by => 'jerry', subject => 'CN=Tom', key => 'tom');
    chain('circle', [leaf(by => 'tom'), $tom, $jerry], [$root]);
    chain('circle_left', [leaf(by => 'tom'), $tom, $jerry,
        authority(subject => 'CN=Jerry', key => 'jerry')], [$root]);
    # As many ways as ten certificates allow, none of which is good.
    my @maze = map { authority(by => 'maze', subject => 'CN=Maze', key => "maze$_") }
        map { $ca{maze} = {subject => 'CN=Maze', key => 'maze0'}; $_ } 1 .. 9;
    chain('maze', [leaf(by => 'maze'), @maze], [$root]);
    chain('maze_root', [leaf(by => 'maze'), @maze], [map({ authority(by => '',
        subject => 'CN=Maze', key => "anchor$_") } 1 .. 9)]);
}
plain('wildcard', san => ['dns:*.example.test']);
plain('name_last', san => [map({ "dns:n$_.example.test" } 1 .. 300), "dns:$host"]);
plain('leaf_1500', san => ["dns:$host", map({ "dns:n$_.example.test" } 1 .. 64)]); # 1.5 KB
plain('names_mixed', san => ['mail:a@example.test', 'uri:https://x.test/', "dns:$host"]);
plain('name_case', san => ['dns:WWW.Example.TEST']);
plain('host_case');
plain('host_dot');
plain('host_underscore', san => ['dns:a_b.example.test']);
plain('host_puny', san => ['dns:xn--bcher-kva.test']);
plain('host_single', san => ['dns:localhost']);
plain('ipv4', san => ['ip:7f000001']);
plain('ipv6', san => ['ip:20010db8000000000000000000000001']);
plain('ipv6_brackets', san => ['ip:20010db8000000000000000000000001']);
plain('subject_empty', subject => '', san_critical => 1);
plain('subject_other', subject => 'CN=something else');
plain('eku_both', eku => ['client', 'server']);
plain('eku_any', eku => ['any']);
plain('eku_none', eku => undef);
plain('usage_none', usage => undef);
plain('usage_both', usage => ['sign', 'encipher']);
plain('basic_none', basic => '');
plain('unknown_extension', more => [extension('1.2.3.4', 'anything')]);
plain('policy', more => [extension('2.5.29.32', seq(seq(oid('2.23.140.1.2.1'))))]);
plain('policy_critical', more => [extension('2.5.29.32', seq(seq(oid('2.23.140.1.2.1'))), 1)]);
plain('critical_known', more => [extension('2.5.29.14', tlv(4, 'key'), 1),
    extension('2.5.29.35', seq(tlv(0x80, 'key')), 1),
    extension('2.5.29.31', seq(seq(tlv(0xA0, tlv(0xA0, tlv(0x86, 'http://x.test/crl'))))), 1)]);
plain('unique_ids', change => sub { $_[0]{unique} = tlv(0x81, "\0\1") });
plain('serial_large', change => sub { $_[0]{serial} = integer("\x7F" x 20) });
plain('key_p384', key => 'p384');
plain('key_p521', key => 'p521');
plain('key_rsa', key => 'rsa2048', usage => ['sign', 'encipher']);
plain('key_rsa4096', key => 'rsa4096');
plain('to_the_end_of_time', to => '9999-12-31 23:59:59');
plain('first_second', from => '2026-06-15 12:00:00');
plain('last_second', to => '2026-06-15 12:00:00');
middle('int_p384', key => 'p384');
middle('int_p521', key => 'p521');
middle('int_rsa', key => 'rsa2048');
middle('int_eku', eku => ['server', 'client']);
middle('int_usage_none', usage => undef);
middle('pathlen_zero', length => 0);
above('root_rsa4096', key => 'rsa4096');
above('root_rsa2048_sha512', key => 'rsa2048', hash => 'sha512');
above('root_sha1', key => 'rsa2048', hash => 'sha1');
above('root_v1', change => sub { $_[0]{version} = ''; $_[0]{extensions} = '' });
above('root_forged', forge => 1);
for my $hash (qw(sha384 sha512)) {
    plain("leaf_$hash", hash => $hash);
    chain("rsa_$hash", [leaf(by => 'rsa', hash => $hash)], [authority(as => 'rsa', by => '',
        subject => 'CN=RSA Root', key => 'rsa2048')]) if $ca{rsa} = {subject => 'CN=RSA Root',
        key => 'rsa2048'};
}

# Trusted itself.
my $self = leaf(by => '', subject => "CN=$host");
my $self_ca = leaf(by => '', subject => "CN=$host", basic => constraints(1), usage => undef);
chain('self_signed', [$self], [$root]);
chain('self_signed_trusted', [$self], [$self]);
chain('self_signed_ca_trusted', [$self_ca], [$self_ca]);
my $self_sha1 = leaf(by => '', hash => 'sha1');
chain('self_signed_sha1_trusted', [$self_sha1], [$self_sha1]);
chain('self_signed_expired', [(leaf(by => '', to => '2021-01-01')) x 1], [$self]);
chain('leaf_trusted', [$good, $int], [$good]);
chain('leaf_trusted_alone', [$good], [$good]);
chain('leaf_trusted_other_name', [$good], [$good]);
{
    my $old = leaf(to => '2021-01-01');
    chain('leaf_trusted_expired', [$old], [$old]);
    # Its key, under names that nobody signed: trust in a certificate is no trust in its key.
    chain('leaf_trusted_renamed', [leaf(subject => "CN=$host", san => ['dns:other.test'],
        signer => 'leaf')], [$good]);
}

# Pins.
chain('pin_leaf', [$good, $int], [$root], pins => [pin('stray'), pin('leaf')]);
chain('pin_int', [$good, $int], [$root], pins => [pin('intermediate')]);
chain('pin_root', [$good, $int], [$root], pins => [pin('root')]);
chain('pin_none', [$good, $int], [$root], pins => [pin('stray'), pin('other')]);
chain('pin_stray', [$good, $int, authority(by => '', subject => 'CN=Stray', key => 'stray')],
    [$root], pins => [pin('stray')]);
# A certificate in the root's own name, which nobody signed, with the key that is pinned.
chain('pin_forged', [leaf(by => 'root'), authority(by => 'root', key => 'stray',
    subject => 'CN=Test Root,O=Tests', forge => 1)], [$root], pins => [pin('stray')]);
chain('pin_not_enough', [$self], [$root], pins => [pin('leaf')]);
chain('pin_only', [leaf(by => '', san => undef, eku => undef, to => '2021-01-01')], [],
    pins => [pin('leaf')]);
chain('pin_only_rsa', [leaf(by => '', key => 'rsa2048')], [], pins => [pin('rsa2048')]);
chain('pin_only_wrong', [$good, $int], [$root], pins => [pin('intermediate'), pin('root')]);
chain('pin_only_ed25519', [leaf(by => '', key => 'ed25519')], [], pins => [pin('ed25519')]);
chain('pin_only_weak', [leaf(by => '', key => 'rsa1024')], [], pins => [pin('rsa1024')]);

# --- wrong ----------------------------------------------------------------------------------------

plain('expired', to => '2026-01-02 03:04:05');
plain('expired_by_a_second', to => '2026-06-15 11:59:59');
plain('early', from => '2030-01-02');
plain('early_by_a_second', from => '2026-06-15 12:00:01');
plain('never', from => '2030-01-01', to => '2025-01-01');
plain('clock_1970');
plain('clock_unknown');
plain('clock_from_chain', from => '2025-01-01', to => '2025-02-01');
plain('clock_from_chain_apart', from => '2010-01-01', to => '2012-01-01');
plain('clock_from_chain_wrong', san => ['dns:other.test']);
middle('int_expired', to => '2022-02-03');
middle('int_early', from => '2031-02-03');
above('root_expired', to => '2023-03-04');
above('root_early', from => '2032-03-04');
above('clock_from_chain_root', from => '2010-01-01', to => '2019-03-04');

plain('name_other', san => ['dns:example.test', 'dns:mail.example.test']);
plain('name_common_only', san => undef);
plain('name_many', san => [map { "dns:number$_.example.test" } 1 .. 20]);
plain('name_common_and_other', subject => "CN=$host", san => ['dns:other.test']);
plain('name_mail_only', san => ['mail:www.example.test', 'uri:www.example.test']);
plain('name_empty_list', san => []);
plain('name_empty', san => ['dns:']);
plain('name_nul', san => ["dns:$host\0.evil.test"]);
plain('name_nul_wildcard', san => ["dns:*.example.test\0.evil.test"]);
plain('name_prefix', san => ["dns:$host.evil.test"]);
plain('name_suffix', san => ["dns:evil$host"]);
plain('name_dot_before', san => ["dns:.example.test"]);
plain('name_dot_after', san => ["dns:$host."]);
plain('name_high_bytes', san => ["dns:\xF7\xF7\xF7.example.test"]);
plain('name_tag', san => undef, more => [extension('2.5.29.17', seq(tlv(0x0C, $host)))]);
plain('wildcard_two_levels', san => ['dns:*.example.test']);
plain('wildcard_bare', san => ['dns:*.example.test']);
plain('wildcard_partial', san => ['dns:w*.example.test', 'dns:*w.example.test',
    'dns:w*w.example.test']);
plain('wildcard_nested', san => ['dns:www.*.test', 'dns:*.*.test', 'dns:www.example.*']);
plain('wildcard_top', san => ['dns:*.test']);
plain('wildcard_all', san => ['dns:*', 'dns:*.']);
plain('wildcard_puny', san => ['dns:xn--*.example.test', 'dns:*-kva.example.test']);
plain('wildcard_empty_label', san => ['dns:*.example.test']);
plain('ip_as_name', san => ['dns:127.0.0.1']);
plain('ip_as_wildcard', san => ['dns:*.0.0.1', 'dns:*']);
plain('ip_zone', san => ["dns:fe80::1%\x1B\"]2;x\x07"]);
plain('ip_common_only', subject => 'CN=127.0.0.1', san => undef);
plain('ip_other', san => ['ip:7f000002', "dns:$host"]);
plain('ip_mapped', san => ['ip:00000000000000000000ffff7f000001']);
plain('ip_short', san => ['ip:7f0000', 'ip:7f00000100', 'ip:']);
plain('ip_with_mask', san => ['ip:7f000000ff000000']);
plain('ip_for_name', san => ['ip:7f000001']);
plain('ipv6_other', san => ['ip:20010db8000000000000000000000002']);

plain('eku_client', eku => ['client']);
plain('eku_code', eku => ['code']);
plain('eku_empty', eku => []);
plain('eku_critical', eku_critical => 1);
plain('usage_encipher', key => 'rsa2048', usage => ['encipher']);
plain('usage_agree', usage => ['agree']);
plain('usage_certs', usage => ['sign', 'cert']);
plain('leaf_is_ca', basic => constraints(1));
chain('ca_as_leaf', [$int], [$root]);
chain('root_as_leaf', [$root], [$root]);
middle('int_no_basic', ca => undef);
middle('int_no_ca', ca => 0);
middle('int_no_certs', usage => ['sign', 'crl']);
middle('int_eku_client', eku => ['client']);
middle('int_eku_any', eku => ['any']);
middle('int_v1', change => sub { $_[0]{version} = ''; $_[0]{extensions} = '' });
chain('issued_by_leaf', [leaf(by => 'low', key => 'other'), leaf(key => 'leaf')], [$root,
    $int]) if $ca{low} = {subject => "CN=$host", key => 'leaf'};
above('root_no_ca', ca => 0);
above('root_eku_client', eku => ['client']);
above('root_constrained', more => [name_constraints(1)]);
above('root_critical', more => [extension('1.2.3.4', tlv(5, ''), 1)]);
above('root_rsa1024', key => 'rsa1024');
above('root_pathlen', length => 0);
{
    my $a = authority(as => 'a', length => 0, subject => 'CN=A', key => 'upper');
    my $b = authority(as => 'b', by => 'a', subject => 'CN=B', key => 'lower');
    chain('pathlen_passed', [leaf(by => 'b'), $b, $a], [$root]);
    my $short = authority(as => 'short', by => '', subject => 'CN=Short', key => 'x1', length => 0);
    my $c = authority(as => 'c', by => 'short', subject => 'CN=C', key => 'upper');
    chain('pathlen_of_root', [leaf(by => 'c'), $c], [$short]);
}

plain('key_rsa1024', key => 'rsa1024');
plain('key_rsa2040', key => 'rsa2040');
plain('key_rsa8192', key => 'fake8192');
plain('key_ed25519', key => 'ed25519');
plain('key_koblitz', key => 'koblitz');
plain('key_explicit', key => 'explicit');
plain('key_dsa', change => sub {
    $_[0]{spki} = seq(seq(oid('1.2.840.10040.4.1')), bits(integer("\1" x 128))) });
my $odd = "\0" . "\xC5" x 256;
my %strange = (even => ["\0" . "\xC4" x 256, "\3"], exponent_even => [$odd, "\2"],
    exponent_one => [$odd, "\1"], exponent_zero => [$odd, "\0"], exponent_below => [$odd, "\xFF"],
    exponent_large => [$odd, "\1" x 9], below => ["\xC5" x 256, "\3"],
    rsa2047 => ["\x45" x 256, "\3"]);
for my $name (sort keys %strange) {
    plain("key_$name", change => sub { $_[0]{spki} = rsa(@{$strange{$name}}) });
}
plain('key_empty', change => sub {
    $_[0]{spki} = seq(seq(oid('1.2.840.113549.1.1.1'), tlv(5, '')), bits('')) });
middle('int_rsa1024', key => 'rsa1024');
middle('int_ed25519', key => 'ed25519');
middle('int_sha1', hash => 'sha1');
plain('leaf_ec_sha1', hash => 'sha1');
plain('leaf_ec_sha224', hash => 'sha224');
for my $hash (qw(md5 sha1 pss)) {
    $ca{rsa} = {subject => 'CN=RSA Root', key => 'rsa2048'};
    chain("leaf_rsa_$hash", [leaf(by => 'rsa', hash => $hash)], [authority(by => '',
        subject => 'CN=RSA Root', key => 'rsa2048')]);
}

chain('unknown_issuer', [leaf(by => 'lost'),
    authority(by => '', subject => 'CN=Lost Root', key => 'lost')], [$root]);
chain('no_intermediate', [$good], [$root]);
chain('false_root', [leaf(by => 'false')], [$root])
    if $ca{false} = {subject => 'CN=Test Root,O=Tests', key => 'other'};
chain('false_root_sent', [leaf(by => 'false'), authority(by => '', key => 'other',
    subject => 'CN=Test Root,O=Tests')], [$root]);
chain('name_reencoded', [leaf(issuer => 'utf8:CN=Test Intermediate'), $int], [$root]);
plain('forged', forge => 1);
middle('int_forged', forge => 1);
plain('wrong_signer', signer => 'other');
plain('wrong_kind_of_signer', signer => 'rsa_other');
plain('changed', spoil => sub { my $b = $_[0]; $b =~ s/www\.example\.test$// or
    substr($b, rindex($b, 'www'), 3) = 'WWW'; $b });
plain('algorithms_differ', change => sub { $_[0]{algorithm} = identifier('ec-sha384') });

my $unknown = extension('1.2.3.4', tlv(5, ''));
plain('twice_names', more => [san(['dns:evil.test'])]);
plain('twice_basic', more => [constraints(1)]);
plain('twice_unknown', more => [$unknown, $unknown]);
plain('critical_unknown', more => [extension('1.2.3.4', tlv(5, ''), 1)]);
plain('critical_info', more => [extension('1.3.6.1.5.5.7.1.1', seq(seq(oid('1.3.6.1.5.5.7.48.1'),
    tlv(0x86, 'http://x.test/'))), 1)]);
plain('critical_policies', more => [extension('2.5.29.36', seq(tlv(0x80, "\0")), 1)]);
plain('critical_qualifier', more => [extension('2.5.29.32', seq(seq(oid('2.23.140.1.2.1'),
    seq(seq(oid('1.3.6.1.5.5.7.2.2'), seq())))), 1)]);
plain('constraints_on_leaf', more => [name_constraints(0)]);
middle('constraints_critical', more => [name_constraints(1)]);
middle('constraints_plain', more => [name_constraints(0)]);
middle('int_critical_unknown', more => [extension('1.2.3.4', tlv(5, ''), 1)]);
middle('int_twice', more => [$unknown, $unknown]);

plain('version_4', change => sub { $_[0]{version} = tlv(0xA0, integer("\3")) });
plain('version_2', change => sub { $_[0]{version} = tlv(0xA0, integer("\1")) });
plain('date_no_seconds', from => 'raw:' . tlv(0x17, '2001010000Z'));
plain('date_zone', from => 'raw:' . tlv(0x17, '200101000000+0100'));
plain('date_fraction', from => 'raw:' . tlv(0x18, '20200101000000.5Z'));
plain('date_month', from => 'raw:' . tlv(0x17, '201301000000Z'));
plain('date_day', from => 'raw:' . tlv(0x17, '210229000000Z'));
plain('date_leap_day', from => 'raw:' . tlv(0x17, '200229000000Z'));
plain('date_letters', from => 'raw:' . tlv(0x17, '2001010000x0Z'));
plain('trailing_bytes', spoil => sub { $_[0] . "\0" });
plain('truncated', spoil => sub { substr $_[0], 0, -5 });
plain('length_indefinite', spoil => sub { "\x30\x80" . substr($_[0], 4) . "\0\0" });
plain('length_not_shortest', spoil => sub { "\x30\x83\0" . substr $_[0], 2 });
plain('length_beyond', change => sub { $_[0]{extensions} =~ s/\x30\x81(.)/"\x30\x81" . chr(255)/es
    or $_[0]{extensions} =~ s/^(.)(.)/$1 . chr(127)/es });
plain('boolean_odd', basic => seq(oid('2.5.29.19'), tlv(1, "\1"), tlv(4, seq())));
plain('eku_malformed', eku => undef, more => [extension('2.5.29.37', oid($purpose{server}))]);
plain('eku_odd', eku => undef, more => [extension('2.5.29.37', seq(oid($purpose{server}), tlv(4, '')))]);
plain('names_behind', san => undef, more => [extension('2.5.29.17', san_value("dns:$host") . "\5\0")]);
plain('names_cut', san => undef, more => [extension('2.5.29.17', seq(tlv(0x82, $host), "\x82\5"))]);
plain('usage_malformed', usage => undef, more => [extension('2.5.29.15', tlv(3, "\0"), 1)]);
plain('basic_behind', basic => extension('2.5.29.19', seq(tlv(4, ''))));
plain('basic_limit', basic => extension('2.5.29.19', seq(tlv(1, "\xFF"), integer("\xFF"))));
plain('extensions_many', more => [map { extension("1.2.3.$_", '') } 1 .. 40]);
plain('extensions_empty', change => sub { $_[0]{extensions} = tlv(0xA3, seq()) });
chain('garbage', ['this is no certificate', $int], [$root]);
chain('garbage_behind', [$good, $int, 'this is no certificate'], [$root]);
chain('empty_certificate', ['', $int], [$root]);
chain('empty_behind', [$good, $int, ''], [$root]);
chain('nothing', [], [$root]);
chain('ten', [$good, $int, ($int) x 8], [$root]);
chain('eleven', [$good, $int, ($int) x 9], [$root]);
plain('large', san => ["dns:$host", map { "dns:n$_.example.test" } 1 .. 3000]);
plain('too_large', san => ["dns:$host", map { "dns:n$_.example.test" } 1 .. 4000]);

# --- at random --------------------------------------------------------------------------------------
#
# Four authorities, certified by each other, by a trusted root or by a lost one, well or badly; what
# the server sends of it in any order is good if a way of good certificates leads from the leaf to the
# root. The verdicts go to random.tsv.

srand 20260615;
my @nodes = qw(a b c d);
my %defects = (expired => [to => '2021-01-01'], constrained => [more => [name_constraints(0)]],
    no_ca => [ca => 0], client => [eku => ['client']], sha1 => [hash => 'sha1'],
    forged => [forge => 1], other_key => [key => 'other']);
my (%edges, %leaves, @table);
$ca{"node_$_"} = {subject => "CN=Node $_", key => "node_$_"} for @nodes;

sub edge {
    my ($from, $to, $defect) = @_;
    return $edges{"$from $to $defect"} //= authority(by => $to, subject => "CN=Node $from",
        key => "node_$from", @{$defects{$defect} || []});
}

sub leads_up {
    my ($node, $good, $seen) = @_;
    return 1 if $node eq 'root';
    return 0 if $seen->{$node}++;
    return scalar grep { leads_up($_, $good, $seen) } @{$good->{$node} || []};
}

for my $number (1 .. 150) {
    my ($end, %used, %good, @sent) = ($nodes[rand @nodes]);
    for (1 .. 5 + rand 5) {
        my $from = $nodes[rand @nodes];
        my $to = ('root', 'lost', @nodes)[rand 2 + @nodes];
        my $defect = rand() < 0.75 ? 'none' : (sort keys %defects)[rand keys %defects];
        next if $to eq $from || $used{"$from $to $defect"}++;
        push @{$good{$from}}, $to if $defect eq 'none';
        push @sent, edge($from, $to =~ /^.$/ ? "node_$to" : $to, $defect);
    }
    my $leaf = $leaves{$end} //= leaf(by => "node_$end");
    my $name = sprintf 'random_%03d', $number;
    chain($name, [$leaf, @sent], [$root]);
    $chains{$name} = 0;
    push @table, "$name\t$host\t" . (leads_up($end, \%good, {}) ? 'OK' : 'not OK') . "\n";
}
spew("$directory/random.tsv", join '', @table);

# --- the same ones as in the table ------------------------------------------------------------------

(my $table = $0) =~ s/[^\/]*$/chains.tsv/;
for (split /\n/, slurp($table)) {
    next if /^#/ || !/^(\w+)\t/;
    $chains{$1} or warn "chains.tsv has $1, nobody makes it\n";
    $chains{$1} = 0;
}
my @missing = grep { $chains{$_} } sort keys %chains;
warn "chains.tsv lacks: @missing\n" if @missing;
unlink "$directory/tbs", "$directory/openssl.log";
spew("$directory/made", '');
exit(@missing ? 1 : 0);
