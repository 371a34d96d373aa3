# A Redis that lets in only a user with a password.

use strict;
use warnings;

use File::Temp ();
use Test::More;

use Concert;

plan skip_all => 'Redis is not reached by a socket'
    if $ENV{TEST_NGINX_CONCERT_REDIS} !~ m{^unix:/};

my $User = "concert-test-$$";
my $Password = 'not to be seen: "7"';
my $Right = secret("$Password\nwhat follows is a remark\n");
my $Wrong = secret("another\n");

redis('ACL', 'SETUSER', $User, 'on', ">$Password", '~*', '&*', '+@all');
END { redis('ACL', 'DELUSER', $User) if $User }

sub secret {
    my ($text) = @_;

    my $file = File::Temp->new;
    print $file $text;
    close $file;
    return $file;
}

sub with {
    my ($parameters) = @_;
    return nginx(http => "concert_redis $ENV{TEST_NGINX_CONCERT_REDIS} "
                         . "$parameters;");
}

{
    my $nginx = with("user=$User password_file=$Right");

    is $nginx->client(user())->enter->json->{status}, 'ACTIVE',
       'the right password opens Redis';
    like redis(qw( CLIENT LIST )), qr/ user=\Q$User\E /,
         'which knows the lane by its user';
    is_deeply [ grep { /\Q$Password\E/ } $nginx->log,
                $nginx->nobody->get('/status')->body ], [],
              'nobody is told the password';
    $nginx->stop;
}

for my $case (["user=$User password_file=$Wrong", 'a wrong password'],
              ["user=nobody-$$ password_file=$Right", 'an unknown user'])
{
    my ($parameters, $what) = @$case;
    my $nginx = with($parameters);

    is_problem($nginx->client(user())->enter, 'queue_unavailable',
               "$what does not");
    is $nginx->client(my $user = user(7))->balance, 7,
       "$what: and the rest goes on";
    ok scalar(grep { /Redis refuses user/ } $nginx->log),
       "$what: the log says so";
    is_deeply [ grep { /\Q$Password\E|another/ } $nginx->log ], [],
              "$what: without the password";
    $nginx->stop;
}

done_testing();
