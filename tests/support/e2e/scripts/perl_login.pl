# perl_login.pl PROTOCOL TLS PORT CA WAY USER PASSWORD: logs in by Net::SMTP or Net::POP3, checking the certificate,
# and sends a message to USER, or prints the first. WAY is user or apop, or a mechanism for AUTH.
use strict;
use warnings;
use Authen::SASL;
use Net::POP3;
use Net::SMTP;

my ($protocol, $tls, $port, $ca, $way, $user, $password) = @ARGV;
my $class = $protocol eq 'pop3' ? 'Net::POP3' : 'Net::SMTP';
my %options = (Port => $port, Timeout => 15, SSL_ca_file => $ca);
$options{SSL} = 1 if $tls eq 'implicit';
my $client = $class->new('127.0.0.1', %options) or die "connect: $@";
if ($tls eq 'starttls') {
    $client->starttls or die "starttls: $@";
}

if ($way eq 'user') {
    defined $client->login($user, $password) or die 'login: ' . $client->message;
} elsif ($way eq 'apop') {
    defined $client->apop($user, $password) or die 'apop: ' . $client->message;
} else {
    my $sasl = Authen::SASL->new(mechanism => $way, callback => { user => $user, authname => '', pass => $password });
    $client->auth($sasl) or die 'auth: ' . $client->message;
}

if ($protocol eq 'pop3') {
    print @{ $client->get(1) };
} else {
    $client->mail($user) && $client->to($user) or die 'envelope: ' . $client->message;
    $client->data("Subject: by Net::SMTP\n", "\n", "$way\n") or die 'data: ' . $client->message;
}
$client->quit or die 'quit: ' . $client->message;
