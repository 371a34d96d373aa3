# The unit tests again, built without sanitizers, under valgrind: memcheck also
# notices bytes that were never written.

use strict;
use warnings;

use File::Basename qw( basename );
use Test::More;

my @Programs = glob 'build/plain/*';

die "run it by make test\n" if !@Programs;

# of random histories as many as memcheck has the time for
local $ENV{HISTORIES} = 4000;

for my $program (@Programs) {
    my $name = basename($program);
    my $said = `valgrind -q --error-exitcode=99 --leak-check=full $program 2>&1`;

    is($?, 0, "memcheck has nothing to say of t/unit/$name.c") or diag($said);
}

done_testing();
