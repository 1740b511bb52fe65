# srs.pl SECRET DOMAIN: for each line "forward ADDRESS" or "reverse ADDRESS", prints what Mail::SRS makes of it.
use strict;
use warnings;
use Mail::SRS;

my ($secret, $domain) = @ARGV;
my $srs = Mail::SRS->new(Secret => $secret, MaxAge => 21);
while (my $line = <STDIN>) {
    chomp $line;
    my ($way, $address) = split / /, $line, 2;
    my $made = eval { $way eq 'forward' ? $srs->forward($address, $domain) : $srs->reverse($address) };
    print defined $made ? $made : "error: $@", "\n";
}
