# PostgreSQL over TCP: certificates and passwords, right and wrong.

use strict;
use warnings;

use File::Temp ();
use IO::Socket::INET ();
use Test::More;

use Concert;
use Cluster;

my $Password = "not to be seen \"'\\ 7";
my $Keys = File::Temp->newdir;
my $Passfile = "$Keys/passfile";

chmod 0755, $Keys;

# certificate NAME, SIGNER: without a signer, one that signs itself
sub certificate {
    my ($name, $signer) = @_;

    my @by = $signer ? ('-CA', "$Keys/$signer.pem",
                        '-CAkey', "$Keys/$signer.key",
                        '-addext', "subjectAltName=DNS:$name") : ();

    system('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
           'ec_paramgen_curve:prime256v1', '-nodes', '-days', 2,
           '-subj', "/CN=$name", @by, '-keyout', "$Keys/$name.key",
           '-out', "$Keys/$name.pem") == 0 or die 'openssl';
}

{
    open my $stderr, '>&', \*STDERR or die $!;
    open STDERR, '>', '/dev/null' or die $!;
    certificate('ours');
    certificate('theirs');
    certificate('localhost', 'ours');
    open STDERR, '>&', $stderr or die $!;
}

chown Cluster::uid(), -1, "$Keys/localhost.key" if $> == 0;

my %Tls = (ssl => 'on', ssl_cert_file => "$Keys/localhost.pem",
           ssl_key_file => "$Keys/localhost.key");

