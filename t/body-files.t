# Bodies that nginx has put into a file, all of them or what is beyond its
# buffer.

use strict;
use warnings;

use File::Temp ();
use Test::More;

use Concert;
use H2;

use constant MOST => 65536;

my $Directory = File::Temp->newdir;
my $Path = "$Directory/h2.sock";

my %Is = (
    clean  => 'client_body_in_file_only clean;',
    kept   => 'client_body_in_file_only on;',
    tiny   => 'client_body_buffer_size 16;',
    small  => 'client_body_buffer_size 1k;',
    single => 'client_body_in_single_buffer on; client_body_buffer_size 64;',
    large  => 'client_body_buffer_size 1m;',
    mirror => 'client_body_in_file_only clean; mirror /nobody;',
);

my $Nginx = nginx(server => <<"SERVER" . join '', map { <<"LOCATION" } keys %Is);
    listen unix:$Path http2;
    location = /nobody { internal; return 204; }
SERVER
    location = /$_ { client_max_body_size 1m; $Is{$_} concert charge; }
LOCATION

# A charge of so many bytes.
sub charge_of {
    my ($user, $amount, $size) = @_;

    my $text = "{\"userId\": $user, \"amount\": $amount, \"note\": \"\"}";
    my $note = 'x' x ($size - length $text);

    return $text =~ s/""\}$/"$note"}/r;
}

sub chunked {
    my ($body, $size) = @_;

    return join '', map { sprintf "%x\r\n%s\r\n", length, $_ }
                        unpack("(a$size)*", $body), '';
}

for my $where (sort keys %Is) {
    my $user = user(0);
    my $client = $Nginx->client($user);
    my $amount = 0;

    for my $size (80, 1000, 5000, MOST) {
        is $client->put("/$where", charge_of($user, 1, $size))
                  ->json->{amount}, ++$amount,
           "$where: $size bytes are read";
        is $client->put("/$where",
                        chunked(charge_of($user, 1, $size), 999),
                        'Transfer-Encoding' => 'chunked')->json->{amount}, ++$amount,
           "$where: so they are in chunks";

        my $h2 = H2->new($Path);
        my $answer = $h2->answer($h2->ask($client->bytes_of(
                         PUT => "/$where", charge_of($user, 1, $size))));
        like $answer->{body}, qr/"amount":@{[ ++$amount ]}\}/,
             "$where: so they are over HTTP/2";
    }

    is_problem $client->put("/$where", charge_of($user, 1, MOST + 1)),
               'body_too_large', "$where: one byte more is too many";
    is_problem $client->put("/$where",
                            chunked(charge_of($user, 1, MOST + 1), 9999),
                            'Transfer-Encoding' => 'chunked'),
               'body_too_large', "$where: so it is in chunks";
    is_problem $client->put("/$where", '{"userId": 1' . ' ' x 5000),
               'invalid_request', "$where: what is no JSON is refused";
    is_problem $client->put("/$where", ''), 'invalid_request',
               "$where: so is an empty body";

    is $client->balance, $amount, "$where: nothing else was charged";
}

$Nginx->settled;
$Nginx->stop;

done_testing();
