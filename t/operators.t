# What operators set: pause, rate and capacity of the queue.

use strict;
use warnings;

use Test::More;

use Concert;

sub set {
    my ($nginx, $body) = @_;
    return $nginx->nobody->ask(PATCH => '/queue', $body);
}

sub strangers { my ($nginx, $n) = @_;
                return map { $nginx->client(stranger()) } 1 .. $n }

my $No = JSON::PP::false;
my $Yes = JSON::PP::true;

{
    my $queue = 'concert_queue capacity=2 rate=100/s name=operated-'
                . stranger() . ';';
    my @nginx = map { nginx(http => $queue, workers => 2) } 1 .. 2;
    my ($one, $two) = @nginx;

    is_json $one->nobody->get('/queue')->body,
            '{"paused": false, "rate": 100, "capacity": 2}',
            'nginx.conf is what counts first';

    is_json set($one, { paused => $Yes })->body,
            '{"paused": true, "rate": 100, "capacity": 2}',
            'an operator can pause the queue';
    my ($ann, @others) = strangers($two, 5);
    is $ann->enter->json->{status}, 'WAITING', 'then nobody is let in';
    eventually { $two->nobody->get('/status')->json->{queue}{paused} }
               'which /status of every instance tells';
    is $two->metric('concert_queue_paused'), 1, 'and its metrics';

    is_json set($two, { paused => $No })->body,
            '{"paused": false, "rate": 100, "capacity": 2}',
            'and go on, from another instance';
    eventually { $ann->is_active } 'then who waits is let in';

    $_->enter for @others;
    is scalar(grep { $_->is_active } @others), 1, 'as many as there is room';
    is_json set($one, { capacity => 4 })->body,
            '{"paused": false, "rate": 100, "capacity": 4}',
            'an operator can make room';
    eventually { (grep { $_->is_active } @others) == 3 } 'which is taken';
    eventually { $two->nobody->get('/status')->json->{queue}{capacity} == 4 }
               '/status tells what counts';

    is_json set($one, { rate => 7 })->body,
            '{"paused": false, "rate": 7, "capacity": 4}',
            'an operator can set the rate, and the rest stays';

    kill HUP => $one->{pid};
    eventually { grep { /exited with code 0/ } $one->log }
               'after a reload';
    is_json $one->nobody->get('/queue')->body,
            '{"paused": false, "rate": 7, "capacity": 4}',
            'what was set still counts';

    is_json set($two, { rate => undef, capacity => undef })->body,
            '{"paused": false, "rate": 100, "capacity": 2}',
            'null goes back to nginx.conf';

    ok scalar(grep { /queue "operated-\d+" set by 127.0.0.1: .*"capacity":4/ }
                   $one->log), 'the log says who has set what';
    ok !(grep { /set by/ && /"rate":100,"capacity":4/ } $two->log),
       'and where';
    $_->stop for @nginx;
}

{
    my $nginx = nginx(queue => 'rate=90/m');

    is_json $nginx->nobody->get('/queue')->body,
            '{"paused": false, "rate": 1.5, "capacity": 1000}',
            'a rate may be that of a minute';

    for my $case ([ '{}', 'nothing to set' ],
                  [ '{"pause": true}', 'a word that is none' ],
                  [ '{"paused": 1}', 'a number for a pause' ],
                  [ '{"paused": null}', 'null for a pause' ],
                  [ '{"rate": 0}', 'a rate of 0' ],
                  [ '{"rate": 1.5}', 'a broken rate' ],
                  [ '{"rate": 1000001}', 'too high a rate' ],
                  [ '{"capacity": 0}', 'no room' ],
                  [ '{"capacity": "9"}', 'a text for a capacity' ],
                  [ '{"capacity": 10000001}', 'too much room' ],
                  [ '[]', 'a list' ])
    {
        my ($body, $what) = @$case;
        my $answer = set($nginx, $body);

        is $answer->status . ' ' . $answer->code, '400 invalid_request',
           "$what is refused";
    }

    is_json $nginx->nobody->get('/queue')->body,
            '{"paused": false, "rate": 1.5, "capacity": 1000}',
            'and sets nothing';
    ok !(grep { /set by/ } $nginx->log), 'nor is it logged';

    my ($answer) = $nginx->nobody->ask(PUT => '/queue', '{}');
    is_problem $answer, 'method_not_allowed', 'PUT is no way to set it';
    is $answer->header('Allow'), 'GET, HEAD, PATCH', 'but PATCH is';
    $nginx->stop;
}

{
    my $nginx = nginx(server => 'set_real_ip_from 127.0.0.1;');

    for my $method (qw( GET PATCH )) {
        is_problem $nginx->nobody->ask($method => '/queue', '{"paused": true}',
                                       'X-Real-IP' => '203.0.113.7'),
                   'forbidden', "$method is not public";
    }

    is_json $nginx->nobody->get('/queue')->body,
            '{"paused": false, "rate": null, "capacity": 1000}',
            'and nothing is set';
    $nginx->stop;
}

done_testing;