my $Cluster = Cluster->new(settings => \%Tls,
                           password => $Password =~ s/'/''/gr);
my $Port = $Cluster->port;

sub passfile {
    my ($password) = @_;

    open my $out, '>', $Passfile or die $!;
    print $out "localhost:$Port:concert:concert_service:",
               $password =~ s/([\\:])/\\$1/gr, "\n";
    close $out or die $!;
    chmod 0600, $Passfile;
}

# A later keyword of a connection string wins.
sub with {
    my ($more, $http) = @_;

    return nginx(http => "concert_postgres \"host=localhost port=$Port "
                         . 'dbname=concert user=concert_service '
                         . "sslmode=verify-full sslrootcert=$Keys/ours.pem "
                         . "\n   passfile=$Passfile $more\";\n" . ($http // ''));
}

# What anybody could be told.
sub told {
    my ($nginx) = @_;

    open my $in, '<', "$nginx->{root}/logs/stderr" or die $!;

    return join '', $nginx->log, <$in>,
                    map { $nginx->nobody->get($_)->body }
                        qw( /status /metrics /readyz /api/balance/1 );
}

sub is_refused {
    my ($nginx, $why, $title) = @_;

    my $ann = $nginx->client(stranger());

    # a worker that was just started may still wait for its lanes
    eventually { $ann->get('/api/balance/' . $ann->id)->code
                 eq 'store_unavailable' } "$title: refused";
    eventually { grep { /\[error\] .*concert: .*$why/ } $nginx->log }
               "$title: the log says so";
    eventually { $nginx->nobody->get('/readyz')->body
                 eq '{"postgres":"down","redis":"up"}' } "$title: not ready";
    unlike told($nginx), qr/\Q$Password\E|not to be seen|another word/,
           "$title: nobody is told the password";

    $nginx->stop;
}

passfile($Password);

{
    my $nginx = with('');
    my $ann = $nginx->client(1);

    $Cluster->psql('select concert.add_user(n, n) from generate_series(1, 200) n',
                   'concert');
    $Cluster->psql("select concert.add_schedule(concert.add_concert('A'),
                           now() + interval '9 days', 1000, 10)", 'concert');

    eventually { $nginx->nobody->get('/readyz')->status == 200 }
               'the right certificate and password open PostgreSQL';
    is $Cluster->psql("select string_agg(distinct version, ' ')
                       from pg_stat_ssl join pg_stat_activity using (pid)
                       where usename = 'concert_service'"), 'TLSv1.3',
       'all connections have TLS';
    is $Cluster->psql("select substr(rolpassword, 1, 13) from pg_authid
                       where rolname = 'concert_service'"), 'SCRAM-SHA-256',
       'and the password is of the kind scram-sha-256';

    $ann->enter;
    is $ann->charge(10_000)->json->{amount}, 10_001, 'one charges';
    is scalar @{ $ann->get('/api/concerts/seats/1?size=500')->json }, 500,
       'a large answer comes';

    my @answers = $nginx->together(
        map { $nginx->client($_)->bytes_of(GET => "/api/balance/$_") } 2 .. 200);
    is_deeply [ map { $_->json->{amount} } @answers ], [ 2 .. 200 ],
              'many answers come';

    my $held = $nginx->client(1)->ask(
        POST => '/api/reservations/seats',
        { userId => 1, concertId => 1, scheduleId => 1, seatIdList => [1, 2] })
        ->json->{reservationId};
    is $ann->pay($held, 20)->json->{status}, 'PAID', 'one pays';

    unlike told($nginx), qr/not to be seen/, 'nobody is told the password';
    $nginx->stop;
}

{
    my $nginx = nginx(http => 'concert_postgres "postgresql://concert_service@'
        . "localhost:$Port/concert?sslmode=verify-full&sslrootcert=$Keys/"
        . "ours.pem&passfile=$Passfile\";");

    is $nginx->client(2)->balance, 2, 'the connection string may be a URI';
    $nginx->stop;
}

{
    my $quoted = $Password =~ s/([\\'])/\\$1/gr =~ s/([\\"])/\\$1/gr;
    my $nginx = with("passfile=/nowhere password='$quoted'");

    is $nginx->client(2)->balance, 2,
       'the connection string may have a password';
    ok scalar(grep { /\[warn\].*has a password,.*write passfile=/ }
                   $nginx->log),
       'but there is a warning';
    unlike told($nginx), qr/not to be seen/, 'and nobody else is told it';
    $nginx->stop;
}

is_refused with("sslrootcert=$Keys/theirs.pem"),
           'SSL error: certificate verify failed',
           'a certificate that somebody else signed';

is_refused with("host=127.0.0.1"),
           'server certificate for "localhost".* does not match host name '
           . '"127\.0\.0\.1"',
           'a certificate of another host';

is_refused with("sslrootcert=$Keys/nothing.pem"),
           'root certificate file ".*/nothing\.pem" does not exist; Either',
           'a file of certificates that is not there';

is_refused with("passfile=/nowhere"),
           'no password supplied: write passfile=.*mode 0600',
           'a password file that is not there';

chmod 0644, $Passfile;
is_refused with(''), 'no password supplied: write passfile=.*mode 0600',
           'a password file that others may read';

passfile('another word');
is_refused with(''), 'password authentication failed for user',
           'a wrong password';
is_refused with("password='another word'"),
           'password authentication failed for user',
           'a wrong password in the connection string';
passfile($Password);

{
    my $silent = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1')
                 // die $!;

    is_refused with('port=' . $silent->sockport, 'concert_timeout 500ms;'),
               'no answer in time', 'a server that does not shake hands';
}

$Cluster->start;
is_refused with(''), 'server does not support SSL, but SSL was required',
           'a server without TLS';

$Cluster->start(%Tls);

{
    my $nginx = with('');

    eventually { $nginx->nobody->get('/readyz')->status == 200 }
               'with TLS again it is ready';
    $Cluster->start;
    eventually { $nginx->client(2)->get('/api/balance/2')->code
                 eq 'store_unavailable' }
               'connections are not made again without TLS';
    $Cluster->start(%Tls);
    eventually { $nginx->client(2)->get('/api/balance/2')->status == 200 }
               'but with it they are';
    $nginx->stop;
}

done_testing;
