# net_pop3.pl PORT USER PASSWORD FOLDER: writes each message to FOLDER/NUMBER, checks what Net::POP3 says of
# them on the way, removes the first, and prints the unique-ids that are left.
use strict;
use warnings;
use Net::POP3;

my ($port, $user, $password, $folder) = @ARGV;

sub login {
    my $pop = Net::POP3->new('127.0.0.1', Port => $port, Timeout => 15) or die "connect: $@";
    my $count = $pop->login($user, $password);
    defined $count or die 'login: ' . $pop->message;
    return ($pop, $count + 0);
}

my ($pop, $count) = login();
my $sizes = $pop->list;
my $uids = $pop->uidl;
keys %$sizes == $count or die "list: $count";
for my $number (1 .. $count) {
    my $lines = $pop->get($number) or die 'get: ' . $pop->message;
    my $octets = join '', @$lines;
    open my $handle, '>:raw', "$folder/$number" or die "$folder: $!";
    print $handle $octets;
    close $handle or die "$folder: $!";
    $pop->list($number) == $sizes->{$number} or die "list $number";
    $pop->uidl($number) eq $uids->{$number} or die "uidl $number";
    my $top = join '', @{ $pop->top($number, 0) };
    substr($octets, 0, length $top) eq $top or die "top $number";
}
!$pop->get($count + 1) or die 'get of no message';
$pop->last == $count or die 'last: ' . $pop->last;
$pop->delete(1) or die 'delete: ' . $pop->message;
$pop->reset;    # returns nothing
$pop->ok or die 'reset: ' . $pop->message;
($pop->popstat)[0] == $count or die 'popstat after reset';
$pop->delete(1) or die 'delete: ' . $pop->message;
$pop->quit or die 'quit: ' . $pop->message;

($pop, $count) = login();
$uids = $pop->uidl;
print map { "$uids->{$_}\n" } sort { $a <=> $b } keys %$uids;
$pop->quit or die 'quit: ' . $pop->message;
