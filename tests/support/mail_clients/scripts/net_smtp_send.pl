# net_smtp_send.pl SETTINGS: sends a message with Net::SMTP as its documentation does, and prints what went wrong.
use strict;
use warnings;
use JSON::PP;
use Net::SMTP;

my $settings = decode_json $ARGV[0];

sub failed {
    my ($what, $smtp) = @_;
    my $said = $smtp ? join ' ', $smtp->code, $smtp->message : $@;
    $said =~ s/\s+/ /g;
    print "$what: $said\n";
    exit 1;
}

my $smtp = Net::SMTP->new(
    $settings->{host}, Port => $settings->{port}, Hello => 'client.example', Timeout => $settings->{timeout},
    SSL_ca_file => $settings->{ca},
) or failed 'connect';
$smtp->starttls or failed 'starttls', $smtp if $settings->{tls};
$smtp->auth($settings->{address}, $settings->{password}) or failed 'auth', $smtp if $settings->{login};
open my $handle, '<:raw', $settings->{file} or die "$settings->{file}: $!";
my $octets = do { local $/; <$handle> };

$smtp->mail($settings->{sender}) or failed 'mail', $smtp;
$smtp->to(@{ $settings->{recipients} }) or failed 'to', $smtp;
$smtp->data or failed 'data', $smtp;
$smtp->datasend($octets) or failed 'datasend', $smtp;
$smtp->dataend or failed 'dataend', $smtp;
$smtp->quit;
