# net_smtp.pl PORT SENDER RECIPIENT UNKNOWN FILE...: sends each file in one session, by two of Net::SMTP's ways,
# and asks what else Net::SMTP can ask.
use strict;
use warnings;
use Net::SMTP;

my ($port, $sender, $recipient, $unknown, @files) = @ARGV;
my $smtp = Net::SMTP->new('127.0.0.1', Port => $port, Hello => 'client.example', Timeout => 15) or die "connect: $@";
$smtp->banner =~ /ESMTP/ or die 'banner: ' . $smtp->banner;
defined $smtp->supports('SIZE') or die 'no SIZE';
defined $smtp->supports('8BITMIME') or die 'no 8BITMIME';

for my $file (@files) {
    open my $handle, '<:raw', $file or die "$file: $!";
    local $/;
    my $octets = <$handle>;
    $smtp->mail($sender, Bits => 8, Size => length $octets) or die 'mail: ' . $smtp->message;
    my @good = $smtp->to($recipient, $unknown, { SkipBad => 1 });
    "@good" eq $recipient or die "to: @good";
    $smtp->data or die 'data: ' . $smtp->message;
    while (length $octets) {    # pieces that end in the middle of lines
        $smtp->datasend(substr $octets, 0, 1017, '') or die 'datasend: ' . $smtp->message;
    }
    $smtp->dataend or die 'dataend: ' . $smtp->message;
    $smtp->message =~ /Ok: queued as / or die 'dataend: ' . $smtp->message;
}

$smtp->mail($sender) && $smtp->to($recipient) or die 'mail, to: ' . $smtp->message;
$smtp->reset or die 'reset: ' . $smtp->message;
!$smtp->to($recipient) && $smtp->code == 503 or die 'to after reset: ' . $smtp->code;
$smtp->verify($recipient);
$smtp->code == 252 or die 'verify: ' . $smtp->code;
my $help = $smtp->help or die 'help: ' . $smtp->message;
$help =~ /MAIL/ or die "help: $help";
$smtp->quit or die 'quit: ' . $smtp->message;
