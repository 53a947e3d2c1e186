#!/usr/bin/perl
# verdicts.t - the chains of tests/tls/chains.tsv, judged by `openssl verify`: where it comes to
# another verdict than the table, the reason must be one of those below.
use strict;
use warnings;
use Test::More;

alarm 300;
my $made = 'build/tls';
plan skip_all => 'openssl is missing' if system('openssl version >/dev/null 2>&1');
plan skip_all => 'the certificates are not made: make build/tls/made' unless -e "$made/made";

# We take, OpenSSL refuses.
my %stricter = (
    'it does not try another way when the first one fails' =>
        [qw(cross_client cross_critical cross_forged cross_no_basic cross_no_ca cross_no_certs
            cross_other_key cross_unknown key_rollover circle_left)],
    'anyExtendedKeyUsage is not enough for it' => [qw(eku_any int_eku_any)],
    'the last second is too late for it'       => [qw(last_second)],
    'it wants to know what is critical'        => [qw(critical_known)]);

# We refuse, OpenSSL takes.
my %laxer = (
    'it takes the common name' => [qw(name_common_only name_mail_only name_empty_list)],
    'it takes partial wildcards' => [qw(wildcard_partial)],
    'it takes a host that is none' => [qw(wildcard_empty_label)],
    'the common name again, addresses aside' => [qw(ip_for_name)],
    'it does not look at the key usage of a server, nor whether it is an authority' =>
        [qw(usage_encipher usage_agree usage_certs leaf_is_ca)],
    'at its lowest security level it takes small keys, SHA-1 and MD5' =>
        [qw(key_rsa1024 key_rsa2040 key_rsa2047 int_rsa1024 root_rsa1024 int_sha1 leaf_ec_sha1 leaf_rsa_sha1
            leaf_rsa_md5 cross_only_sha1)],
    'it supports what BearSSL does not' =>
        [qw(key_rsa8192 key_ed25519 key_koblitz int_ed25519 leaf_rsa_pss leaf_ec_sha224 eku_critical
            critical_policies critical_qualifier)],
    'it understands name constraints, and they are kept' =>
        [qw(constraints_on_leaf constraints_critical constraints_plain root_constrained
            cross_only_constrained)],
    'to it names are the same in other encodings' => [qw(name_reencoded)],
    'it is laxer with the form' =>
        [qw(twice_unknown int_twice version_4 version_2 key_even key_exponent_even key_exponent_one key_exponent_zero
            key_exponent_below key_exponent_large key_below boolean_odd extensions_empty
            trailing_bytes length_indefinite length_not_shortest names_behind extensions_many)],
    'it does not read all that is sent' => [qw(garbage_behind empty_behind)],
    'it has other limits' => [qw(eleven too_large)]);

my %expected;
for my $reasons (\%stricter, \%laxer) {
    for my $reason (keys %$reasons) {
        $expected{$_} = $reason for @{$reasons->{$reason}};
    }
}

sub blocks {
    my ($file) = @_;
    open my $in, '<', $file or return;
    local $/;
    return <$in> =~ /(-----BEGIN.*?END CERTIFICATE-----\n)/sg;
}

open my $table, '<', 'tests/tls/chains.tsv' or die "chains.tsv: $!\n";
my ($rows, $taken) = (0, 0);
while (my $line = <$table>) {
    next if $line =~ /^#/ || $line !~ /\t/;
    chomp $line;
    my ($name, $host, $verdict, undef, $options) = split /\t/, $line;
    # What it cannot be asked: pins, our clock and limits, trust in a leaf with names, no chain.
    next if ($options // '') =~ /pin_only|now=|certificates=/ || $name =~ /^pin|^leaf_trusted|^nothing/;
    my $subject = $host =~ /:|^[\d.]+$/ ? "-verify_ip $host" : "-verify_hostname '$host'";
    my $rest = -e "$made/$name.rest.pem" ? "-untrusted $made/$name.rest.pem" : '';
    my $answer = `openssl verify -attime 1781524800 -auth_level 0 -purpose sslserver $subject \\
        -partial_chain -no-CAfile -no-CApath -CAfile $made/$name.trust.pem $rest \\
        $made/$name.pem 2>&1`;
    my $agrees = ($? == 0) == ($verdict eq 'OK');
    my ($why) = $answer =~ /lookup: (.*)/;
    $rows++;
    $taken++ if $? == 0;
    ok($agrees != exists $expected{$name}, "P15: $name: " . ($agrees ? "agreed, $verdict"
            : $expected{$name} // 'OpenSSL ' . ($? ? 'refuses: ' . ($why // '?') : 'takes it')));
}
ok($rows > 200 && $taken > 60 && $taken < $rows - 60, "of $rows chains OpenSSL takes $taken");
done_testing();
