# Bodies that nginx has read before the module is asked: client_body_early_read
# (nginx 1.31.5).

use strict;
use warnings;

use Test::More;

use Concert;
use File::Temp;
use H2;

nginx_says('client_body_early_read')
    or plan skip_all => 'this nginx has no client_body_early_read';

my $Directory = File::Temp->newdir;
my $Path = "$Directory/h2.sock";
my $Nginx = nginx(http => 'client_body_early_read 1;',
                  server => "listen unix:$Path http2;");
my $User = user(0);
my $Client = $Nginx->client($User);

is $Client->charge(100)->json->{amount}, 100, 'a body is read once';
is $Client->balance, 100, 'and does once what it says';

my $h2 = H2->new($Path);
my $answer = $h2->answer($h2->ask($Client->charge_request(10)));
is $answer->{status}, 200, 'so it is by HTTP/2';
is $Client->balance, 110, 'once';

my $bytes = $Client->bytes_of(PUT => '/api/balance/charge', undef,
                              'Transfer-Encoding' => 'chunked');
my $body = qq({"userId":$User,"amount":1});

$answer = $Client->send($bytes . join '',
                        map { sprintf "%x\r\n%s\r\n", length, $_ }
                            split(/(?<=,)/, $body), '');
is $answer->json->{amount}, 111, 'a body in chunks is read, too';

is_problem $Client->post('/api/token', '{'), 'invalid_request',
           'a body that is no JSON is refused,';
is_problem $Client->post('/api/token', ' ' x (64 * 1024 + 1)),
           'body_too_large', 'one that is too large,';
is_problem $Client->post('/api/token', '{}', 'Content-Type' => 'text/plain'),
           'media_type_unsupported', 'one of another type,';
is_problem $Client->post('/api/concerts', '{}'), 'method_not_allowed',
           'and one where none is asked for';
is $Client->get("/api/balance/$User", '{}')->json->{amount}, 111,
   'a GET may have one';

done_testing();
