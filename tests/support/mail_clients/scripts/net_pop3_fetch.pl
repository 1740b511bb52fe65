# net_pop3_fetch.pl SETTINGS: fetches and deletes all messages with Net::POP3 as its documentation does.
use strict;
use warnings;
use File::Temp;
use JSON::PP;
use Net::POP3;

my $settings = decode_json $ARGV[0];

sub failed {
    my ($what, $pop) = @_;
    my $said = $pop ? join ' ', $pop->code, $pop->message : $@;
    $said =~ s/\s+/ /g;
    print "$what: $said\n";
    exit 1;
}

my $pop = Net::POP3->new(
    $settings->{host}, Port => $settings->{port}, Timeout => $settings->{timeout},
    SSL => $settings->{tls} eq 'implicit', SSL_ca_file => $settings->{ca},
) or failed 'connect';
$pop->starttls or failed 'starttls', $pop if $settings->{tls} eq 'starttls';
my $count = $pop->login($settings->{address}, $settings->{password});
defined $count or failed 'login', $pop;
if ($count > 0) {
    my $numbers = $pop->list or failed 'list', $pop;
    for my $number (sort { $a <=> $b } keys %$numbers) {
        my $lines = $pop->get($number) or failed 'get', $pop;
        my $file = File::Temp->new(DIR => $settings->{folder}, UNLINK => 0);
        binmode $file;
        print $file @$lines;
        close $file;
        $pop->delete($number) or failed 'delete', $pop;
    }
}
$pop->quit or failed 'quit', $pop;
