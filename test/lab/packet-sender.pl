# Sends packets that come ready made, IP header included, as lines "4 10.2.0.5 4500..." or "6 fd02::5 6000..." on
# stdin; says "ok" for each. Perl, because node has no raw sockets and perl-base is on every Debian.
use strict;
use warnings;
use Socket qw(AF_INET AF_INET6 SOCK_RAW inet_pton pack_sockaddr_in pack_sockaddr_in6);

$| = 1;
my $raw = 255;    # IPPROTO_RAW: the header is in the packet
socket(my $v4, AF_INET,  SOCK_RAW, $raw) or die "socket: $!";
socket(my $v6, AF_INET6, SOCK_RAW, $raw) or die "socket: $!";
print "ready\n";
while (my $line = <STDIN>) {
    my ($family, $to, $hex) = split ' ', $line;
    my $packet = pack 'H*', $hex;
    my $sent = $family == 4
        ? send($v4, $packet, 0, pack_sockaddr_in(0, inet_pton(AF_INET, $to)))
        : send($v6, $packet, 0, pack_sockaddr_in6(0, inet_pton(AF_INET6, $to)));
    # A packet of our own that output drops fails with EPERM: that is a verdict, not an error.
    print defined $sent ? "ok\n" : "refused $!\n";
}
